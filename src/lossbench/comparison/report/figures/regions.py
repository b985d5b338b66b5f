"""Where objectives decide, for data with two features: one seed's decision regions with its rows on top."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from lossbench.comparison.report.evidence import Evidence
from lossbench.comparison.report.figures import style
from lossbench.comparison.report.figures.panels import below, draw_panels, outer, wide
from lossbench.comparison.report.figures.picture import PANELS, Picture, choose, say_which
from lossbench.comparison.report.row_curves import margin, matrix

# Pictures of their own, alike in light and dark: these colors are none of the style's, which would follow the page.
LINE, EDGE = "#101214", "#ffffff"
CLASSES = ("#1f5fa8", "#c2410c", "#0f7b5f", "#8a3a80", "#8a6500", "#2e6f95", "#6d4c41", "#4d4d4d", "#7a1f3d", "#3b5f2b")
_BETWEEN = LinearSegmentedColormap.from_list("classes", ["#9cc3ea", "#f4f4f2", "#f6b48b"])
SHOWN = 250


def draw(evidence: Evidence, data: str) -> Picture | None:
    """Draw what one seed's networks say over the plane, on one scale; nothing unless the data have two features."""
    seed, runs = evidence.one_seed(choose(evidence.table, PANELS, evidence.baseline), data)
    tables = {label: evidence.predictions.of(run) for label, run in runs.items()}
    tables = {
        label: rows for label, rows in tables.items()
        if "x_1" in rows and (rows["split"] == "grid").any() and (rows["split"] == evidence.split).any()
    }  # fmt: skip
    if not tables:
        return None
    names = evidence.named(data)
    figure, axes = draw_panels(list(tables), right=0.75)
    first = next(iter(tables.values()))
    binary = "prob_2" not in first
    for one, rows in zip(axes, tables.values(), strict=True):
        grid, points = rows[rows["split"] == "grid"], rows[rows["split"] == evidence.split]
        drawn = _plane(one, grid, _posterior(grid, rows) if binary else None)
        _data(one, points)
        one.tick_params(labelsize=8)
    outer(axes, style.plain(names.of_feature(0)), style.plain(names.of_feature(1)))
    classes = sorted({int(target) for target in first.loc[first["split"] == evidence.split, "target"]})
    _legend(figure, axes, {index: names.of_class(index) for index in classes})
    if binary:
        _scale(figure, axes[0], drawn, names.of_class(1))
    shares = {label: _share(rows, evidence.split) for label, rows in tables.items()}
    low, high = (pick(shares, key=lambda label: shares[label]) for pick in (min, max))
    what = names.of_class(1) if binary else "the rarest class"
    message = f"Under seed {seed}, {low} decides {shares[low]:.0%} of the plane as {what}"
    message += f", {high} {shares[high]:.0%}." if low != high else "."
    return Picture(
        "decision_regions",
        f"Decision regions, seed {seed}",
        message + say_which(evidence.table, list(tables), evidence.baseline),
        f"{_colors(what) if binary else 'Colors: the class that is decided.'} Points are up to {SHOWN} rows of each "
        f"class, of {evidence.split}.",
        figure,
        wide(list(tables)),
    )


def _colors(what: str) -> str:
    return f"Colors: the posterior of {what}, on one scale; the line is where the loss's own link decides (.5)."


def _posterior(grid: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    """Return the posterior at scores of the grid, from the rows that have both: it rises or falls with the score."""
    both = rows[rows["split"] != "grid"]
    scores = margin(both)
    order = np.argsort(scores)
    return np.interp(margin(grid), scores[order], both["posterior_1"].to_numpy()[order])


def _plane(axes: Axes, grid: pd.DataFrame, posterior: np.ndarray | None) -> AxesImage:
    side = round(len(grid) ** 0.5)
    x, y = (grid[name].to_numpy().reshape(side, side) for name in ("x_0", "x_1"))
    extent = (x.min(), x.max(), y.min(), y.max())
    if posterior is None:
        decided = matrix(grid, "score").argmax(axis=1).reshape(side, side)
        colors = ListedColormap(CLASSES)
        return axes.imshow(decided, extent=extent, origin="lower", aspect="auto", cmap=colors, vmin=0,
                           vmax=len(CLASSES) - 1, alpha=0.35, interpolation="nearest")  # fmt: skip
    drawn = axes.imshow(posterior.reshape(side, side), extent=extent, origin="lower", aspect="auto", cmap=_BETWEEN,
                        vmin=0, vmax=1, interpolation="bilinear")  # fmt: skip
    score = margin(grid).reshape(side, side)
    if score.min() < 0 < score.max():
        axes.contour(x, y, score, levels=[0], colors=LINE, linewidths=1.2)
    return drawn


def _data(axes: Axes, points: pd.DataFrame) -> None:
    # The rarest class is drawn last, on top.
    for index in points["target"].value_counts().index:
        rows = points[points["target"] == index]
        step = max(len(rows) // SHOWN, 1)
        axes.scatter(
            rows["x_0"][::step], rows["x_1"][::step], s=7, color=CLASSES[int(index) % len(CLASSES)], edgecolor=EDGE,
            linewidth=0.3, rasterized=True,
        )  # fmt: skip


def _legend(figure: Figure, axes: list[Axes], classes: dict[int, str]) -> None:
    handles = [
        axes[0].plot([], [], "o", color=CLASSES[index % len(CLASSES)], markersize=5, label=style.short(name, 24))[0]
        for index, name in classes.items()
    ]
    below(figure, handles, [str(handle.get_label()) for handle in handles])


def _scale(figure: Figure, first: Axes, drawn: AxesImage, positive: str) -> None:
    width, box = figure.get_figwidth(), first.get_position()
    bar = figure.colorbar(drawn, cax=figure.add_axes((1 - 0.75 / width, box.y0, 0.1 / width, box.height)))
    bar.ax.tick_params(labelsize=8)
    bar.set_label(f"posterior of {style.short(positive, 24)}", fontsize=9)
    bar.outline.set_visible(False)


def _share(rows: pd.DataFrame, split: str) -> float:
    """Return the share of the grid that is decided for the positive class, or for the rarest of more than two."""
    grid = rows[rows["split"] == "grid"]
    if "prob_2" not in rows:
        return float((margin(grid) > 0).mean())
    rarest = int(rows.loc[rows["split"] == split, "target"].value_counts().index[-1])
    return float((matrix(grid, "score").argmax(axis=1) == rarest).mean())
