"""Decision thresholds for two classes: tuned on validation rows, applied anywhere."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Tuned = Literal["f1", "mcc", "balanced_accuracy", "accuracy"]
TUNED: tuple[Tuned, ...] = get_args(Tuned)


def tune(target: ArrayLike, positive_prob: ArrayLike, metric: Tuned) -> float:
    """Return the threshold t with the best metric for the decision ``positive_prob > t``.

    Exact: every split of the distinct values is tried, and t lies midway between the two neighbours that it
    separates (towards 0 or 1 outside them; -1 where even a probability of 0 has to be positive). Among
    equally good splits (within 1e-12) the one whose t is nearest to .5 is taken, then the lower.

    Parameters
    ----------
    target
        (N,), 0 or 1.
    positive_prob
        (N,), in [0, 1].
    metric
        One of `TUNED`.

    Returns
    -------
    float
        NaN where the metric is undefined on these rows, whatever the threshold.

    Raises
    ------
    ValueError
        For another metric, shapes that differ, no rows, or a NaN.

    Examples
    --------
    >>> tune([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.6], "f1")
    0.25
    """
    if metric not in TUNED:
        raise ValueError(f"a threshold is tuned for one of {', '.join(TUNED)}, got {metric!r}")
    positive, prob = _checked(target, positive_prob)
    order = np.argsort(prob)
    values = prob[order]
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    distinct = values[ends]
    # Everything up to and including an end is negative; first of all: nothing is.
    missed = np.append(0, np.cumsum(positive[order])[ends])
    negatives_below = np.append(0, ends + 1) - missed
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    score = _score(metric, n_positive - missed, n_negative - negatives_below, n_positive, n_negative)
    if np.isnan(score).any():
        return float("nan")
    lower, upper = np.append(0.0, distinct), np.append(distinct, 1.0)
    cut = lower / 2 + upper / 2
    cut = np.where(cut < upper, cut, lower)  # neighbouring floats have nothing between them
    if distinct[0] == 0:
        cut[0] = -1.0
    best = np.flatnonzero(score >= score.max() - 1e-12)
    return float(cut[best[np.argmin(np.abs(cut[best] - 0.5))]])


def at(target: ArrayLike, positive_prob: ArrayLike, threshold: float) -> dict[str, float]:
    """Return every metric of `TUNED` for the decision ``positive_prob > threshold``; NaN where undefined.

    A threshold of NaN, which `tune` returns for rows that cannot tune it, gives NaN.

    >>> at([0, 0, 1, 1], [0.1, 0.4, 0.3, 0.6], 0.35)["accuracy"]
    0.5
    """
    positive, prob = _checked(target, positive_prob)
    if np.isnan(threshold):
        return dict.fromkeys(TUNED, float("nan"))
    decided = prob > threshold
    hits = np.asarray([(decided & positive).sum()])
    false_alarms = np.asarray([(decided & ~positive).sum()])
    counts = hits, false_alarms, int(positive.sum()), int((~positive).sum())
    return {metric: float(_score(metric, *counts)[0]) for metric in TUNED}


def _checked(target: ArrayLike, positive_prob: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    labels, prob = np.asarray(target), np.asarray(positive_prob, dtype=np.float64)
    if labels.ndim != 1 or labels.shape != prob.shape or labels.size == 0:
        raise ValueError(
            f"thresholds need target (N,) and positive_prob (N,) with N >= 1, got {labels.shape} and {prob.shape}"
        )
    if not ((labels == 0) | (labels == 1)).all():
        raise ValueError(f"thresholds need a target of 0 and 1, got {labels.min()}..{labels.max()}")
    if not ((prob >= 0) & (prob <= 1)).all():
        raise ValueError(f"thresholds need probabilities in [0, 1], got {prob.min()}..{prob.max()}")
    return labels == 1, prob


def _score(
    metric: Tuned, hits: NDArray[Any], false_alarms: NDArray[Any], n_positive: int, n_negative: int
) -> NDArray[np.float64]:
    """Return the metric of each (true positives, false positives); conventions of `metrics.compute`."""
    hits, false_alarms = hits.astype(np.float64), false_alarms.astype(np.float64)
    n = n_positive + n_negative
    if metric == "accuracy":
        return (hits + n_negative - false_alarms) / n
    if n_positive == 0 or (n_negative == 0 and metric != "f1"):
        return np.full(hits.shape, np.nan)
    if metric == "f1":
        return 2 * hits / (n_positive + hits + false_alarms)
    gain = hits / n_positive - false_alarms / n_negative  # Youden's J
    if metric == "balanced_accuracy":
        return (1 + gain) / 2
    decided = hits + false_alarms
    one_sided = (decided == 0) | (decided == n)
    spread = np.where(one_sided, 1.0, decided * (n - decided))
    return gain * np.sqrt(float(n_positive) * n_negative / spread) * ~one_sided
