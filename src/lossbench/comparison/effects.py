"""What each objective is worth: effects by least squares over the runs that there are, and the differences of a pair.

Everything that an answer says (order, means, words, intervals, the set of the best) reads the same `Effects`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from lossbench.comparison.pairs import LABEL

Floats = NDArray[np.float64]
# Means that differ by less than rounding are ties: relative to the largest.
_TIE = 1e-12


@dataclass(frozen=True)
class Pair:
    """How one objective differs from another.

    Parameters
    ----------
    differences
        (n,) independent ones, over the keys that both have, averaged within a unit.
    contrast
        Difference of the two effects; NaN where nothing connects them. Where cells are missing it may be another than
        the mean of the differences, since the other objectives tell how hard the missing keys are.
    units
        (n,) which unit each difference is of.
    """

    differences: Floats
    contrast: float
    units: NDArray[np.int64]

    @property
    def shift(self) -> float:
        """What the effects add to the mean of the differences; 0 where no cell is missing."""
        if not len(self.differences):
            return 0.0
        shift = self.contrast - float(np.mean(self.differences))
        return shift if abs(shift) > _TIE * max(1.0, float(np.abs(self.differences).max())) else 0.0

    def reversed(self) -> Pair:
        return Pair(-self.differences, -self.contrast, self.units)


@dataclass(frozen=True)
class Effects:
    """The effects of objectives, estimated from a table with one row per key (seed, fold, data) and a column a label.

        value = label + key + noise,   by least squares over the cells that are there; each unit weighs the same

    On a complete table an effect is a mean. Elsewhere it is what the mean would be if the missing keys were as hard
    for this objective as they are for the others: an objective that failed on hard seeds gains nothing by it.

    Parameters
    ----------
    labels
        In alphabetical order.
    keys
        Of the rows of `cells`.
    units
        (keys,) number of the unit that each key belongs to: units are independent of each other.
    unit_names
        What the units are called.
    cells
        (keys, labels); NaN is missing.
    means
        (labels,) effects on the metric's own scale.
    parts
        (labels,) the connected part of the table that a label belongs to: labels of different parts share no key, not
        even through others, and cannot be compared.

    Examples
    --------
    Focal has no value on the second seed, which is harder by .2; it differs by .1, though its bare mean is .2 higher:

    >>> index = pd.MultiIndex.from_tuples([("focal", 0), ("mse", 0), ("mse", 1)], names=["label", "seed"])
    >>> effects = estimate_effects(pd.Series([0.9, 0.8, 0.6], index=index), ["seed"])
    >>> dict(zip(effects.labels, effects.means.round(9).tolist()))
    {'focal': 0.8, 'mse': 0.7}
    >>> effects.complete.tolist(), effects.missing("focal")
    ([False, True], [(1,)])
    """

    labels: tuple[str, ...]
    keys: tuple[tuple[Hashable, ...], ...]
    units: NDArray[np.int64]
    unit_names: tuple[str, ...]
    cells: Floats
    means: Floats
    parts: NDArray[np.int64]

    @cached_property
    def there(self) -> NDArray[np.bool_]:
        return ~np.isnan(self.cells)

    @cached_property
    def complete(self) -> NDArray[np.bool_]:
        """Which labels have a value under every key that any of them has."""
        return np.asarray(self.there.all(axis=0))

    @property
    def connected(self) -> bool:
        return len(set(self.parts.tolist())) <= 1

    @cached_property
    def position(self) -> dict[str, int]:
        return {label: number for number, label in enumerate(self.labels)}

    def missing(self, label: str) -> list[tuple[Hashable, ...]]:
        """Return the keys under which a label has no value and another has one."""
        there = self.there[:, self.position[label]]
        return [key for key, has in zip(self.keys, there, strict=True) if not has]

    def is_complete(self, label: str) -> bool:
        return bool(self.complete[self.position[label]])

    def mean(self, label: str) -> float:
        return float(self.means[self.position[label]])

    def pair(self, first: str, second: str) -> Pair:
        """Return how the first differs from the second."""
        a, b = self.position[first], self.position[second]
        common = self.there[:, a] & self.there[:, b]
        unit = self.units[common]
        counts = np.bincount(unit)
        sums = np.bincount(unit, weights=self.cells[common, a] - self.cells[common, b])
        seen = np.flatnonzero(counts)
        differences = sums[seen] / counts[seen]
        if self.parts[a] != self.parts[b]:
            contrast = float("nan")
        elif self.complete[a] and self.complete[b]:
            contrast = float(np.mean(differences))
        else:
            contrast = float(self.means[a] - self.means[b])
        return Pair(differences, contrast, seen)

    def ranking(self, higher_is_better: bool) -> list[tuple[int, str]]:
        """Return rank and label, best first; equal effects share a rank and stand in alphabetical order."""
        order = sorted(range(len(self.labels)), key=lambda at: -self.means[at] if higher_is_better else self.means[at])
        tie = _TIE * float(np.abs(self.means).max(initial=0))
        groups: list[list[int]] = []
        for at in order:
            if groups and abs(self.means[at] - self.means[groups[-1][0]]) <= tie:
                groups[-1].append(at)
            else:
                groups.append([at])
        ranked, rank = [], 1
        for group in groups:
            ranked += [(rank, self.labels[at]) for at in sorted(group)]
            rank += len(group)
        return ranked


def estimate_effects(values: pd.Series, unit: Sequence[str]) -> Effects:
    """Estimate the effects of all labels that have a value.

    Parameters
    ----------
    values
        One metric, as a column of `pairs.values`: indexed by label and by the keys that pair runs; NaN is no value.
    unit
        Levels of that index which tell independent units apart; the keys that agree in them are one unit. Empty: every
        key is one.
    """
    table = values.dropna().unstack(LABEL).sort_index(axis="columns")
    cells = table.to_numpy(dtype=float)
    names = [str(name) for name in table.index.names]
    keys = [key if isinstance(key, tuple) else (key,) for key in table.index]
    levels = [names.index(name) for name in (unit or names)]
    numbers, distinct = pd.factorize(pd.Series([tuple(key[at] for at in levels) for key in keys], dtype=object))
    unit_names = tuple(" · ".join(str(part) for part in one) for one in distinct)
    units = numbers.astype(np.int64)
    there = ~np.isnan(cells)
    parts = connected_components(there.T.astype(float) @ there.astype(float))[1].astype(np.int64)
    labels = tuple(str(label) for label in table.columns)
    return Effects(labels, tuple(keys), units, unit_names, cells, _means(cells, units, parts), parts)


def _means(cells: Floats, units: NDArray[np.int64], parts: NDArray[np.int64]) -> Floats:
    """Return the effects; those of complete labels are means of their units' means to the last bit."""
    weights = 1.0 / np.bincount(units)[units] if len(units) else np.zeros(0)
    complete = np.asarray((~np.isnan(cells)).all(axis=0))
    means = np.full(cells.shape[1], np.nan)
    for part in set(parts.tolist()):
        members = np.flatnonzero(parts == part)
        if not complete[members].all():
            means[members] = _least_squares(cells[:, members], weights)
    for label in np.flatnonzero(complete):
        per_unit = np.bincount(units, weights=cells[:, label]) / np.bincount(units)
        means[label] = np.mean(per_unit)
    return means


def _least_squares(cells: Floats, weights: Floats) -> Floats:
    """Solve the normal equations of value ~ label + key with the keys eliminated, on the scale of the mean key."""
    rows = ~np.isnan(cells).all(axis=1)
    cells, weights = cells[rows], weights[rows]
    there = (~np.isnan(cells)).astype(float)
    filled = np.nan_to_num(cells)
    per_key = there.sum(axis=1)
    share = weights / per_key
    equations = np.diag(weights @ there) - there.T @ (share[:, None] * there)
    right = weights @ filled - there.T @ (share * filled.sum(axis=1))
    labels = np.linalg.lstsq(equations, right, rcond=None)[0]
    keys = (filled.sum(axis=1) - there @ labels) / per_key
    return np.asarray(labels + np.average(keys, weights=weights))
