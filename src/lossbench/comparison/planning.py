"""How many seeds: from the region of equivalence and a spread, never from the difference that was seen."""

from __future__ import annotations

import math

from scipy.stats import t as student

# Beyond this nobody trains them.
_MOST = 100_000


def least_seeds(level: float) -> int:
    """Return the least number of differences whose two-sided sign-flip p can reach a level: 1 - log2(level).

    >>> least_seeds(0.05), least_seeds(0.05 / 11), least_seeds(0.05 / 91)
    (6, 9, 12)
    """
    return max(1, math.ceil(1 - math.log2(level)))


def visible_difference(
    spread: float, n: int, comparisons: int, *, ratio: float = 0.0, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Return the difference that n seeds find with a power of 80%, in the unit of the spread; infinite below the floor.

        (t(1 - alpha / (2 m)) + t(power)) spread sqrt(1/n + ratio),  n - 1 degrees of freedom, m comparisons

    Parameters
    ----------
    spread
        Standard deviation of paired differences, of an earlier sweep or of this one.
    ratio
        Of judged rows to all others, for splits of one table; else 0.

    Examples
    --------
    >>> round(visible_difference(0.01, 10, 11), 4), visible_difference(0.01, 8, 11)
    (0.0147, inf)
    """
    level = alpha / comparisons
    if n < max(2, least_seeds(level)):
        return math.inf
    quantiles = float(student.isf(level / 2, n - 1) + student.ppf(power, n - 1))
    return quantiles * spread * math.sqrt(1 / n + ratio)


def seeds_for(
    difference: float, spread: float, comparisons: int, *, ratio: float = 0.0, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Return how many seeds make a difference visible; infinite where no number of splits of one table does.

    >>> seeds_for(0.005, 0.01, 11), seeds_for(0.005, 0.01, 11, ratio=0.25), seeds_for(0.005, 0.0, 11)
    (58, inf, 9)
    """

    def enough(n: int) -> bool:
        return visible_difference(spread, n, comparisons, ratio=ratio, power=power, alpha=alpha) <= difference

    low = max(2, least_seeds(alpha / comparisons))
    if enough(low):
        return low
    if difference <= 0 or not enough(_MOST):
        return math.inf
    high = low
    while not enough(high):
        low, high = high, min(2 * high, _MOST)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
