"""The sign-flip test of independent paired differences, exact, and the interval that it draws."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri

from lossbench.comparison.subset_counts import share_up_to

_EXACT = 20  # 2^10 sums per half
_LISTED = 14  # 2^14 subsets are quickly listed
_END = 1e-4  # the precision of an interval's ends beyond that, of the range of the differences
# Sums that differ by less than rounding are ties: relative to the sum of magnitudes.
_TIE = 1e-12


class SignFlip:
    """The sign-flip (paired permutation) test: if nothing differs, each difference is as likely to have the other sign.

        p(mean > 0) = #{signs s : sum s_i d_i >= sum d_i} / 2^n
                    = #{subsets A : sum over A of d_i <= 0} / 2^n    (A: the flipped ones; the empty set counts)

    Exact to 20 differences: the sorted subset sums of two halves are counted against each other, 2^(n/2)
    log steps instead of 2^n. Above, p is bounded from above, within a few per cent however small it is
    (`subset_counts.share_up_to`). The two-sided p is twice the smaller one-sided, at most 1, and never below 2^(1-n).

    References
    ----------
    Fisher 1935, The Design of Experiments, section 21; `scipy.stats.permutation_test` with
    ``permutation_type="samples"`` gives the same p.

    Examples
    --------
    >>> import numpy as np
    >>> test = SignFlip()
    >>> test.greater(np.array([1.0, 2.0, 4.0])), test.two_sided(np.array([1.0, 2.0, 4.0]))
    (0.125, 0.25)
    """

    name: ClassVar[str] = "sign-flip test"
    approximate: ClassVar[bool] = False
    ratio: ClassVar[float] = 0.0

    def greater(self, differences: np.ndarray) -> float:
        """Return the one-sided p for a mean above 0, (n,) finite differences; 1 for none."""
        n = len(differences)
        if n == 0:
            return 1.0
        tie = _TIE * float(np.abs(differences).sum())
        if n > _EXACT:
            # A subset's sum is that of magnitudes, if what it says of the negative ones is turned round.
            below = float(-differences[differences < 0].sum())
            return share_up_to(np.abs(differences), below + tie)
        # Both sorted: searching for sorted values in turn is twice as fast as for scattered ones.
        left, right = (_sorted_subset_sums(half) for half in (differences[: n // 2], differences[n // 2 :]))
        return int(np.searchsorted(right, tie - left, side="right").sum()) / 2**n

    def two_sided(self, differences: np.ndarray) -> float:
        """Return the p for a mean other than 0."""
        # The null distribution is symmetric: the smaller one-sided p is on the mean's own side.
        return min(1.0, 2 * self.greater(differences if differences.sum() > 0 else -differences))

    def interval(self, differences: np.ndarray, level: float = 0.95) -> tuple[float, float]:
        """Return the shifts that the two-sided test does not reject: an interval for the mean.

        Its ends are means of some subset of the differences (Hartigan 1969). Infinite where n is too small for the
        level.
        """
        tail = (1 - level) / 2
        return self.lower(differences, tail), -self.lower(-differences, tail)

    def lower(self, differences: np.ndarray, tail: float) -> float:
        """Return the least shift that the one-sided test does not reject: a lower bound of the mean, right 1 - tail.

        Minus infinity where n is too small for it.
        """
        n = len(differences)
        if 2.0**-n > tail:
            return -math.inf
        return _least_mean(differences, tail) if n <= _LISTED else self._lower(differences, tail)

    def _lower(self, differences: np.ndarray, tail: float) -> float:
        """Find that shift between the smallest difference and their mean, whose p is a half or more.

        As normal quantiles the p of shifts are nearly a line, so that the root is found in a third of a bisection's
        steps.
        """
        least = float(differences.min())
        # Differences that are one but for rounding have a mean that may round to the least of them, or below.
        if float(np.ptp(differences)) <= _TIE * float(np.abs(differences).sum()):
            return least
        if self.greater(differences - least) > tail:
            return least

        def beyond(shift: float) -> float:
            return float(ndtri(self.greater(differences - shift)) - ndtri(tail))

        return float(brentq(beyond, least, float(differences.mean()), xtol=_END * float(np.ptp(differences))))


def _least_mean(differences: np.ndarray, tail: float) -> float:
    """Return the smallest mean of a subset at which more than `tail` of all subsets are no larger (Hartigan 1969).

    A subset of k differences shifted by m sums to its own sum - k m, so one list of means does for every m.
    """
    sums, sizes = np.zeros(1), np.zeros(1)
    for value in differences:
        sums, sizes = np.concatenate([sums, sums + value]), np.concatenate([sizes, sizes + 1])
    means = sums[1:] / sizes[1:]
    # The empty subset is no larger than any m.
    rejected = math.floor(tail * (len(means) + 1)) - 1
    return float(np.partition(means, rejected)[rejected])


def _sorted_subset_sums(values: np.ndarray) -> np.ndarray:
    """Return them in ascending order: each value doubles two sorted runs, which a stable sort merges.

    Half the time of sorting all at the end, where numpy's own way with vector instructions is slow (AMD's Zen 4).
    """
    sums = np.zeros(1)
    for value in values:
        sums = np.sort(np.concatenate([sums, sums + value]), kind="stable")
    return sums
