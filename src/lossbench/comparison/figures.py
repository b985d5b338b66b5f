"""Pictures of a comparison, each saying one thing."""

from __future__ import annotations

import io

import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from lossbench.comparison.pairs import LABEL, labelled, metric_column

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#8c8c8c"
FLOOR_SHARE = 3.0


def png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def ranking(runs: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """Draw every run of every objective, best objective first, with the mean and its 95% interval.

    The interval is Student's, mean +- t sd / sqrt(n): it says how well the mean is known, not whether two objectives
    differ, which their paired differences decide. References are lines; one far from all objectives (the class prior)
    is left to the table.

    Parameters
    ----------
    runs
        As from ``tracking.read.runs``.
    table
        The leaderboard of those runs, by objective.
    """
    metric = table.attrs["metric"]
    column = metric_column(runs, metric)
    frame = labelled(runs[(runs["role"] == "run") & (runs["status"] == "FINISHED")])
    ranked = table[table["rank"].notna()]
    figure = Figure(figsize=(8.0, 1.1 + 0.38 * max(len(ranked), 2)), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(ranked.to_dict("records")):
        values = frame.loc[frame[LABEL] == row["objective"], column].dropna()
        axes.plot(values, [place] * len(values), "|", color=GREY, markersize=9, alpha=0.7)
        if row["n"] > 1:
            half = float(stats.t.ppf(0.975, row["n"] - 1)) * row["sd"] / row["n"] ** 0.5
            axes.errorbar(row["mean"], place, xerr=half, fmt="o", color=BLUE, capsize=4, markersize=6, linewidth=2)
        else:
            axes.plot(row["mean"], place, "o", color=BLUE)
    low, high = axes.get_xlim()
    for row in table[table["role"] == "reference"].to_dict("records"):
        if low - FLOOR_SHARE * (high - low) <= row["mean"] <= high + FLOOR_SHARE * (high - low):
            axes.axvline(row["mean"], color=ORANGE, linestyle="--", linewidth=1.5)
            axes.annotate(
                f"{row['objective']} {row['mean']:.4f}",
                (row["mean"], 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(-4, 4),
                textcoords="offset points",
                ha="right",
                color=ORANGE,
            )
    axes.set_yticks(range(len(ranked)), [_plain(name) for name in ranked["objective"]])
    axes.invert_yaxis()
    better = "higher" if table.attrs["direction"] == "max" else "lower"
    n = int(ranked["n"].max()) if len(ranked) else 0
    axes.set_xlabel(f"{metric} ({better} is better): runs, mean and its 95% interval, n = {n}")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    axes.grid(axis="x", color="0.92")
    axes.set_axisbelow(True)
    return figure


def _plain(name: object) -> str:
    """Keep matplotlib from reading a name between dollar signs as a formula."""
    return str(name).replace("$", r"\$")
