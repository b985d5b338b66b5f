"""Decision thresholds for two classes: tuned on validation rows, applied anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossbench.evaluation.catalogue import TUNED


def tune(target: ArrayLike, positive_prob: ArrayLike) -> dict[str, float]:
    """Return, for every metric of `TUNED`, the threshold t with its best value for the decision ``positive_prob > t``.

    Exact: every cut between distinct values is tried, and t lies midway between the two values beside it (between the
    outermost value and 0 or 1 at the ends; -1 where even a probability of 0 is positive). Among equally good cuts
    (within 1e-12) the one nearest to .5 is taken, then the lower.

    Parameters
    ----------
    target
        (N,), 0 or 1.
    positive_prob
        (N,), in [0, 1].

    Returns
    -------
    dict
        NaN where the metric is undefined on these rows, whatever the threshold.

    Raises
    ------
    ValueError
        For shapes that differ, no rows, or a NaN.

    Examples
    --------
    >>> tune([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.6])["f1"]
    0.25
    """
    positive, prob = _checked(target, positive_prob)
    order = np.argsort(prob)
    values = prob[order]
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    distinct = values[ends]
    # Everything up to and including an end is negative; first of all: nothing is.
    missed = np.append(0, np.cumsum(positive[order])[ends])
    negatives_below = np.append(0, ends + 1) - missed
    n_positive = int(np.count_nonzero(positive))
    n_negative = len(positive) - n_positive
    lower, upper = np.append(0.0, distinct), np.append(distinct, 1.0)
    cut = lower / 2 + upper / 2
    cut = np.where(cut < upper, cut, lower)  # neighbouring floats have nothing between them
    if distinct[0] == 0:
        cut[0] = -1.0
    best_thresholds: dict[str, float] = {}
    for metric in TUNED:
        score = _score(metric, n_positive - missed, n_negative - negatives_below, n_positive, n_negative)
        best = np.flatnonzero(score >= score.max() - 1e-12)  # none where the metric is NaN
        best_thresholds[metric] = float(cut[best[np.argmin(np.abs(cut[best] - 0.5))]]) if len(best) else float("nan")
    return best_thresholds


def score_at(target: ArrayLike, positive_prob: ArrayLike, thresholds: Mapping[str, float]) -> dict[str, float]:
    """Return metrics of `TUNED`, each for the decision ``positive_prob > its threshold``; NaN where undefined.

    A threshold of NaN, which `tune` returns for rows that cannot tune it, gives NaN.

    Raises
    ------
    ValueError
        For another metric, shapes that differ, no rows, or a NaN.

    Examples
    --------
    >>> score_at([0, 0, 1, 1], [0.1, 0.4, 0.3, 0.6], {"accuracy": 0.35})
    {'accuracy': 0.5}
    """
    positive, prob = _checked(target, positive_prob)
    of_positives = prob[positive]
    n_positive, n_negative = len(of_positives), len(prob) - len(of_positives)
    values: dict[str, float] = {}
    for metric, threshold in thresholds.items():
        if metric not in TUNED:
            raise ValueError(f"a threshold is for one of {', '.join(TUNED)}, got {metric!r}")
        hits = np.count_nonzero(of_positives > threshold)
        counts = np.asarray([hits]), np.asarray([np.count_nonzero(prob > threshold) - hits]), n_positive, n_negative
        values[metric] = float("nan") if np.isnan(threshold) else float(_score(metric, *counts)[0])
    return values


def _checked(target: ArrayLike, positive_prob: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    labels, prob = np.asarray(target), np.asarray(positive_prob, dtype=np.float64)
    if labels.ndim != 1 or labels.shape != prob.shape or labels.size == 0:
        raise ValueError(
            f"thresholds need target (N,) and positive_prob (N,) with N >= 1, got {labels.shape} and {prob.shape}"
        )
    positive = labels == 1
    if np.count_nonzero(positive) + np.count_nonzero(labels == 0) < len(labels):
        raise ValueError(f"thresholds need a target of 0 and 1, got {labels.min()}..{labels.max()}")
    low, high = prob.min(), prob.max()
    if not (low >= 0 and high <= 1):  # nor with a NaN
        raise ValueError(f"thresholds need probabilities in [0, 1], got {low}..{high}")
    return positive, prob


def _score(
    metric: str, hits: NDArray[Any], false_alarms: NDArray[Any], n_positive: int, n_negative: int
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
    if metric != "mcc":
        raise ValueError(f"thresholds have no formula for {metric!r}")
    decided = hits + false_alarms
    one_sided = (decided == 0) | (decided == n)
    spread = np.where(one_sided, 1.0, decided * (n - decided))
    return gain * np.sqrt(float(n_positive) * n_negative / spread) * ~one_sided
