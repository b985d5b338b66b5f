"""Small multiples: one panel per objective, all alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lossbench.comparison.report.figures import style

ACROSS = 4
_INCHES = 2.0
_LEFT, _RIGHT, _TOP, _BOTTOM, _BETWEEN = 0.68, 0.14, 0.3, 0.92, 0.34


def draw_panels(
    names: Sequence[str], *, height: float = 1.9, shared: bool = True, right: float = 0.0
) -> tuple[Figure, list[Axes]]:
    """Return a figure with a titled panel for each name, at most four across.

    Panels are alike, so that places counted out in inches do what matplotlib's layout engines take a second for.

    Parameters
    ----------
    height
        Of a panel, in inches.
    shared
        Whether all have the same limits.
    right
        Inches to leave free at the right.
    """
    across = min(len(names), ACROSS)
    down = math.ceil(len(names) / across)
    gap = 0.22 if shared else 0.5
    width = _LEFT + across * _INCHES + (across - 1) * gap + _RIGHT + right
    total = _TOP + down * height + (down - 1) * _BETWEEN + _BOTTOM
    if not shared:
        total += (down - 1) * 0.2
    figure = style.figure(width, total, placed=True)
    grid = figure.subplots(down, across, sharex=shared, sharey=shared, squeeze=False)
    figure.subplots_adjust(
        left=_LEFT / width,
        right=1 - (_RIGHT + right) / width,
        top=1 - _TOP / total,
        bottom=_BOTTOM / total,
        wspace=gap / _INCHES,
        hspace=(_BETWEEN + (0.0 if shared else 0.2)) / height,
    )
    flat = list(grid.flat)
    for axes, name in zip(flat, names, strict=False):
        axes.set_title(style.short(name, 26), fontsize=9)
    for axes in flat[len(names) :]:
        axes.set_visible(False)
    return figure, flat[: len(names)]


def wide(names: Sequence[str]) -> bool:
    """Whether so many panels need the width of a page."""
    return len(names) > 3


def outer(axes: Sequence[Axes], xlabel: str, ylabel: str) -> None:
    """Label the axes at the left and at the bottom alone."""
    across = min(len(axes), ACROSS)
    for number, one in enumerate(axes):
        if number % across == 0:
            one.set_ylabel(ylabel, fontsize=9)
        if number + across >= len(axes):
            one.set_xlabel(xlabel, fontsize=9)
            # The panel below is missing in the last row, and with it the shared ticks' labels.
            one.tick_params(labelbottom=True)


def below(figure: Figure, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """Put a legend under the panels."""
    height = figure.get_figheight()
    figure.legend(handles, labels, loc="lower left", ncols=min(len(labels), 5), bbox_to_anchor=(0.0, 0.02 / height))


def band(axes: Axes, index: int, x: Any, mean: Any, low: Any, high: Any, label: str, **line: Any) -> None:
    """Draw one objective: told from the others by color and dashes, since not everybody sees both colors of a pair."""
    color = style.SERIES[index % len(style.SERIES)]
    axes.fill_between(x, low, high, color=color, alpha=0.1, linewidth=0, step=_step(line))
    dashes = style.DASHES[index % len(style.DASHES)]
    axes.plot(x, mean, color=color, linestyle=dashes, label=style.short(label), **line)


def _step(line: dict[str, Any]) -> Any:
    return {"steps-pre": "pre", "steps-post": "post"}.get(line.get("drawstyle", ""))


def legend(figure: Figure, n: int) -> None:
    """Put the names of the lines of the first axes below the drawing, in two columns where they fit."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    # In letters of size 9, of which a sample of a line and the gaps around it take eight.
    two = 2 * (max(map(len, labels)) + 8) <= style.LETTERS_PER_INCH * 10 / 9 * figure.get_figwidth()
    figure.legend(handles, labels, loc="outside lower left", ncols=2 if n > 1 and two else 1, handlelength=2.8)
