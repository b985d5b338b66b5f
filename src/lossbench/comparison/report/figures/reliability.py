"""Whether probabilities mean what they say: before and after the posterior."""

from __future__ import annotations

import numpy as np

from lossbench.comparison.report.evidence import Evidence
from lossbench.comparison.report.figures import style
from lossbench.comparison.report.figures.panels import below, draw_panels, outer, wide
from lossbench.comparison.report.figures.picture import Picture, choose, number, say_which
from lossbench.comparison.report.row_curves import Bins

PANELS = 8
# A bin with fewer rows, all runs together, is noise.
LEAST = 8
VIEWS = (("link", style.ORANGE, "s", "--"), ("posterior", style.BLUE, "o", "-"))


def draw(evidence: Evidence, data: str) -> Picture | None:
    """Draw the observed share against the probability said, in bins, through the link and through the posterior."""
    by_label = {label: evidence.curves(label, data) for label in choose(evidence.table, PANELS, evidence.baseline)}
    by_label = {label: curves for label, curves in by_label.items() if curves}
    if not by_label:
        return None
    figure, axes = draw_panels(list(by_label))
    for one, curves in zip(axes, by_label.values(), strict=True):
        one.plot([0, 1], [0, 1], color=style.MUTED, linewidth=1)
        for view, color, marker, dashes in VIEWS:
            expected, true = _points([getattr(each, view) for each in curves])
            one.plot(
                expected, true, color=color, marker=marker, linestyle=dashes, markersize=3.5, linewidth=1.4, label=view
            )
        one.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        one.grid()
    outer(axes, "said", "observed")
    below(figure, *axes[0].get_legend_handles_labels())
    return Picture(
        "reliability",
        f"Probabilities said and shares observed on {evidence.split}",
        _message(evidence, data, list(by_label)) + say_which(evidence.table, list(by_label), evidence.baseline),
        "On the diagonal a probability means what it says: below it the model says too much, above it too little. For "
        f"two classes the positive one's, else that of the most probable class; bins of fewer than {LEAST} rows are "
        "left out.",
        figure,
        wide(list(by_label)),
    )


def _points(bins: list[Bins]) -> tuple[np.ndarray, np.ndarray]:
    count, expected, true = (
        np.sum([getattr(each, name) for each in bins], axis=0) for name in ("count", "expected", "true")
    )
    kept = count >= LEAST
    return expected[kept] / count[kept], true[kept] / count[kept]


def _message(evidence: Evidence, data: str, names: list[str]) -> str:
    before = {label: evidence.mean(label, f"{evidence.split}/ece", data) for label in names}
    after = {label: evidence.mean(label, f"{evidence.split}/posterior/ece", data) for label in names}
    complete = [label for label in names if before[label] == before[label] and after[label] == after[label]]
    if not complete:
        return f"Probabilities of {', '.join(names)}; the runs recorded no calibration error."
    worst = max(complete, key=lambda label: before[label])
    best = min(complete, key=lambda label: after[label])
    return (
        f"The link's probabilities are furthest off for {worst}: its calibration error is {number(before[worst])}, and "
        f"{number(after[worst])} through the posterior. The best posterior is that of {best}, {number(after[best])}."
    )
