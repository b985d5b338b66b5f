"""Seeds on which an objective collapses: which they are, and how large their share may be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from lossbench.comparison.effects import Effects

# A value is gross beyond this many median absolute deviations, and beyond this many half-widths of the region: the
# first asks whether it is like the others, the second whether it matters much.
_DEVIATIONS = 8.0
_REGIONS = 8.0


@dataclass(frozen=True)
class Collapses:
    """How an objective behaves at its worst.

    Parameters
    ----------
    worst
        Its worst value.
    worst_key
        Where that was.
    count
        Gross outliers on the bad side.
    n
        Values.
    share_at_most
        Upper bound of the share of collapses among all seeds, right with 95%; exact (Clopper and Pearson).
    outliers
        Gross outliers on either side.
    """

    worst: float
    worst_key: tuple[object, ...]
    count: int
    n: int
    share_at_most: float
    outliers: int


def most_common_share(count: int, n: int, alpha: float = 0.05) -> float:
    """Return the largest share of collapses under which count of n or fewer still happen with probability alpha.

    Twenty seeds without one cannot rule out one in seven:

    >>> round(1 / most_common_share(0, 20), 1), round(most_common_share(1, 20), 3), most_common_share(3, 3)
    (7.2, 0.216, 1.0)
    """
    return 1.0 if count >= n else float(beta.isf(alpha, count + 1, n - count))


def find_collapses(
    effects: Effects, label: str, *, higher_is_better: bool, region: float | None, failed: int = 0
) -> Collapses:
    """Find where an objective collapsed.

    A value is gross where it lies further than 8 median absolute deviations and 8 half-widths of the region from the
    objective's median, and so does its difference to the median of the others under the same key: a seed that is hard
    for all is nobody's collapse.

    Parameters
    ----------
    failed
        Runs without a value, which count as collapses.
    """
    at = effects.position[label]
    there = effects.there[:, at]
    values = effects.cells[there, at]
    sign = 1.0 if higher_is_better else -1.0
    gross = _far(values * sign, region or 0.0)
    others = np.delete(effects.cells[there], at, axis=1)
    shared = ~np.isnan(others).all(axis=1)
    if shared.any():
        gaps = (values[shared] - np.nanmedian(others[shared], axis=1)) * sign
        gross[shared] *= gross[shared] == _far(gaps, region or 0.0)
    count = int((gross < 0).sum()) + failed
    worst = int(np.argmin(values * sign))
    n = len(values) + failed
    key = [key for key, has in zip(effects.keys, there, strict=True) if has][worst]
    return Collapses(float(values[worst]), key, count, n, most_common_share(count, n), int((gross != 0).sum()))


def _far(values: np.ndarray, region: float) -> np.ndarray:
    """Return -1 for values that are grossly low, 1 for grossly high ones, 0 else."""
    gaps = values - np.median(values)
    limit = max(_DEVIATIONS * float(np.median(np.abs(gaps))), _REGIONS * region)
    return np.where(np.abs(gaps) > limit, np.sign(gaps), 0.0)
