"""Ranks over several datasets, and which objectives they cannot tell apart."""

from __future__ import annotations

import itertools
import math
import string
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from lossbench.comparison.datasets import FAMILY
from lossbench.comparison.pairs import LABEL
from lossbench.comparison.planning import least_seeds
from lossbench.comparison.sign_flip import SignFlip
from lossbench.comparison.verdicts import ALPHA, holm


@dataclass(frozen=True)
class Cliques:
    """Objectives ranked on each family of datasets.

    Parameters
    ----------
    ranks
        (families, objectives), the objectives by mean rank; 1 is best and ties share their mean.
    groups
        Maximal runs (first, last) of at least two objectives, by place, none of which is separated from another.
    needed
        How many families it takes before any pair can be separated: with fewer there are no groups.
    """

    ranks: pd.DataFrame
    groups: Sequence[tuple[int, int]]
    needed: int

    @property
    def order(self) -> list[str]:
        return [str(name) for name in self.ranks.columns]

    @property
    def mean(self) -> pd.Series:
        return self.ranks.mean()

    @property
    def decided(self) -> bool:
        return len(self.ranks) >= self.needed

    def letters(self) -> dict[str, str]:
        """Return letters by objective: those that share one are not separable; nothing where too few decide."""
        if not self.decided:
            return dict.fromkeys(self.order, "")
        covered = {index for first, last in self.groups for index in range(first, last + 1)}
        alone = [(index, index) for index in range(len(self.order)) if index not in covered]
        groups = sorted([*self.groups, *alone])
        return {
            name: "".join(_letter(n) for n, (first, last) in enumerate(groups) if first <= index <= last)
            for index, name in enumerate(self.order)
        }

    def sentence(self, most: int = 3) -> str:
        """Return which objectives cannot be told apart."""
        count = f"{len(self.order)} objectives"
        if not self.decided:
            return (
                f"{len(self.ranks)} independent datasets decide nothing: it takes at least {self.needed} for {count}."
            )
        if not self.groups:
            return "All objectives are separated from each other."
        named = "; ".join(", ".join(self.order[first : last + 1]) for first, last in self.groups[:most])
        more = f"; and {len(self.groups) - most} more groups" if len(self.groups) > most else ""
        return f"Not separable: {named}{more}."


def _letter(number: int) -> str:
    return string.ascii_letters[number] if number < len(string.ascii_letters) else f"({number + 1})"


def ranks(jobs: pd.DataFrame, column: str, objectives: Sequence[str], higher_is_better: bool) -> Cliques | None:
    """Rank objectives on each family of datasets, by the mean of a metric over its runs.

    None for one family, or for fewer than three objectives that have values on all of them.

    Parameters
    ----------
    jobs
        Finished, as from `pairs.labelled`.
    """
    if FAMILY not in jobs or jobs[FAMILY].nunique() < 2:
        return None
    values = jobs.groupby([FAMILY, LABEL])[column].mean().unstack().dropna(axis="columns")
    values = values.reindex(columns=[name for name in objectives if name in values])
    if values.shape[1] < 3:
        return None
    by_rank = values.rank(axis="columns", ascending=not higher_is_better)
    order = by_rank.mean().sort_values(kind="stable").index
    needed = least_seeds(ALPHA / math.comb(len(order), 2))
    groups = cliques(values[order]) if len(values) >= needed else []
    return Cliques(by_rank[order], groups, needed)


def cliques(values: pd.DataFrame) -> list[tuple[int, int]]:
    """Return the maximal runs of objectives, as (first, last) places, in which no pair is separated.

    By the sign-flip test of each pair's differences over datasets, which also judges them against the baseline, Holm
    over all pairs (Benavoli et al. 2016 compare pairs by their own values as well, in place of Nemenyi's test:
    https://jmlr.org/papers/v17/benavoli16a.html).

    Parameters
    ----------
    values
        (datasets, objectives), the objectives by mean rank.

    Examples
    --------
    >>> import numpy as np
    >>> steps = np.arange(12.0)
    >>> cliques(pd.DataFrame({"a": steps, "b": steps + 0.1 * (-1) ** steps, "c": steps + 9 + steps / 9}))
    [(0, 1)]
    """
    columns = values.to_numpy(dtype=float).T
    pairs = list(itertools.combinations(range(len(columns)), 2))
    corrected = holm([SignFlip().two_sided(columns[a] - columns[b]) for a, b in pairs])
    apart = {pair for pair, p in zip(pairs, corrected, strict=True) if p <= ALPHA}
    runs: list[tuple[int, int]] = []
    for first in range(len(columns)):
        last = first
        while last + 1 < len(columns) and not any((one, last + 1) in apart for one in range(first, last + 1)):
            last += 1
        if last > first and (not runs or last > runs[-1][1]):
            runs.append((first, last))
    return runs
