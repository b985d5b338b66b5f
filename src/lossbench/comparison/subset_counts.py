"""How many subsets of some magnitudes have a small sum: the tail of a sign-flip test with any number of differences."""

from __future__ import annotations

import numpy as np

# Points of the grid, per n^1.5 for n magnitudes: rounding to it moves a p of 1e-6 by about 1%.
_POINTS_PER = 64
_MOST_POINTS = 2**17


def share_up_to(magnitudes: np.ndarray, limit: float) -> float:
    """Return an upper bound, close from above, of the share of the 2^n subsets whose sum is at most a limit.

    Each magnitude is rounded to a grid, where the sums of all subsets are counted exactly by convolution (all terms
    are positive, so that the smallest tail keeps its precision). A subset's sum moves by at most the sum of what was
    rounded up, and by that the limit is raised; so the share is never too small.

    Parameters
    ----------
    magnitudes
        (n,), >= 0.

    Examples
    --------
    >>> share_up_to(np.array([1.0, 2.0, 4.0]), 3.0)  # {}, {1}, {2}, {1, 2}
    0.5
    >>> share_up_to(np.full(1000, 1.0), 0.0) == 0.5 ** 1000
    True
    """
    n = len(magnitudes)
    total = float(magnitudes.sum())
    if limit >= total:
        return 1.0
    step = total / min(_MOST_POINTS, max(1024, int(_POINTS_PER * n**1.5)))
    grid = np.rint(magnitudes / step)
    rounded_up = float(np.maximum(grid * step - magnitudes, 0).sum())
    last = int(np.floor((limit + rounded_up) / step * (1 + 1e-12)))
    counts = np.zeros(last + 1)
    counts[0] = 1.0
    # Small ones first: the sums that can be reached stay few for longer.
    reached = 0
    for value in np.sort(grid).astype(int).tolist():
        end = min(reached + value, last)
        if value == 0:
            continue
        if value <= last:
            counts[value : end + 1] = counts[value : end + 1] + counts[: end + 1 - value]
        counts *= 0.5
        reached = end
    return min(1.0, float(counts.sum()))
