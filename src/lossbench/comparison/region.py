"""How large a difference matters: a share of what can be gained on the problem."""

from __future__ import annotations

import math
from dataclasses import dataclass

# One hundredth of the way from guessing to the best that is possible. It is what the fixed half-widths of before were
# on the problems that they were made for: .005 AUROC where .5 can be gained, .005 accuracy on balanced classes.
SHARE = 0.01
# Where the Bayes rule is known, to reach it matters, so the region is at most half of what the baseline leaves to it.
# But a hundredth of that hundredth is nobody's concern: the region never falls below a tenth of its usual width.
_OF_THE_REST = 0.5
_LEAST = 0.1


@dataclass(frozen=True)
class Region:
    """The region of equivalence of a metric.

    Parameters
    ----------
    half
        Its half-width in the metric's unit; None or 0 for none.
    reason
        Where the half-width comes from, as the end of a sentence.
    """

    half: float | None
    reason: str = ""

    def sentence(self, metric: str) -> str:
        """Say what counts as equal.

        >>> Region(0.00092, "1% of what can be gained over the class prior").sentence("AUROC")
        'differences below 0.00092 AUROC, 1% of what can be gained over the class prior, count as equal'
        """
        if not self.half:
            return (
                f"no difference in {metric} is small enough to count as equal: this metric has no region of equivalence"
            )
        why = f", {self.reason}," if self.reason else ""
        return f"differences below {self.half:.2g} {metric}{why} count as equal"


def find_region(
    *,
    given: float | None,
    usual: float | None,
    prior: float,
    top: float,
    bayes: float,
    baseline: float,
    higher_is_better: bool,
) -> Region:
    """Return the region of equivalence: given, or a share of what can be gained, or the metric's usual half-width.

    Parameters
    ----------
    given
        By a person; 0 for none.
    usual
        The metric's half-width where nothing is known of the problem; None for a metric without a region.
    prior, top, bayes
        The metric's value of the class prior, of the best objective and of the Bayes rule; NaN for unknown.
    baseline
        Of the baseline; NaN for unknown.

    Examples
    --------
    >>> what = dict(given=None, usual=.005, prior=.5, top=.98, higher_is_better=True)
    >>> round(find_region(**what, bayes=math.nan, baseline=.97).half, 6)
    0.0048
    >>> near = find_region(**what, bayes=.983, baseline=.981)
    >>> round(near.half, 6), near.reason
    (0.001, 'half of what the baseline leaves to the Bayes rule')
    """
    if given is not None:
        return Region(given, "as asked for")
    if usual is None:
        return Region(None)
    sign = 1 if higher_is_better else -1
    best = top if math.isnan(bayes) else bayes
    gain = sign * (best - prior)
    # Nothing beats the class prior: then nothing is known of what can be gained.
    if math.isnan(gain) or gain <= 0:
        return Region(usual, "this metric's usual half-width")
    half = SHARE * gain
    rest = sign * (bayes - baseline)
    if not math.isnan(rest) and _OF_THE_REST * rest < half:
        least = _LEAST * half
        if _OF_THE_REST * rest > least:
            return Region(_OF_THE_REST * rest, "half of what the baseline leaves to the Bayes rule")
        return Region(least, f"{SHARE * _LEAST:.1%} of what can be gained over the class prior")
    return Region(half, f"{SHARE:.0%} of what can be gained over the class prior")


def one_row_moves(rows: float) -> float:
    """Return how much of a metric hangs on one judged row, at least: 1 / rows for a share or mean of rows.

    A region that is narrower cannot be seen on such a split: differences may all be zero because no row changed sides.
    """
    return 1 / rows if rows > 0 else math.inf
