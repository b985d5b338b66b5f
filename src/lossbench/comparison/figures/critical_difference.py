"""Ranks over several datasets, and which objectives they cannot tell apart."""

from __future__ import annotations

import itertools

import pandas as pd

from lossbench.comparison.evidence import Evidence
from lossbench.comparison.figures import style
from lossbench.comparison.figures.picture import ROWS, Picture, chosen, number, of_all
from lossbench.comparison.pairs import LABEL
from lossbench.comparison.population import DATA
from lossbench.comparison.sign_flip import Wilcoxon
from lossbench.comparison.statistics import ALPHA, all_pairs, holm, seeds_needed

# So many groups are named in the caption.
GROUPS = 3


def critical_difference(evidence: Evidence) -> Picture | None:
    """Draw mean ranks over datasets with bars over those that Wilcoxon's test, Holm over all pairs, cannot separate.

    One value per dataset. Without bars where there are too few datasets for any pair to be separated; nothing for fewer
    than two datasets or three objectives that have values on all of them.
    """
    if len(evidence.data) < 2:
        return None
    values = evidence.jobs.groupby([DATA, LABEL])[evidence.column].mean().unstack().dropna(axis="columns")
    values = values.reindex(columns=[name for name in evidence.ranked["objective"] if name in values])
    if values.shape[1] < 3:
        return None
    names = [name for name in chosen(evidence.table, ROWS) if name in values]
    ranks = values.rank(axis="columns", ascending=evidence.better == "lower")
    mean_ranks = ranks.mean().sort_values(kind="stable")
    order = [str(name) for name in mean_ranks.index if name in names]
    groups = cliques(values[order]) if len(values) >= seeds_needed(len(all_pairs(order))) else []
    figure = style.figure(5.4, 1.1 + 0.32 * len(order))
    axes = figure.subplots()
    for place, name in enumerate(order):
        axes.plot(ranks[name], [place] * len(ranks), "|", color=style.MUTED, markersize=8, alpha=0.6)
        axes.plot(mean_ranks[name], place, "o", color=style.BLUE, markersize=6)
    right = values.shape[1] + 0.35
    for number_, (first, last) in enumerate(groups):
        x = right + 0.12 * number_ * values.shape[1] / 6
        axes.plot([x, x], [first - 0.25, last + 0.25], color=style.ORANGE, linewidth=3.5, solid_capstyle="round")
    style.rows(axes, order)
    style.quiet(axes)
    axes.set_xlabel(f"rank by {style.plain(evidence.metric)} on each of {len(values)} datasets (1 is best)")
    least = seeds_needed(len(all_pairs(order)))
    if groups:
        named = "; ".join(", ".join(order[first : last + 1]) for first, last in groups[:GROUPS])
        more = f"; and {len(groups) - GROUPS} more groups" if len(groups) > GROUPS else ""
        said = f"Not separable: {named}{more}."
    elif len(values) < least:
        said = f"{len(values)} datasets decide nothing: it takes at least {least} for {len(order)} objectives."
    else:
        said = "Every pair of objectives is separated."
    return Picture(
        "critical_difference",
        "Ranks over datasets",
        f"{order[0]} has the best mean rank, {number(mean_ranks[order[0]])} of {values.shape[1]}, {order[-1]} the "
        f"last, {number(mean_ranks[order[-1]])}. {said}" + of_all(evidence.table, order),
        "Ticks are datasets, a dot the mean rank. A bar at the right joins objectives that Wilcoxon's signed-rank "
        "test, one value per dataset and Holm over all pairs, cannot separate.",
        figure,
    )


def cliques(values: pd.DataFrame) -> list[tuple[int, int]]:
    """Return (first, last) of the longest runs of neighbouring columns of which no pair is separated.

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
    gaps = [columns[a] - columns[b] for a, b in pairs]
    corrected = holm([Wilcoxon().two_sided(gap) for gap in gaps])
    apart = {pair for pair, p in zip(pairs, corrected, strict=True) if p <= ALPHA}
    found: list[tuple[int, int]] = []
    for first in range(len(columns)):
        last = first
        while last + 1 < len(columns) and not any((one, last + 1) in apart for one in range(first, last + 1)):
            last += 1
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found
