"""What figures of several lines share: a line with its band, and a legend below that costs the drawing no width."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lossbench.comparison.figures import style


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
