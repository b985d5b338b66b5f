"""Points of ROC and precision-recall curves, for figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """A curve from its first to its last threshold, with the number that sums it up.

    Attributes
    ----------
    x, y
        (M,) each: false against true positive rate (ROC), recall against precision.
    area
        AUROC, or average precision (which is no trapezoid under the drawn points).
    """

    x: Floats
    y: Floats
    area: float


def roc(target: ArrayLike, score: ArrayLike) -> Curve:
    """Return the ROC curve from (0, 0) to (1, 1), without points inside straight pieces.

    Parameters
    ----------
    target
        (N,), 0 or 1.
    score
        (N,), anything that rises with the positive class: raw scores or probabilities.

    Raises
    ------
    ValueError
        Unless both classes have rows and every score is finite.

    Examples
    --------
    >>> curve = roc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> curve.area, curve.x, curve.y
    (0.75, array([0. , 0. , 0.5, 0.5, 1. ]), array([0. , 0.5, 0.5, 1. , 1. ]))
    """
    y, s = _checked(target, score)
    if y.min() == y.max():
        raise ValueError(f"a ROC curve needs rows of both classes, got only class {y[0]}")
    false_rate, true_rate, _ = roc_curve(y, s)
    return Curve(np.asarray(false_rate), np.asarray(true_rate), float(roc_auc_score(y, s)))


def precision_recall(target: ArrayLike, score: ArrayLike) -> Curve:
    """Return the precision-recall curve, recall rising from 0, with its average precision.

    Draw it as steps (matplotlib's ``drawstyle="steps-pre"``), since average precision sums steps.

    Parameters
    ----------
    target, score
        As for `roc`.

    Raises
    ------
    ValueError
        Without a positive row, or for a score that is not finite.

    Examples
    --------
    >>> curve = precision_recall([0, 1], [0.2, 0.8])
    >>> curve.area, curve.x, curve.y
    (1.0, array([0., 1., 1.]), array([1. , 1. , 0.5]))
    """
    y, s = _checked(target, score)
    if not (y == 1).any():
        raise ValueError("a precision-recall curve needs a row of the positive class, got none")
    precision, found, _ = precision_recall_curve(y, s)
    return Curve(found[::-1].copy(), precision[::-1].copy(), float(average_precision_score(y, s)))


def micro_roc(target: ArrayLike, scores: ArrayLike) -> Curve:
    """Return the micro-averaged ROC curve of K classes: one curve over all N K cells of the one-hot target.

    The classic tutorial draws it from raw scores; probabilities give another curve, since a link moves the
    columns of one row against those of another. Both are right about what they were given.

    Parameters
    ----------
    target
        (N,), class indices.
    scores
        (N, K) raw scores or probabilities.

    References
    ----------
    https://scikit-learn.org/stable/auto_examples/model_selection/plot_roc.html

    Examples
    --------
    >>> micro_roc([0, 1, 2], [[3.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.5, 2.5, 1.5]]).area.__round__(4)
    0.8889
    """
    s = np.asarray(scores, dtype=np.float64)
    y = np.asarray(target)
    if s.ndim != 2 or s.shape[1] < 2 or y.shape != s.shape[:1]:
        raise ValueError(f"a micro-averaged ROC needs target (N,) and scores (N, K), got {y.shape} and {s.shape}")
    if y.min() < 0 or y.max() >= s.shape[1]:
        raise ValueError(f"a micro-averaged ROC needs target in 0..{s.shape[1] - 1}, got {y.min()}..{y.max()}")
    return roc((y[:, None] == np.arange(s.shape[1])).astype(np.int64).ravel(), s.ravel())


def _checked(target: ArrayLike, score: ArrayLike) -> tuple[NDArray[np.int64], Floats]:
    y, s = np.asarray(target), np.asarray(score, dtype=np.float64)
    if y.ndim != 1 or y.shape != s.shape or y.size == 0 or not np.isin(y, (0, 1)).all():
        raise ValueError(f"a curve needs target (N,) of 0 and 1 and score (N,), got {y.shape} and {s.shape}")
    if not np.isfinite(s).all():
        raise ValueError(f"a curve needs finite scores, got {int((~np.isfinite(s)).sum())} that are not")
    return y.astype(np.int64), s
