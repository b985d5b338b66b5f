"""By how much each objective differs from the baseline, seed by seed."""

from __future__ import annotations

import math
from typing import Any

from lossbench.comparison.pairs import LABEL, differences, values
from lossbench.comparison.report.evidence import Evidence
from lossbench.comparison.report.figures import style
from lossbench.comparison.report.figures.picture import ROWS, Picture, choose, number, say_which

COLORS = {"better": style.SERIES[2], "worse": style.ORANGE, "equivalent": style.BLUE, "undecided": style.MUTED}


def draw(evidence: Evidence) -> Picture | None:
    """Draw the paired differences to the baseline, their effects and the intervals that decide.

    Nothing where there is no baseline, or none of the others has two pairs.
    """
    base, table = evidence.baseline, evidence.table
    compared = table[table["rank"].notna() & (table["objective"] != base) & (table["pairs"] > 1)]
    if base is None or compared.empty:
        return None
    names = choose(compared, ROWS, base)
    gaps = differences(values(evidence.frame, [evidence.column], evidence.leaderboard.by), base)[evidence.column]
    figure = style.figure(5.4, 1.4 + 0.3 * max(len(names), 2))
    axes = figure.subplots()
    rope = evidence.leaderboard.rope
    if rope:
        axes.axvspan(-rope, rope, color=style.GRIDLINE, alpha=0.7, linewidth=0, label=f"equivalent, ±{rope:.2g}")
    axes.axvline(0, color=style.INK, linewidth=1)
    rows = compared.set_index("objective", drop=False).loc[names]
    drawn = set()
    for index, row in enumerate(rows.to_dict("records")):
        of_row = gaps[gaps.index.get_level_values(LABEL) == row["objective"]].dropna()
        axes.plot(of_row, [index] * len(of_row), "|", color=style.MUTED, markersize=8, alpha=0.6)
        verdict = row["verdict"]
        color = COLORS.get(verdict, style.MUTED)
        label = verdict if verdict not in drawn else None
        drawn.add(verdict)
        if math.isfinite(row["low"]) and math.isfinite(row["high"]):
            axes.plot([row["low"], row["high"]], [index, index], color=color, linewidth=2, solid_capstyle="butt")
        axes.plot(row["difference"], index, _marker(verdict), color=color, markersize=6, label=label, linestyle="")
    style.rows(
        axes, names, f"{style.short(evidence.metric)} minus that of {style.short(base)} ({evidence.better} is better)"
    )
    style.leave_grid(axes)
    figure.legend(loc="outside lower left", ncols=3)
    return Picture(
        "differences",
        f"Paired differences to {base}",
        _message(rows.to_dict("records"), base, rope) + say_which(compared, names, base),
        "A tick is one pair of runs: the same seed, data, split, initial weights and batch order under both. Bars are "
        "95% intervals that all hold at once, from which the words follow.",
        figure,
    )


def _marker(verdict: str | None) -> str:
    # Not by colour alone.
    return {"better": "^", "worse": "v", "equivalent": "D"}.get(verdict or "", "o")


def _message(rows: list[dict[Any, Any]], base: str, rope: float | None) -> str:
    counts = {word: sum(row["verdict"] == word for row in rows) for word in COLORS}
    verdicts = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    lowest, highest = (pick(rows, key=lambda row: row["difference"]) for pick in (min, max))
    others = "objective" if len(rows) == 1 else "objectives"
    text = f"Against {base}, of {len(rows)} {others}: {verdicts or 'none judged'}."
    text += f" {highest['objective']} differs by {_difference(highest)}"
    if lowest is not highest:
        text += f", {lowest['objective']} by {_difference(lowest)}"
    return f"{text}." + (f" Within ±{rope:.2g} counts as equivalent." if rope else "")


def _difference(row: dict[Any, Any]) -> str:
    known = math.isfinite(row["low"]) and math.isfinite(row["high"])
    interval = f" ({number(row['low'], True)} to {number(row['high'], True)})" if known else ""
    return f"{number(row['difference'], True)}{interval}"
