"""Verdicts: what a set of paired differences allows to say, in four words, with all comparisons corrected for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

ALPHA = 0.05

Verdict = Literal["equivalent", "better", "worse", "not separable"]


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


@dataclass(frozen=True)
class Judgement:
    """One objective against the baseline.

    Parameters
    ----------
    difference
        Mean paired difference.
    n
        Independent differences.
    p, p_equivalent
        Of the two-sided test and of the two one-sided tests against the ROPE (the larger), Holm over all comparisons.
    verdict
        One of four words; None where nothing could be paired.
    """

    difference: float
    n: int
    p: float
    p_equivalent: float
    verdict: Verdict | None


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


def seeds_needed(comparisons: int, alpha: float = ALPHA) -> int:
    """Return the least n with comparisons * 2^(1-n) <= alpha: below it no sign-flip p can survive Holm.

    >>> seeds_needed(1), seeds_needed(11), seeds_needed(91)
    (6, 9, 12)
    """
    return 1 + math.ceil(math.log2(max(comparisons, 1) / alpha))


def equivalence_p(test: PairedTest, differences: np.ndarray, rope: float | None) -> float:
    """Return the p of two one-sided tests: of -rope < mean and of mean < rope, the larger.

    All-zero differences are equivalent without a test; otherwise nothing is without a ROPE.
    """
    if len(differences) and not differences.any():
        return 0.0
    if not rope or not len(differences):
        return 1.0
    return max(test.greater(differences + rope), test.greater(rope - differences))


def judge(
    differences: Mapping[str, np.ndarray],
    test: PairedTest,
    *,
    rope: float | None,
    higher_is_better: bool = True,
    alpha: float = ALPHA,
) -> dict[str, Judgement]:
    """Judge every objective against the baseline, in this order.

    *equivalent* where both one-sided tests against the ROPE reject, Holm over m (all-zero differences are equivalent);
    otherwise *better* or *worse* where the two-sided test rejects, Holm over m, and m 2^(1-n) <= alpha; otherwise *not
    separable*. m is the number of comparisons, those without a pair included.

    Parameters
    ----------
    differences
        For each objective but the baseline its (n,) independent differences to the baseline, finite.
    test
        By the population.
    rope
        Half-width of the region of practical equivalence, in the metric's unit; None for none.

    Examples
    --------
    >>> import numpy as np
    >>> from lossbench.comparison.sign_flip import SignFlip
    >>> steps = np.arange(8) / 1000
    >>> found = judge({"a": 0.1 + steps, "b": steps - 0.0035, "c": 0 * steps, "d": steps[:2]}, SignFlip(), rope=0.02)
    >>> [one.verdict for one in found.values()]
    ['better', 'equivalent', 'equivalent', 'not separable']
    """
    m = len(differences)
    p = holm([test.two_sided(d) for d in differences.values()])
    p_equivalent = holm([equivalence_p(test, d, rope) for d in differences.values()])
    result = {}
    for (name, d), p_two, p_same in zip(differences.items(), p, p_equivalent, strict=True):
        n = len(d)
        mean = float(np.mean(d)) if n else math.nan
        verdict: Verdict | None = "not separable" if n else None
        if n and p_same <= alpha:
            verdict = "equivalent"
        elif n >= seeds_needed(m, alpha) and p_two <= alpha:
            verdict = "better" if (mean > 0) == higher_is_better else "worse"
        result[name] = Judgement(mean, n, p_two if n else math.nan, p_same if n else math.nan, verdict)
    return result


def winners(
    pairs: Mapping[tuple[str, str], np.ndarray], best: str, test: PairedTest, alpha: float = ALPHA
) -> dict[str, float]:
    """Return the objectives that cannot be separated from the best, with Holm's p over all pairs.

    The best is itself selected, so all pairs are corrected for, not only those that it is part of.

    Parameters
    ----------
    pairs
        Independent differences of every pair of objectives, once each.
    best
        The objective with the best mean.

    Returns
    -------
    dict
        The best, with p 1, and every objective whose pair with it has p > alpha or fewer differences than
        `seeds_needed` asks for.

    Examples
    --------
    >>> import numpy as np
    >>> from lossbench.comparison.sign_flip import SignFlip
    >>> steps = np.arange(9) / 100
    >>> pairs = {("a", "b"): steps - 0.04, ("a", "c"): steps + 1, ("b", "c"): steps + 1}
    >>> list(winners(pairs, "a", SignFlip()))
    ['a', 'b']
    """
    least = seeds_needed(len(pairs), alpha)
    corrected = holm([test.two_sided(d) for d in pairs.values()])
    kept = {best: 1.0}
    for (pair, d), p in zip(pairs.items(), corrected, strict=True):
        if best in pair and (len(d) < least or p > alpha):
            kept[pair[0] if pair[1] == best else pair[1]] = p
    return kept


def all_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return every pair once, in order."""
    return list(itertools.combinations(names, 2))
