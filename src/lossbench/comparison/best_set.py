"""Which objectives may be the best, and what choosing one costs at most: multiple comparisons with the best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lossbench.comparison.bounds import Bounds
from lossbench.comparison.effects import Effects


@dataclass(frozen=True)
class BestSet:
    """Where the best is, with one error probability for everything that stands here.

    Parameters
    ----------
    recommended
        The best of those without a missing cell, which is always in the set; None where every objective misses some.
    members
        Objectives that no other was shown to be better than, best first.
    excluded_by
        For each of the others one that was shown to be better.
    regret
        For each objective how much choosing it costs at most, in the metric's unit, >= 0. Infinite where too few
        differences bound it, and for an objective with missing cells: what it would have had there bounds nothing.
    """

    recommended: str | None
    members: tuple[str, ...]
    excluded_by: dict[str, str]
    regret: dict[str, float]


def find_best(effects: Effects, bounds: Bounds, *, higher_is_better: bool, alpha: float = 0.05) -> BestSet:
    """Find the set that holds the best objective, and bound the regret of every choice, all at once with 1 - alpha / 2.

    Let g(j, i) be how much better j is than i, and L(j, i) <= g(j, i) <= U(j, i) = -L(i, j) one-sided bounds, each
    right with 1 - alpha / 2 / (k - 1). Objective i is left out where some j has L(j, i) > 0, and its regret is at most
    max over j of U(j, i), or 0 where that is negative.

    Let b be the best. Only the k - 1 comparisons of b with each other j matter: with probability 1 - alpha / 2 all of
    U(b, j) >= g(b, j) hold at once (Bonferroni, so for any dependence). Then b is not left out, since L(j, b) > 0
    would mean U(b, j) < 0 <= g(b, j); and the regret of any i, which is g(b, i), is at most U(b, i) <= its bound, that
    of b itself being 0. No correction for all k (k - 1) / 2 pairs is needed, nor for b being unknown.

    One-sided bounds at alpha / (k - 1) would do for 1 - alpha. Half of that is what the words against the baseline have
    on each side (`words.compare_with_baseline`): so the baseline leaves out exactly what is called worse than it, and
    is left out by whatever is called better, and nobody reads "undecided" beside "not the best".

    A missing cell can help nobody (`bounds.Bounds`): an objective that has one leaves nobody out, is not recommended,
    and its regret has no bound.

    References
    ----------
    Hsu 1984, https://doi.org/10.1214/aos/1176346735 (constrained intervals for the difference to the best); here with
    each population's own test and with Bonferroni in place of Dunnett's normal theory.

    Examples
    --------
    >>> import pandas as pd
    >>> from lossbench.comparison.bounds import PairedBounds
    >>> from lossbench.comparison.effects import estimate_effects
    >>> from lossbench.comparison.sign_flip import SignFlip
    >>> near, far = [0.9, 0.8, 0.85, 0.95, 0.7, 0.75, 0.8], [0.91, 0.79, 0.86, 0.94, 0.71, 0.74, 0.81]
    >>> index = pd.MultiIndex.from_product([["a", "b", "c"], range(7)], names=["label", "seed"])
    >>> effects = estimate_effects(pd.Series([*near, *far, *(x - 0.5 for x in near)], index=index), ["seed"])
    >>> best = find_best(effects, PairedBounds(effects, SignFlip()), higher_is_better=True)
    >>> best.members, best.excluded_by, {name: round(most, 4) for name, most in best.regret.items()}
    (('b', 'a'), {'c': 'b'}, {'b': 0.01, 'a': 0.01, 'c': 0.51})
    """
    labels = [label for _, label in effects.ranking(higher_is_better)]
    tail = alpha / max(len(labels) - 1, 1) / 2
    excluded: dict[str, str] = {}
    for label in labels:
        # Who stands behind was shown to be better by no test of ours.
        ahead = (other for other in labels if other != label and bounds.gain(other, label) > 0)
        better = next((other for other in ahead if bounds.p(other, label) <= tail), None)
        if better is not None:
            excluded[label] = better
    members = tuple(label for label in labels if label not in excluded)
    regret = {label: _regret(label, labels, bounds, tail) for label in labels}
    recommended = next((label for label in labels if effects.is_complete(label)), None)
    return BestSet(recommended, members, excluded, regret)


def _regret(label: str, labels: Sequence[str], bounds: Bounds, tail: float) -> float:
    most = 0.0
    # The best first: it mostly has the largest bound, and spares the others their search.
    for other in labels:
        if other != label and most < math.inf and bounds.may_exceed(other, label, most, tail):
            most = max(most, -bounds.lower(label, other, tail))
    return most
