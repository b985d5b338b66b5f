"""Ranks over several datasets, and which objectives they cannot tell apart."""

from __future__ import annotations

from lossbench.comparison.cliques import ranks
from lossbench.comparison.report.evidence import Evidence
from lossbench.comparison.report.figures import style
from lossbench.comparison.report.figures.picture import ROWS, Picture, choose, number, say_which


def draw(evidence: Evidence) -> Picture | None:
    """Draw mean ranks over datasets with bars over those that the sign-flip test, Holm over all pairs, cannot separate.

    One value per family of datasets. Without bars where there are too few for any pair to be separated; nothing for one
    family or fewer than three objectives that have values on all of them.
    """
    cliques = ranks(evidence.jobs, evidence.column, list(evidence.ranked["objective"]), evidence.better == "higher")
    if cliques is None:
        return None
    drawn = set(choose(evidence.table, ROWS, evidence.baseline))
    order = [name for name in cliques.order if name in drawn]
    mean = cliques.mean
    figure = style.figure(5.4, 1.1 + 0.32 * len(order))
    axes = figure.subplots()
    for index, name in enumerate(order):
        axes.plot(cliques.ranks[name], [index] * len(cliques.ranks), "|", color=style.MUTED, markersize=8, alpha=0.6)
        axes.plot(mean[name], index, "o", color=style.BLUE, markersize=6)
    width = len(cliques.order)
    for number_, (first, last) in enumerate(cliques.groups):
        inside = [index for index, name in enumerate(order) if first <= cliques.order.index(name) <= last]
        if len(inside) > 1:
            x = width + 0.35 + 0.12 * number_ * width / 6
            ends = [inside[0] - 0.25, inside[-1] + 0.25]
            axes.plot([x, x], ends, color=style.ORANGE, linewidth=3.5, solid_capstyle="round")
    units = f"{len(cliques.ranks)} {evidence.leaderboard.units}"
    style.rows(axes, order, f"rank by {style.short(evidence.metric)} on each of {units} (1 is best)")
    style.leave_grid(axes)
    return Picture(
        "critical_difference",
        "Ranks over datasets",
        f"{order[0]} has the best mean rank, {number(mean[order[0]])} of {width}, {order[-1]} the last, "
        f"{number(mean[order[-1]])}. {cliques.sentence()}" + say_which(evidence.table, order, evidence.baseline),
        f"Ticks are {evidence.leaderboard.units}, a dot the mean rank. A bar at the right joins objectives that "
        "the sign-flip test of their differences, Holm over all pairs, cannot separate.",
        figure,
    )
