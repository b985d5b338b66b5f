"""Rows and seeds crossed: how sure a comparison is where all seeds are judged on the same rows.

More seeds do not make up for few rows: what they share is one sample of rows, and an interval that speaks about new
rows has to count both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from scipy.stats import t as student

from lossbench.comparison.effects import Effects

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RowParts:
    """What each judged row adds to a metric of one run, which moves to first order as the sum of the strata's means.

    Parameters
    ----------
    strata
        For each class of rows (one for all, where classes play no part) its rows' parts.
    """

    strata: tuple[Floats, ...]


def mean_parts(values: Floats) -> RowParts:
    """Return the parts of a metric that is a mean over rows, as accuracy, log loss and the Brier score are."""
    return RowParts((np.asarray(values, dtype=float),))


def auroc_parts(scores: Floats, target: NDArray[np.int64]) -> RowParts:
    """Return the placements of the rows of each class (DeLong et al. 1988), for the macro one-vs-rest AUROC.

    A row of class c adds its placement among the other classes in the problem "c or not", and in each problem
    "c' or not" how many rows of c' stand above it, by the weight that it has among the negatives there. For two classes
    that is DeLong's V10 and V01, with one problem.

    Parameters
    ----------
    scores
        (N,) for two classes, (N, K) for more: what orders the rows.

    Examples
    --------
    >>> parts = auroc_parts(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]))
    >>> [one.tolist() for one in parts.strata]
    [[1.0, 0.5], [0.5, 1.0]]
    """
    binary = scores.ndim == 1
    columns = {1: scores} if binary else dict(enumerate(scores.T))
    classes = np.unique(target)
    parts = np.zeros(len(target))
    for positive, column in columns.items():
        is_positive = target == positive
        many, rest = int(is_positive.sum()), int((~is_positive).sum())
        if not many or not rest:
            continue
        everyone = rankdata(column)
        within = np.zeros(len(target))
        within[is_positive], within[~is_positive] = rankdata(column[is_positive]), rankdata(column[~is_positive])
        above = everyone - within  # of the other side: those below a positive, those below a negative
        placed = np.where(is_positive, above / rest, 1 - above / many)
        share = np.ones(len(target))
        for c in classes:
            if c != positive:
                share[target == c] = (target == c).sum() / rest
        parts += placed * share / len(columns)
    return RowParts(tuple(parts[target == c] for c in classes))


@dataclass(frozen=True)
class CrossedBounds:
    """Bounds of mean differences over seeds that are judged on the same rows, for new rows and new seeds.

        var(mean) = sum over strata of var over rows(mean over seeds) / R  +  (var over seeds - interaction / R) / S

    by the mean squares of the two-way layout without replication (Cornfield and Tukey 1956); the second term counts as
    0 where it comes out negative. Degrees of freedom are Satterthwaite's, and the quantile is Student's. Seeds that are
    all alike (a convex model) add nothing, so that twelve of them are as sure as one. It is approximate: it counts on
    enough rows of each class for means to be nearly normal.

    Parameters
    ----------
    effects
        Of the metric; every key is a seed.
    parts
        For each label and key the row parts, whose rows are the same throughout, in one order.
    rows
        How many rows of each stratum were judged, if the parts are of some of them only; empty for all.
    """

    effects: Effects
    parts: Mapping[tuple[str, int], RowParts]
    higher_is_better: bool = True
    rows: Sequence[float] = ()
    _estimates: dict[tuple[str, str], tuple[float, float, float]] = field(
        default_factory=dict, compare=False, repr=False
    )

    def n(self, first: str, second: str) -> int:
        return len(self._common(first, second))

    def gain(self, first: str, second: str) -> float:
        return self._sign * self.effects.pair(first, second).contrast

    def all_equal(self, first: str, second: str) -> bool:
        differences = self.effects.pair(first, second).differences
        return len(differences) > 0 and not differences.any()

    def p(self, first: str, second: str) -> float:
        gain, error, freedom = self._estimate(first, second)
        if not self.effects.is_complete(first) or math.isnan(gain) or math.isnan(error):
            return 1.0
        if error == 0:
            return 0.5 if gain == 0 else float(gain < 0)
        return float(student.sf(gain / error, freedom))

    def lower(self, first: str, second: str, tail: float) -> float:
        gain, error, freedom = self._estimate(first, second)
        if not self.effects.is_complete(first) or math.isnan(gain) or math.isnan(error):
            return -math.inf
        return gain - float(student.isf(tail, freedom)) * error

    def may_exceed(self, first: str, second: str, amount: float, tail: float) -> bool:
        return -self.lower(second, first, tail) > amount

    @property
    def _sign(self) -> float:
        return 1.0 if self.higher_is_better else -1.0

    def _common(self, first: str, second: str) -> list[int]:
        return [
            key for key in range(len(self.effects.keys)) if (first, key) in self.parts and (second, key) in self.parts
        ]

    def _estimate(self, first: str, second: str) -> tuple[float, float, float]:
        """Return the gain, its standard error and its degrees of freedom; NaN for fewer than two seeds."""
        if (first, second) not in self._estimates:
            error, freedom = self._error(first, second)
            self._estimates[first, second] = (self.gain(first, second), error, freedom)
            self._estimates[second, first] = (self.gain(second, first), error, freedom)
        return self._estimates[first, second]

    def _error(self, first: str, second: str) -> tuple[float, float]:
        keys = self._common(first, second)
        if len(keys) < 2:
            return math.nan, math.nan
        mine, other = (self.effects.cells[keys, self.effects.position[label]] for label in (first, second))
        strata = [
            np.array([self.parts[first, key].strata[at] - self.parts[second, key].strata[at] for key in keys])
            for at in range(len(self.parts[first, keys[0]].strata))
        ]
        return crossed_error(strata, mine - other, self.rows)


def crossed_error(strata: Sequence[Floats], per_seed: Floats, rows: Sequence[float] = ()) -> tuple[float, float]:
    """Return the standard error of a mean over seeds and rows, and its degrees of freedom.

    Parameters
    ----------
    strata
        For each stratum (S, R) parts.
    per_seed
        (S,) the metric.

    Examples
    --------
    One row factor and seeds that are all alike: the standard error of a mean over rows.

    >>> values = np.tile([1.0, 2.0, 3.0, 4.0], (5, 1))
    >>> error, freedom = crossed_error([values], values.mean(axis=1))
    >>> bool(np.isclose(error, np.std([1, 2, 3, 4], ddof=1) / 2)), freedom
    (True, 3.0)
    """
    seeds = len(per_seed)
    terms: list[tuple[float, float]] = []
    doubled = 0.0
    for at, values in enumerate(strata):
        kept = values.shape[1]
        if kept < 2:
            return math.nan, math.nan
        count = rows[at] if rows else kept
        by_row = values.mean(axis=0)
        terms.append((float(np.var(by_row, ddof=1)) / count, kept - 1))
        rest = values - by_row - values.mean(axis=1, keepdims=True) + values.mean()
        doubled += float((rest**2).sum()) / ((seeds - 1) * (kept - 1)) / (seeds * count)
    of_seeds = float(np.var(per_seed, ddof=1)) / seeds - doubled
    if of_seeds > 0:
        terms.append((of_seeds, seeds - 1))
    variance = sum(value for value, _ in terms)
    if variance <= 0:
        return 0.0, float(max(1, len(strata[0][0]) - 1))
    return math.sqrt(variance), variance**2 / sum(value**2 / freedom for value, freedom in terms)
