"""Ranks over several datasets, and which objectives they cannot tell apart."""

from __future__ import annotations

from lossbench.comparison.cliques import ranks
from lossbench.comparison.report.evidence import Evidence
from lossbench.comparison.report.figures import style
from lossbench.comparison.report.figures.picture import ROWS, Picture, chosen, number, of_all


def critical_difference(evidence: Evidence) -> Picture | None:
    """Draw mean ranks over datasets with bars over those that the sign-flip test, Holm over all pairs, cannot separate.

    One value per family of datasets. Without bars where there are too few for any pair to be separated; nothing for one
    family or fewer than three objectives that have values on all of them.
    """
    found = ranks(evidence.jobs, evidence.column, list(evidence.ranked["objective"]), evidence.better == "higher")
    if found is None:
        return None
    drawn = set(chosen(evidence.table, ROWS, evidence.baseline))
    order = [name for name in found.order if name in drawn]
    mean = found.mean
    figure = style.figure(5.4, 1.1 + 0.32 * len(order))
    axes = figure.subplots()
    for place, name in enumerate(order):
        axes.plot(found.ranks[name], [place] * len(found.ranks), "|", color=style.MUTED, markersize=8, alpha=0.6)
        axes.plot(mean[name], place, "o", color=style.BLUE, markersize=6)
    width = len(found.order)
    for number_, (first, last) in enumerate(found.groups):
        inside = [place for place, name in enumerate(order) if first <= found.order.index(name) <= last]
        if len(inside) > 1:
            x = width + 0.35 + 0.12 * number_ * width / 6
            ends = [inside[0] - 0.25, inside[-1] + 0.25]
            axes.plot([x, x], ends, color=style.ORANGE, linewidth=3.5, solid_capstyle="round")
    units = f"{len(found.ranks)} {evidence.leaderboard.units}"
    style.rows(axes, order, f"rank by {style.short(evidence.metric)} on each of {units} (1 is best)")
    style.quiet(axes)
    return Picture(
        "critical_difference",
        "Ranks over datasets",
        f"{order[0]} has the best mean rank, {number(mean[order[0]])} of {width}, {order[-1]} the last, "
        f"{number(mean[order[-1]])}. {found.sentence()}" + of_all(evidence.table, order, evidence.baseline),
        f"Ticks are {evidence.leaderboard.units}, a dot the mean rank. A bar at the right joins objectives that "
        "the sign-flip test of their differences, Holm over all pairs, cannot separate.",
        figure,
    )
