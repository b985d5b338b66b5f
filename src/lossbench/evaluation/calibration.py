"""Probabilities from scores by a fit on validation rows, for losses without a good posterior of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression

Floats = NDArray[np.float64]
Kind = Literal["isotonic", "platt"]

ENOUGH_FOR_ISOTONIC = 500  # rows of the rarer class
FOLDS = 5
_LEAST = np.finfo(np.float64).tiny
_STEPS = 100  # of Newton's method, which takes five to ten


@dataclass(frozen=True)
class Isotonic:
    """The probability of class 1 as a rising function of the score: linear between knots, constant outside.

    Parameters
    ----------
    x, y
        Knots, (M,) each: scores and probabilities of class 1.

    Examples
    --------
    >>> Isotonic(np.array([0.0, 2.0]), np.array([0.25, 0.75])).probs([[1.0], [5.0]])
    array([[0.5 , 0.5 ],
           [0.25, 0.75]])
    """

    kind: ClassVar[Kind] = "isotonic"
    x: Floats
    y: Floats

    def probs(self, scores: ArrayLike) -> Floats:
        """Return probabilities (N, 2) of scores (N, 1)."""
        positive = np.interp(_two_dimensional(scores, columns=1)[:, 0], self.x, self.y)
        return np.stack([1 - positive, positive], axis=1)


@dataclass(frozen=True)
class Platt:
    """p = sigmoid(slope * score + intercept), column by column; several are one-vs-rest, normalised.

    Parameters
    ----------
    slope, intercept
        (1,) for two classes, (K,) for more.

    Examples
    --------
    >>> Platt(np.array([2.0]), np.array([0.0])).probs([[0.0]])
    array([[0.5, 0.5]])
    """

    kind: ClassVar[Kind] = "platt"
    slope: Floats
    intercept: Floats

    def probs(self, scores: ArrayLike) -> Floats:
        """Return probabilities (N, 2) of scores (N, 1), or (N, K) of (N, K)."""
        logit = _two_dimensional(scores, columns=len(self.slope)) * self.slope + self.intercept
        if len(self.slope) == 1:
            return np.concatenate([expit(-logit), expit(logit)], axis=1)
        each = expit(logit)
        total = each.sum(axis=1, keepdims=True)
        # Far outside the validation scores all columns may underflow: then every class is as likely.
        return np.divide(each, total, out=np.full_like(each, 1 / each.shape[1]), where=total > 0)


Calibrator = Isotonic | Platt


def choose(scores: ArrayLike, target: ArrayLike) -> Kind:
    """Return ``isotonic`` for two classes with 500 rows of the rarer one, else ``platt``.

    Isotonic regression overfits below about 1,000 rows (Niculescu-Mizil & Caruana 2005,
    https://doi.org/10.1145/1102351.1102430), and what it can resolve is set by the rarer class.
    """
    two_classes = np.asarray(scores).shape[-1] == 1
    rarer = np.bincount(np.asarray(target), minlength=2).min()
    return "isotonic" if two_classes and rarer >= ENOUGH_FOR_ISOTONIC else "platt"


def fit(kind: Kind, scores: ArrayLike, target: ArrayLike) -> Calibrator:
    """Fit a calibrator on validation rows.

    ``isotonic`` is least squares under a rising curve, kept within 1/(N+2) and its complement, since a
    probability of exactly 0 or 1 would cost a test row an infinite log-loss. ``platt`` is logistic
    regression on Platt's smoothed targets (N+ + 1)/(N+ + 2) and 1/(N- + 2), which keep it finite on
    separable rows.

    Parameters
    ----------
    kind
        ``isotonic`` (two classes only) or ``platt``.
    scores
        Raw scores, (N, 1) for two classes, (N, K) for more.
    target
        (N,) class indices.

    Raises
    ------
    ValueError
        For another kind, isotonic with more than two classes, no rows, or scores that are not finite.

    References
    ----------
    Platt 1999, "Probabilistic outputs for support vector machines";
    https://scikit-learn.org/stable/modules/calibration.html

    Examples
    --------
    >>> platt = fit("platt", [[-2.0], [-1.0], [1.0], [2.0]], [0, 0, 1, 1])
    >>> platt.probs([[0.0]]).round(6)
    array([[0.5, 0.5]])
    """
    x = _two_dimensional(scores)
    y = np.asarray(target)
    if len(x) == 0 or y.shape != (len(x),) or not np.isfinite(x).all():
        raise ValueError(
            f"a calibrator needs finite scores (N, columns) and target (N,) with N >= 1, "
            f"got {x.shape} ({np.sum(~np.isfinite(x))} not finite) and {y.shape}"
        )
    if kind == "platt":
        return _platt(x, y)
    if kind != "isotonic":
        raise ValueError(f"a calibrator is isotonic or platt, got {kind!r}")
    if x.shape[1] != 1:
        raise ValueError(f"isotonic needs two classes, got scores of {x.shape[1]} classes")
    edge = 1 / (len(x) + 2)
    curve = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip").fit(x[:, 0], y == 1)
    return Isotonic(np.asarray(curve.X_thresholds_), np.asarray(curve.y_thresholds_))


def cross_fit(x: Floats, y: NDArray[np.int64], of_all: Calibrator) -> Floats:
    """Return (N, K) probabilities, each from a calibrator that was fitted without the row's fold.

    The folds are the classes' rows dealt out in turn, so that each has its share of every class.

    Parameters
    ----------
    x, y
        Scores and class indices, as `fit` takes them.
    of_all
        Fitted to all rows. Those of the folds are of its kind, and Platt's search starts from it to save steps.

    >>> x, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 1, 0, 1])
    >>> cross_fit(x, y, fit("platt", x, y)).shape
    (4, 2)
    """
    turn = np.empty(len(y), dtype=np.int64)
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        turn[rows] = np.arange(len(rows)) % FOLDS
    probs = np.empty((len(y), max(x.shape[1], 2)))
    for fold in np.unique(turn):
        others = turn != fold
        calibrator = (
            _platt(x[others], y[others], near=of_all)
            if isinstance(of_all, Platt)
            else fit("isotonic", x[others], y[others])
        )
        probs[~others] = calibrator.probs(x[~others])
    return probs


def fit_if_better(scores: ArrayLike, target: ArrayLike, posterior: Floats) -> Calibrator | None:
    """Return a calibrator if it predicts unseen rows better than a posterior that needs no fit; else None.

    Better is a lower mean log-loss, by more than one standard error of the rows' differences (the one-standard-error
    rule of Breiman et al. 1984: the simpler of two is kept unless the other is clearly better). A posterior that gives
    an observed label the probability 0 always loses: its log-loss is infinite.

    Parameters
    ----------
    scores, target
        Validation rows, as `fit` takes them.
    posterior
        (N, K), of the same rows.

    Returns
    -------
    Isotonic or Platt, fitted on all rows; None where the posterior is kept

    Examples
    --------
    Scores that say nothing of the labels, taken for log-odds:

    >>> scores, target = np.tile([[-5.0], [5.0]], (20, 1)), np.repeat([0, 1], 20)
    >>> fitted = fit_if_better(scores, target, Platt(np.array([1.0]), np.array([0.0])).probs(scores))
    >>> fitted.probs([[5.0]]).round(6)
    array([[0.5, 0.5]])
    """
    x, y = _two_dimensional(scores), np.asarray(target)
    if len(y) < 2 * FOLDS:  # too few to tell, or to fit on the rest
        return None
    fitted = fit(choose(x, y), x, y)
    # One such row outweighs all others, and the standard error with it: the rule would be a coin toss.
    if (posterior[np.arange(len(y)), y] <= _LEAST).any():
        return fitted
    # A calibrator that is no better on the rows of its fit is no better on others: for most runs one fit decides,
    # not six.
    if _gains(fitted.probs(x), posterior, y) and _gains(cross_fit(x, y, fitted), posterior, y):
        return fitted
    return None


def _gains(probs: Floats, posterior: Floats, target: NDArray[np.int64]) -> bool:
    """Whether the first has a lower mean log-loss by more than one standard error."""
    rows = np.arange(len(target))
    gain = np.log(probs[rows, target].clip(_LEAST)) - np.log(posterior[rows, target])
    return bool(gain.mean() > gain.std(ddof=1) / len(target) ** 0.5)


def state_of(calibrator: Calibrator) -> dict[str, Floats]:
    """Return the arrays from which `from_state` rebuilds a calibrator."""
    return asdict(calibrator)


def from_state(kind: str, state: Mapping[str, ArrayLike]) -> Calibrator:
    """Rebuild a calibrator from its kind and arrays.

    >>> from_state("platt", {"slope": [1.0], "intercept": [0.0]})
    Platt(slope=array([1.]), intercept=array([0.]))
    """
    kinds: dict[str, type[Isotonic] | type[Platt]] = {"isotonic": Isotonic, "platt": Platt}
    if kind not in kinds:
        raise ValueError(f"a calibrator is isotonic or platt, got {kind!r}")
    return kinds[kind](**{name: np.asarray(array, dtype=np.float64) for name, array in state.items()})


def _platt(x: Floats, y: NDArray[np.int64], near: Platt | None = None) -> Platt:
    """Fit a line to each column, starting from ``near``, the fit to almost the same rows."""
    labels = [1] if x.shape[1] == 1 else range(x.shape[1])
    starts = [None] * x.shape[1] if near is None else zip(near.slope, near.intercept, strict=True)
    lines = [_line(column, y == k, start) for column, k, start in zip(x.T, labels, starts, strict=True)]
    slope, intercept = np.asarray(lines).T
    return Platt(slope, intercept)


def _line(column: Floats, positive: NDArray[np.bool_], start: tuple[float, float] | None) -> tuple[float, float]:
    """Return Platt's slope and intercept of one column.

    Newton's method with step halving (Lin, Lin & Weng 2007, https://doi.org/10.1007/s10994-007-5018-6): two numbers,
    for which scikit-learn's general solver takes eight times as long, and many runs fit six of them.
    """
    n_positive = np.count_nonzero(positive)
    n_negative = len(positive) - n_positive
    soft = np.where(positive, (n_positive + 1) / (n_positive + 2), 1 / (n_negative + 2))
    centre, scale = column.mean(), column.std()
    scale = scale if scale > 0 else 1.0  # a network that scores every row alike
    x = (column - centre) / scale
    # Only so that a constant column, of which any slope is as good, has a solution.
    ridge = 1e-10

    def cost(line: Floats) -> float:
        logit = line[0] * x + line[1]
        return float(np.add.reduce(np.logaddexp(0, logit)) - soft @ logit) + ridge / 2 * line[0] ** 2

    if start is None:
        share = soft.mean()
        line = np.array([0.0, np.log(share / (1 - share))])
    else:
        line = np.array([start[0] * scale, start[1] + start[0] * centre])
    reach = max(-x.min(), x.max(), 1.0)
    for _ in range(_STEPS):
        prob = expit(line[0] * x + line[1])
        error, curvature = prob - soft, prob * (1 - prob)
        gradient = np.array([error @ x + ridge * line[0], np.add.reduce(error)])
        if np.abs(gradient).max() <= 1e-10 * len(x):
            break
        bend = curvature * x
        a, b, c = bend @ x + ridge, np.add.reduce(bend), np.add.reduce(curvature)
        determinant = a * c - b * b
        if determinant > 1e-9 * a * c:
            step = np.array([c, a]) * gradient - b * gradient[::-1]
            step /= determinant
        else:  # flat in one direction: the shortest step
            step = np.linalg.lstsq(np.array([[a, b], [b, c]]), gradient)[0]
        # A step that moves no logit by more than one lowers the cost (Bach 2010, https://doi.org/10.1214/09-EJS521).
        if np.abs(step).sum() * reach > 1:
            least = cost(line)
            while cost(line - step) > least and np.abs(step).max() > 1e-12:
                step = step / 2
        line = line - step
    slope = float(line[0]) / float(scale)
    return slope, float(line[1]) - slope * float(centre)


def _two_dimensional(scores: ArrayLike, columns: int | None = None) -> Floats:
    x = np.asarray(scores, dtype=np.float64)
    if x.ndim != 2 or (columns is not None and x.shape[1] != columns):
        raise ValueError(f"a calibrator needs scores (N, {columns or 'columns'}), got {x.shape}")
    return x
