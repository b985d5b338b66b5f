"""Which settings go with a good metric, for sweeps over hyperparameters."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from lossbench.comparison.report.evidence import Evidence
from lossbench.comparison.report.figures import style
from lossbench.comparison.report.figures.grid import factors, is_number, level_text
from lossbench.comparison.report.figures.picture import Picture, number

LEAST, MOST_AXES, MOST_LINES = 5, 7, 300


def draw(evidence: Evidence) -> Picture | None:
    """Draw one line per objective through its settings to its mean; nothing unless a number takes three values."""
    table = factors(evidence)
    if len(table) < LEAST or not any(is_number(table[name]) for name in table):
        return None
    shown = [*table.columns[:MOST_AXES]]
    means = evidence.ranked["mean"].reindex(table.index).astype(float)
    table, means = table.head(MOST_LINES), means.head(MOST_LINES)
    figure = style.figure(max(1.5 * (len(shown) + 1), 5.0), 4.2)
    axes = figure.subplots()
    heights = [_axis(axes, index, name, table[name]) for index, name in enumerate(shown)]
    low, high = float(means.min()), float(means.max())
    heights.append(((means - low) / (high - low or 1)).to_numpy(dtype=float))
    _ticks(axes, len(shown), style.plain(evidence.metric), [(0.0, number(low)), (1.0, number(high))])
    norm = Normalize(low, high if high > low else low + 1)
    colors = colormaps["viridis" if evidence.better == "higher" else "viridis_r"]
    lines = np.stack(heights, axis=1)
    # The best is drawn last, on top.
    for line, mean in list(zip(lines, means, strict=True))[:0:-1]:
        axes.plot(range(len(line)), line, color=colors(0.1 + 0.75 * norm(mean)), linewidth=1.2, alpha=0.75, zorder=2)
    axes.plot(range(lines.shape[1]), lines[0], color=style.INK, linewidth=2.6, zorder=4)
    axes.set(xlim=(-0.3, len(shown) + 0.45), ylim=(-0.16 if table.isna().any(axis=None) else -0.05, 1.14))
    axes.set_axis_off()
    figure.colorbar(ScalarMappable(norm, colors), ax=axes, shrink=0.7, pad=0.01).set_label(style.plain(evidence.metric))
    best = table.iloc[0].dropna()
    settings = ", ".join(f"{name} {level_text(best[name])}" for name in shown if name in best)
    hidden = len(table.columns) - len(shown)
    return Picture(
        "parallel_coordinates",
        "Settings and results",
        f"Of {len(table)} objectives the best has {settings}: mean {evidence.metric} {number(float(means.iloc[0]))}; "
        f"the last has {number(float(means.iloc[-1]))}." + (f" {hidden} more settings vary." if hidden else ""),
        "One line is one objective, from its settings to its mean on the right; the thick one is the best. A line at "
        "the foot of an axis has no such setting.",
        figure,
        len(shown) > 3,
    )


def _axis(axes: Axes, index: int, name: str, values: pd.Series) -> np.ndarray:
    """Draw one axis and return the heights of the objectives on it, 0 to 1."""
    if is_number(values):
        numbers = values.to_numpy(dtype=float)
        low, high = float(np.nanmin(numbers)), float(np.nanmax(numbers))
        logarithmic = low > 0 and high / low > 20
        scaled = np.log(numbers) if logarithmic else numbers
        bottom, top = float(np.nanmin(scaled)), float(np.nanmax(scaled))
        heights = (scaled - bottom) / (top - bottom)
        ticks = sorted({x for x in numbers.tolist() if x == x})
        ticks = ticks if len(ticks) <= 8 else [low, high]
        marks = [(((math.log(x) if logarithmic else x) - bottom) / (top - bottom), f"{x:g}") for x in ticks]
    else:
        texts = [level_text(value) if value == value and value is not None else None for value in values]
        levels = sorted({text for text in texts if text is not None})
        at = {level: number / max(len(levels) - 1, 1) for number, level in enumerate(levels)}
        heights = np.array([math.nan if text is None else at[text] for text in texts])
        marks = [(height, style.short(level, 18)) for level, height in at.items()] if len(levels) <= 20 else []
    if np.isnan(heights).any():
        heights = np.nan_to_num(heights, nan=-0.12)
        marks = [*marks, (-0.12, "–")]
    _ticks(axes, index, style.short(name, 20), marks)
    return heights


def _ticks(axes: Axes, index: int, name: str, marks: list[tuple[float, str]]) -> None:
    axes.plot([index, index], [0, 1], color=style.MUTED, linewidth=1, zorder=3)
    axes.text(index, 1.07, name, ha="center", va="bottom", fontsize=9, zorder=5)
    for height, text in marks:
        axes.text(index + 0.04, height, text, ha="left", va="center", fontsize=8, zorder=5,
                  bbox={"facecolor": style.PAPER, "alpha": 0.75, "pad": 0.6, "linewidth": 0})  # fmt: skip
