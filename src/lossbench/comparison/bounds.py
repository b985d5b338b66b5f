"""One-sided tests and bounds of how much better one objective is than another: all statements are made from these."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

from lossbench.comparison.effects import Effects, Pair
from lossbench.comparison.verdicts import PairedTest


class Bounds(Protocol):
    """What a population's test says of two objectives. A *gain* is a difference in the metric's better direction.

    A missing cell can help nobody: an objective that has one is shown to be better than no other (p 1), and how much
    worse it may be has no bound.
    """

    def n(self, first: str, second: str) -> int:
        """Return how many independent differences two objectives have."""

    def gain(self, first: str, second: str) -> float:
        """Return how much better the first is than the second by their effects; NaN where nothing connects them."""

    def p(self, first: str, second: str) -> float:
        """Return the one-sided p for the first being better than the second."""

    def lower(self, first: str, second: str, tail: float) -> float:
        """Return a lower bound of that gain, right with probability 1 - tail; minus infinity for none."""

    def may_exceed(self, first: str, second: str, amount: float, tail: float) -> bool:
        """Return whether that gain may be larger than an amount: whether -lower(second, first, tail) is."""

    def all_equal(self, first: str, second: str) -> bool:
        """Return whether there are differences and all of them are zero."""


@dataclass(frozen=True)
class PairedBounds:
    """The bounds of independent paired differences.

    Where cells are missing, the effects may put the difference elsewhere than the mean over the common keys does. The
    test is exact for the latter, the order is that of the former: so a p is the larger of both, and an interval reaches
    from the one to the other. That costs power where cells are missing, and nothing where none is.

    No bound is finite for n differences if 2^-n is above the tail: a sign-flip test cannot decide with so few. The
    corrected t-test is held to the same floor, so that four splits decide nothing.
    """

    effects: Effects
    test: PairedTest
    higher_is_better: bool = True
    _pairs: dict[tuple[str, str], Pair] = field(default_factory=dict, compare=False, repr=False)
    _lower: dict[tuple[str, str, float], float] = field(default_factory=dict, compare=False, repr=False)

    def pair(self, first: str, second: str) -> Pair:
        """Return the gains of the first over the second."""
        key = (first, second)
        if key not in self._pairs:
            pair = self.effects.pair(first, second)
            pair = pair if self.higher_is_better else pair.reversed()
            self._pairs[key], self._pairs[second, first] = pair, pair.reversed()
        return self._pairs[key]

    def n(self, first: str, second: str) -> int:
        return len(self.pair(first, second).differences)

    def gain(self, first: str, second: str) -> float:
        return self.pair(first, second).contrast

    def all_equal(self, first: str, second: str) -> bool:
        differences = self.pair(first, second).differences
        return len(differences) > 0 and not differences.any()

    def p(self, first: str, second: str) -> float:
        pair = self.pair(first, second)
        if not self.effects.is_complete(first) or not len(pair.differences) or math.isnan(pair.contrast):
            return 1.0
        # With few differences any test of ours has a p of at least 2^-n.
        floor = 2.0 ** -len(pair.differences)
        shifted = self.test.greater(pair.differences + pair.shift) if pair.shift else 0.0
        return max(self.test.greater(pair.differences), shifted, floor)

    def lower(self, first: str, second: str, tail: float) -> float:
        key = (first, second, tail)
        if key not in self._lower:
            complete = self.effects.is_complete(first)
            self._lower[key] = self._bound(self.pair(first, second), tail) if complete else -math.inf
        return self._lower[key]

    def _bound(self, pair: Pair, tail: float) -> float:
        if math.isnan(pair.contrast) or 2.0 ** -len(pair.differences) > tail:
            return -math.inf
        return self.test.lower(pair.differences, tail) + min(0.0, pair.shift)

    def may_exceed(self, first: str, second: str, amount: float, tail: float) -> bool:
        pair = self.pair(second, first)
        short = 2.0 ** -len(pair.differences) > tail
        if short or not self.effects.is_complete(second) or math.isnan(pair.contrast):
            return True
        return self.test.greater(pair.differences + min(0.0, pair.shift) + amount) > tail
