"""How every figure looks: one palette that colour-blind eyes can tell apart, in light and in dark."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, MUTED, GRIDLINE, PAPER = "#1b1f24", "#6b7280", "#e3e6ea", "#fefefe"
# Okabe & Ito's hues, the light ones darkened until they stand out on white.
SERIES = ("#0072b2", "#d55e00", "#008f68", "#aa4499", "#b07d00", "#3a3f47", "#4a9bd1", "#8c564b")
BLUE, ORANGE = SERIES[:2]
DASHES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)), "-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

# Of the font of size 10, in the mean of the names that there are.
LETTERS_PER_INCH = 11

# In a page each of those colours is a variable of its style sheet, so that one drawing serves light and dark.
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRIDLINE: "var(--grid)",
    PAPER: "var(--paper)",
    **{color: f"var(--c{number})" for number, color in enumerate(SERIES)},
}
_COLOR = re.compile(rf"(fill|stroke): ({'|'.join(_VARIABLES)})", re.IGNORECASE)

_RC: Any = {
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.grid": False,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.facecolor": PAPER,
    "font.size": 10,
    "grid.color": GRIDLINE,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 9,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw and save figures in the house's style."""
    with rc_context(_RC):
        yield


def figure(width: float, height: float, *, placed: bool = False) -> Figure:
    """Return an empty figure of a size in inches, laid out by matplotlib unless its parts are placed by hand.

    5.5 wide is what a phone still shows at a size that can be read.
    """
    return Figure(figsize=(width, height), layout=None if placed else "constrained")


def svg(drawn: Figure, name: str) -> str:
    """Return a figure as an SVG element.

    Parameters
    ----------
    name
        Unique in a page: clip paths and markers of two figures must not share their ids.
    """
    buffer = io.StringIO()
    with styled(), rc_context({"svg.hashsalt": name}):
        # Laid out once; savefig would do it again before it draws.
        engine = drawn.get_layout_engine()
        if engine is not None:
            engine.execute(drawn)
            drawn.set_layout_engine("none")
        drawn.savefig(buffer, format="svg", transparent=True, dpi=130, metadata=dict.fromkeys(_METADATA))
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    used = set(re.findall(r"""(?:url\(#|href="#)([\w.-]+)""", text))
    return re.sub(r' id="([\w.-]+)"', lambda match: match[0] if match[1] in used else "", text)


def in_page(drawing: str) -> str:
    """Return an SVG for a page whose style sheet defines ``--ink``, ``--muted`` ... ``--c7``, of a readable size."""
    drawing = _COLOR.sub(lambda match: f"{match[1]}: {_VARIABLES[match[2].lower()]}", drawing)
    width = re.search(r'width="([\d.]+)pt"', drawing)
    assert width is not None
    natural = float(width[1]) / 12  # rem
    # Below, a phone scrolls it instead of shrinking its letters out of sight.
    size = f"max-width: {1.15 * natural:.1f}rem; min-width: {0.62 * natural:.1f}rem"
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"|height="[\d.]+pt"', "", drawing, count=1).replace(
        width[0], "").replace("<svg", f'<svg aria-hidden="true" style="{size}"', 1)  # fmt: skip


def alone(drawing: str) -> str:
    """Return an SVG as a file of its own, on paper of its own: a viewer's may be dark."""
    start = drawing.index(">") + 1
    return f'{drawing[:start]}<rect width="100%" height="100%" fill="{PAPER}"/>{drawing[start:]}'


_METADATA = ("Creator", "Date", "Format", "Type")


def plain(name: object) -> str:
    """Keep matplotlib from reading a name between dollar signs as a formula."""
    return str(name).replace("$", r"\$")


def short(name: object, length: int = 34) -> str:
    """Return a name as `plain`, cut in the middle where it is long, since both of its ends tell objectives apart.

    >>> short("focal gamma=5 alpha=0.25", 15)
    'focal g…ha=0.25'
    """
    text = str(name)
    if len(text) > length:
        text = f"{text[: length // 2]}…{text[-(length - length // 2 - 1) :]}"
    return plain(text)


def leave_grid(axes: Axes, *, grid: str = "x") -> None:
    """Leave a chart of named rows with nothing but its grid."""
    axes.spines["left"].set_visible(False)
    axes.tick_params(left=False)
    axes.grid(axis="x" if grid == "x" else "both")
    axes.set_axisbelow(True)


def rows(axes: Axes, names: list[str], xlabel: str) -> None:
    """Name the rows of a chart, the first on top, and its x axis, in as many lines as fit beside those names.

    The label stands below the middle of the axes, of which long names leave little.
    """
    shown = [short(name) for name in names]
    axes.set_yticks(range(len(names)), shown)
    axes.set_ylim(len(names) - 0.5, -0.5)
    figure = axes.get_figure(root=True)
    assert figure is not None
    room = LETTERS_PER_INCH * figure.get_figwidth() - max(map(len, shown))
    axes.set_xlabel(textwrap.fill(xlabel, int(room), break_long_words=False, break_on_hyphens=False))
