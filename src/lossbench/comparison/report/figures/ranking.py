"""Which objective is best: every run, its mean and the interval of that mean."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes

from lossbench.comparison.pairs import LABEL
from lossbench.comparison.report.evidence import Evidence
from lossbench.comparison.report.figures import style
from lossbench.comparison.report.figures.picture import ROWS, Picture, choose, number, say_which

# A reference further from the objectives than so many times their range is left to the table.
NEAR = 1.0


def draw(evidence: Evidence) -> Picture | None:
    """Draw every run of every objective, best first, with the mean and its 95% interval; references are lines.

    The interval (`judging.Judged`) says how well the mean is known, not whether two objectives differ, which their
    paired differences decide.
    """
    names = choose(evidence.table, ROWS, evidence.baseline)
    if not names:
        return None
    ranked = evidence.ranked.loc[names]
    figure = style.figure(5.4, 1.0 + 0.3 * max(len(names), 2))
    axes = figure.subplots()
    # Runs on several datasets are no sample of anything: their mean has no interval.
    several = len(evidence.data) > 1
    for index, row in enumerate(ranked.to_dict("records")):
        values = evidence.jobs.loc[evidence.jobs[LABEL] == row["objective"], evidence.column].dropna()
        axes.plot(values, [index] * len(values), "|", color=style.MUTED, markersize=8, alpha=0.6)
        if row["half"] == row["half"]:
            axes.errorbar(row["mean"], index, xerr=row["half"], fmt="o", color=style.BLUE, capsize=3, markersize=5)
        else:
            axes.plot(row["mean"], index, "o", color=style.BLUE, markersize=5)
    references = _references(axes, evidence)
    style.rows(axes, names, f"{style.short(evidence.metric)} ({evidence.better} is better)")
    style.leave_grid(axes)
    # Differences in the third decimal need long labels, of which few fit.
    axes.locator_params(axis="x", nbins=5)
    best, *_, last = [*ranked.to_dict("records"), *ranked.tail(1).to_dict("records")]
    message = f"{best['objective']} has the best mean {evidence.metric}, {number(best['mean'])}{_interval(best)}"
    if len(names) > 1:
        message += f"; {last['objective']} the last, {number(last['mean'])}{_interval(last)}"
    others = set(names) - {best["objective"], last["objective"]}
    if evidence.baseline is not None and evidence.baseline in others:
        message += f"; the baseline {evidence.baseline} {number(evidence.ranked_mean(evidence.baseline))}"
    message += "." + "".join(f" The {name} reaches {number(value)}." for name, value in references)
    return Picture(
        "ranking",
        f"Objectives by {evidence.metric}",
        message + say_which(evidence.table, names, evidence.baseline),
        "Ticks are runs, a dot the mean over datasets. Whether two objectives differ is decided by their differences "
        "on each dataset."
        if several
        else "Ticks are runs, a dot their mean, a bar its 95% interval. Whether two objectives differ is decided by "
        "their paired differences, not by whether two bars overlap.",
        figure,
    )


def _interval(row: dict[Any, Any]) -> str:
    mean, half = row["mean"], row["half"]
    return f" (95% interval {number(mean - half)} to {number(mean + half)})" if half == half else ""


def _references(axes: Axes, evidence: Evidence) -> list[tuple[str, float]]:
    low, high = axes.get_xlim()
    references = []
    table = evidence.table
    for row in table[(table["role"] == "reference") & table["mean"].notna()].to_dict("records"):
        if low - NEAR * (high - low) <= row["mean"] <= high + NEAR * (high - low):
            references.append((str(row["objective"]), float(row["mean"])))
            axes.axvline(row["mean"], color=style.ORANGE, linestyle="--", linewidth=1.4)
            axes.annotate(
                f"{style.plain(row['objective'])} {number(row['mean'])}",
                (row["mean"], 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(3, 3),
                textcoords="offset points",
                ha="right",
                color=style.ORANGE,
                fontsize=9,
            )
    return references
