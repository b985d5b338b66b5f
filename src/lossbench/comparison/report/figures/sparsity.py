"""What penalties did to the weights."""

from __future__ import annotations

from lossbench.comparison.pairs import LABEL
from lossbench.comparison.report.evidence import Evidence
from lossbench.comparison.report.figures import style
from lossbench.comparison.report.figures.picture import ROWS, Picture, choose, number, say_which

KEY = "weights/near_zero"
LEAST = 0.01


def draw(evidence: Evidence) -> Picture | None:
    """Draw the share of weights near zero, every run of every objective; nothing unless regularizers vary it."""
    varies = [
        column for column in evidence.jobs.columns
        if column == "params.regularizer" or column.startswith("params.regularizer.")
    ]  # fmt: skip
    if f"metrics.{KEY}" not in evidence.jobs or all(evidence.jobs[c].nunique(dropna=False) < 2 for c in varies):
        return None
    names = choose(evidence.table, ROWS, evidence.baseline)
    means = {label: evidence.mean(label, KEY) for label in names}
    means = {label: mean for label, mean in means.items() if mean == mean}
    # Penalties that leave every weight in use have said nothing here.
    if not means or max(means.values()) - min(means.values()) < LEAST:
        return None
    figure = style.figure(5.4, 1.0 + 0.3 * max(len(means), 2))
    axes = figure.subplots()
    for index, (label, mean) in enumerate(means.items()):
        values = evidence.jobs.loc[evidence.jobs[LABEL] == label, f"metrics.{KEY}"].dropna()
        axes.plot(values, [index] * len(values), "|", color=style.MUTED, markersize=8, alpha=0.6)
        axes.plot(mean, index, "o", color=style.BLUE, markersize=6)
        used = evidence.mean(label, "weights/features_used")
        if used == used:
            axes.annotate(f"{used:.3g} inputs", (1.01, index), xycoords=("axes fraction", "data"), va="center",
                          fontsize=8, color=style.MUTED)  # fmt: skip
    style.rows(axes, list(means), "share of weights near zero")
    style.leave_grid(axes)
    top, low = (pick(means, key=lambda label: means[label]) for pick in (max, min))
    return Picture(
        "weight_sparsity",
        "Weights near zero",
        f"{top} has the most weights near zero, {means[top]:.1%}, with mean {evidence.metric} "
        f"{number(evidence.ranked_mean(top))}; {low} the fewest, {means[low]:.1%}, with "
        f"{number(evidence.ranked_mean(low))}." + say_which(evidence.table, list(means), evidence.baseline),
        "Near zero: below a thousandth of the largest weight of the layer. Ticks are runs, in the order of the "
        "leaderboard; at the right, how many inputs the first layer still uses.",
        figure,
    )
