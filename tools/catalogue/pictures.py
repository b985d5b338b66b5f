"""One picture per loss, all on the same axes; the plotted numbers are in its metadata."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
from catalogue.curves import REACH, Curves
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#007A5A", "#8C3A73", "#767676"
POSITIVE = {"color": BLUE, "linestyle": "-", "linewidth": 2.0}
NEGATIVE = {"color": ORANGE, "linestyle": "--", "linewidth": 2.0}
REFERENCE = {"color": GREY, "linestyle": ":", "linewidth": 1.5}
LINK = {"color": GREEN, "linestyle": "-", "linewidth": 2.0}
POSTERIOR = {"color": PURPLE, "linestyle": "-.", "linewidth": 2.0}
# (lowest, highest) of loss and gradient, by whether a loss is per row
LOSS_AXIS = {True: (-0.25, 5.0), False: (-0.1, 2.0)}
SLOPE_AXIS = {True: (-1.6, 1.6), False: (-0.5, 0.5)}
STEADY = {
    "svg.hashsalt": "lossbench",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.0,
}


def axes_of(curves: Curves, pointwise: bool) -> tuple[tuple[float, float], tuple[float, float], bool]:
    """Return the limits of loss and gradient, and whether they are the usual ones.

    A loss has axes of its own where its scores have another range, or where it is off the usual axis at the score 0.
    """
    usual = LOSS_AXIS[pointwise], SLOPE_AXIS[pointwise]
    own_range = curves.score[-1] != REACH
    middle = len(curves.score) // 2
    if not own_range and max(curves.positive[middle], curves.negative[middle]) < 0.8 * usual[0][1]:
        return *usual, True
    values = np.array([curves.positive, curves.negative])
    inner = values[:, np.abs(curves.score) <= 0.5 * curves.score[-1]]
    slope = np.abs([curves.positive_slope, curves.negative_slope]).max()
    return (-0.05 * inner.max(), 1.05 * inner.max()), (-1.1 * slope, 1.1 * slope), False


def svg(name: str, curves: Curves, pointwise: bool) -> str:
    """Draw a loss; equal curves give equal bytes under one release of matplotlib."""
    arrays = curves.arrays()
    score = arrays["score"]
    loss_axis, slope_axis, _ = axes_of(curves, pointwise)
    with mpl.rc_context({**mpl.rcParamsDefault, **STEADY, "backend": mpl.rcParams["backend"]}):
        figure = Figure(figsize=(10.0, 3.1), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        unit = "row" if pointwise else "row's batch"
        for axes, end, title, limits in (
            (left, "", f"{name}: loss of the {unit}", loss_axis),
            (middle, "_slope", "gradient in the score", slope_axis),
        ):
            axes.plot(score, arrays[f"reference{end}"], **REFERENCE, label="cross_entropy, positive row")
            axes.plot(score, arrays[f"positive{end}"], **POSITIVE, label="positive row")
            axes.plot(score, arrays[f"negative{end}"], **NEGATIVE, label="negative row")
            _frame(axes, title, score, limits)
        right.plot(score, arrays["link"], **LINK, label="link")
        if len(arrays["posterior"]):
            right.plot(score, arrays["posterior"], **POSTERIOR, label="posterior")
        _frame(right, "probability of the positive class", score, (-0.05, 1.05))
        _legend(figure, left, right)
        buffer = io.StringIO()
        data = json.dumps(asdict(curves), separators=(",", ":"))
        figure.savefig(
            buffer, format="svg", metadata={"Date": None, "Creator": None, "Title": name, "Description": data}
        )
    return _tidy(buffer.getvalue())


def _frame(axes: Axes, title: str, score: np.ndarray, limits: tuple[float, float]) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("score s")
    axes.set_xlim(score[0], score[-1])
    axes.set_ylim(*limits)
    axes.axhline(0, color="0.75", linewidth=0.8, zorder=0)
    axes.axvline(0, color="0.75", linewidth=0.8, zorder=0)
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(figure: Figure, *panels: Axes) -> None:
    handles = {
        label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    order = ["positive row", "negative row", "cross_entropy, positive row", "link", "posterior"]
    shown = [label for label in order if label in handles]
    figure.legend(
        [handles[label] for label in shown], shown, loc="outside lower center", ncols=len(shown), frameon=False
    )


def _tidy(text: str) -> str:
    """Make the file small: a tenth of a point will do, a path is one line, and nothing is indented."""

    def path(found: re.Match[str]) -> str:
        return re.sub(r"(\.\d)\d+", r"\1", found[0]).replace("\n", "")

    text = re.sub(r' d="[^"]*"', path, text)
    return re.sub(r"^[ \t]+|[ \t]+$", "", text, flags=re.MULTILINE)


def plotted(text: str) -> Curves:
    """Return the numbers that an SVG of ours was drawn from."""
    for element in _elements(text, "description"):
        return Curves(**json.loads(element.text or "{}"))
    raise ValueError("the picture has no description of what it shows")


def _elements(text: str, tag: str) -> Iterator[ElementTree.Element]:
    return ElementTree.fromstring(text).iter(f"{{http://purl.org/dc/elements/1.1/}}{tag}")
