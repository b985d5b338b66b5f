"""Tests of paired differences, Holm's correction, and how few differences decide nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

ALPHA = 0.05


class PairedTest(Protocol):
    """A test of paired differences; the population decides which (`population.population`)."""

    @property
    def name(self) -> str: ...

    @property
    def approximate(self) -> bool: ...

    @property
    def ratio(self) -> float:
        """Variance that more differences do not average away: that of their mean is sd^2 (1/n + ratio)."""

    def greater(self, differences: np.ndarray) -> float:
        """Return the one-sided p for differences above 0."""

    def two_sided(self, differences: np.ndarray) -> float:
        """Return the p for differences other than 0."""

    def interval(self, differences: np.ndarray, level: float = 0.95) -> tuple[float, float]:
        """Return the shifts that the two-sided test does not reject."""

    def lower(self, differences: np.ndarray, tail: float) -> float:
        """Return a lower bound of the mean that is right with probability 1 - tail."""


def holm(p: Sequence[float]) -> list[float]:
    """Return Holm's corrected p-values: the k-th smallest of m times m - k + 1, at most 1 and never falling.

    (scipy has no Holm; statsmodels' collects the interpreter's garbage in each call, up to .2 s.)

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    given = np.asarray(p, dtype=float)
    order = np.argsort(given, kind="stable")
    corrected = np.empty(len(given))
    corrected[order] = np.maximum.accumulate(np.minimum(given[order] * np.arange(len(given), 0, -1), 1))
    return corrected.tolist()
