"""One word for each objective against the baseline, from intervals that hold at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from lossbench.comparison.bounds import Bounds
from lossbench.comparison.effects import Effects

Word = Literal["better", "worse", "equivalent", "undecided", "identical so far", "baseline"]


@dataclass(frozen=True)
class Statement:
    """One objective against the baseline.

    Parameters
    ----------
    word
        What may be said.
    difference
        Of the two effects, in the metric's unit; NaN where nothing connects them.
    low, high
        Its interval; all intervals of a family hold at once with 1 - alpha. Infinite where there is none.
    p
        Two-sided, Bonferroni over the family: at most alpha exactly where the interval excludes 0.
    n
        Independent differences.
    small
        Whether a better or worse is by less than matters: its interval lies inside the region of equivalence.
    withheld
        Why it is not called equivalent, although the interval lies inside the region; empty else.
    """

    word: Word
    difference: float
    low: float
    high: float
    p: float
    n: int
    small: bool = False
    withheld: str = ""

    def negated(self) -> Statement:
        return replace(self, difference=-self.difference, low=-self.high, high=-self.low)


def compare_with_baseline(
    effects: Effects,
    bounds: Bounds,
    baseline: str,
    *,
    higher_is_better: bool,
    region: float | None,
    doubt: Callable[[str], str] = lambda _: "",
    alpha: float = 0.05,
) -> dict[str, Statement]:
    """Say for every objective whether it is better or worse than the baseline, equivalent to it, or undecided.

    The k - 1 two-sided intervals have level 1 - alpha / (k - 1) each, so that all hold at once with 1 - alpha.
    *better* and *worse*: the interval excludes 0. *equivalent*: it contains 0 and lies inside the region, and nothing
    speaks against it. *identical so far*: all differences are zero, but that is not enough to call them equivalent.
    *undecided*: everything else. With missing cells there is no lower bound, so nobody gets a good word by them.

    Parameters
    ----------
    region
        Half-width of the region of equivalence, in the metric's unit; None or 0 for none.
    doubt
        Why a label may not be called equivalent, empty for no reason: a gross outlier, a metric that one row moves by
        more than the region.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from lossbench.comparison.bounds import PairedBounds
    >>> from lossbench.comparison.effects import estimate_effects
    >>> from lossbench.comparison.sign_flip import SignFlip
    >>> steps = np.arange(9) / 1000
    >>> values = [*steps, *(steps + 0.1 + steps), *(2 * steps - 0.004), *steps, *(steps + (-1) ** np.arange(9))]
    >>> index = pd.MultiIndex.from_product([["base", "a", "b", "c", "d"], range(9)], names=["label", "seed"])
    >>> effects = estimate_effects(pd.Series(values, index=index), ["seed"])
    >>> found = compare_with_baseline(
    ...     effects, PairedBounds(effects, SignFlip()), "base", higher_is_better=True, region=0.02)
    >>> {label: one.word for label, one in found.items()}
    {'a': 'better', 'b': 'equivalent', 'base': 'baseline', 'c': 'equivalent', 'd': 'undecided'}
    """
    tail = alpha / max(len(effects.labels) - 1, 1) / 2
    statements = {}
    for label in effects.labels:
        if label == baseline:
            n = int(effects.there[:, effects.position[label]].sum())
            statements[label] = Statement("baseline", 0.0, 0.0, 0.0, math.nan, n)
            continue
        one = _state(bounds, label, baseline, region or 0.0, doubt(label) or doubt(baseline), tail, alpha)
        statements[label] = one if higher_is_better else one.negated()
    return statements


def _state(
    bounds: Bounds, label: str, baseline: str, region: float, doubt: str, tail: float, alpha: float
) -> Statement:
    """Make a statement about the gain over the baseline."""
    up, down = bounds.p(label, baseline), bounds.p(baseline, label)
    low, high = bounds.lower(label, baseline, tail), -bounds.lower(baseline, label, tail)
    # An end is found to a small error; which side of 0 it lies on is the test's to say.
    low = max(low, math.nextafter(0, 1)) if up <= tail else min(low, 0.0)
    high = min(high, math.nextafter(0, -1)) if down <= tail else max(high, 0.0)
    inside = region > 0 and -region <= low and high <= region
    same = bounds.all_equal(label, baseline)
    word: Word = "undecided"
    if low > 0 or high < 0:
        word = "better" if low > 0 else "worse"
    elif inside and not doubt:
        word = "equivalent"
    elif same:
        word = "identical so far"
    return Statement(
        word,
        bounds.gain(label, baseline),
        low,
        high,
        min(1.0, min(up, down) / tail * alpha),
        bounds.n(label, baseline),
        small=inside and word in ("better", "worse"),
        withheld=doubt if inside and word in ("undecided", "identical so far") else "",
    )
