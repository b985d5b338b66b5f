"""Differences of matched runs, averaged to independent values: what every verdict starts from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lossbench.comparison.pairs import LABEL


class Matched:
    """The values of one metric, by what pairs them (rows) and label (columns).

    Parameters
    ----------
    values
        One metric, as a column of `pairs.values`: indexed by label and by what pairs runs; NaN is no value.
    unit
        Levels of that index which tell independent differences apart; the rows that agree in them are averaged,
        after differences are taken, so that a run without its partner leaves with it.

    Examples
    --------
    >>> index = pd.MultiIndex.from_tuples(
    ...     [("a", 0, 0), ("a", 0, 1), ("b", 0, 0), ("b", 0, 1), ("b", 1, 0)], names=["label", "seed", "fold"])
    >>> matched = Matched(pd.Series([1.0, 2.0, 1.5, 3.0, 9.0], index=index), ["seed"])
    >>> matched.differences("b", "a").tolist(), matched.counts("b", "a")
    ([0.75], (2, 1))
    """

    def __init__(self, values: pd.Series, unit: Sequence[str]) -> None:
        keys = [str(name) for name in values.index.names if name != LABEL]
        labels, names = pd.factorize(values.index.get_level_values(LABEL))
        self._column = {str(name): number for number, name in enumerate(names)}
        frame = values.index.to_frame(index=False)
        rows = frame.groupby(keys, sort=False).ngroup().to_numpy() if keys else np.zeros(0, dtype=int)
        self._matrix = np.full((rows.max(initial=-1) + 1, len(names)), np.nan)
        self._units = np.zeros(len(self._matrix), dtype=int)
        # Without anything that pairs runs, every run would be matched to all others.
        if keys:
            self._matrix[rows, labels] = values.to_numpy(dtype=float)
        if keys and unit:
            self._units[rows] = frame.groupby(list(unit), sort=False).ngroup().to_numpy()

    def differences(self, label: str, other: str) -> np.ndarray:
        """Return the independent differences of two labels, (n,), without those that lack a partner."""
        gaps = self._gaps(label, other)
        matched = ~np.isnan(gaps)
        unit = self._units[matched]
        counts = np.bincount(unit)
        sums = np.bincount(unit, weights=gaps[matched])
        return sums[counts > 0] / counts[counts > 0]

    def counts(self, label: str, other: str) -> tuple[int, int]:
        """Return how many pairs two labels have, and how many values of either are without a partner."""
        pairs = int((~np.isnan(self._gaps(label, other))).sum())
        values = int((~np.isnan(self._matrix[:, [self._column[label], self._column[other]]])).sum())
        return pairs, values - 2 * pairs

    def _gaps(self, label: str, other: str) -> np.ndarray:
        return self._matrix[:, self._column[label]] - self._matrix[:, self._column[other]]
