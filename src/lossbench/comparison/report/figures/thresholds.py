"""What the threshold does to F1, so that no loss gets the credit for it."""

from __future__ import annotations

from lossbench.comparison.report.evidence import Evidence
from lossbench.comparison.report.figures import style
from lossbench.comparison.report.figures.panels import band, legend
from lossbench.comparison.report.figures.picture import LINES, Picture, choose, number, say_which
from lossbench.comparison.report.row_curves import THRESHOLDS, mean_and_band


def draw(evidence: Evidence, data: str) -> Picture | None:
    """Draw F1 at every threshold, on the link's probability and on the posterior; nothing for three classes or more."""
    by_label = {
        label: [curve for curve in evidence.curves(label, data) if curve.f1_link is not None]
        for label in choose(evidence.table, LINES, evidence.baseline)
    }
    by_label = {label: curves for label, curves in by_label.items() if curves}
    if not by_label:
        return None
    figure = style.figure(8.0, 4.2)
    left, right = figure.subplots(1, 2, sharey=True)
    for index, (label, curves) in enumerate(by_label.items()):
        band(left, index, THRESHOLDS, *mean_and_band([c.f1_link for c in curves]), label)
        mean, low, high = mean_and_band([c.f1_posterior for c in curves])
        band(right, index, THRESHOLDS, mean, low, high, label)
        tuned = evidence.mean(label, "threshold/f1", data)
        if tuned == tuned:
            at = mean[min(round(tuned * (len(THRESHOLDS) - 1)), len(THRESHOLDS) - 1)]
            color = style.SERIES[index % len(style.SERIES)]
            right.plot(
                tuned, at, style.MARKERS[index], color=color, markeredgecolor=style.PAPER, markersize=8, zorder=5
            )
    left.axvline(0.5, color=style.MUTED, linewidth=1)
    left.annotate("0.5", (0.5, 1), xycoords=("data", "axes fraction"), xytext=(3, -9), textcoords="offset points",
                  color=style.MUTED, fontsize=9)  # fmt: skip
    left.set(
        xlabel="threshold on the link's probability", ylabel=f"F1 on {evidence.split}", xlim=(0, 1), ylim=(0, None)
    )
    right.set(xlabel="threshold on the posterior", xlim=(0, 1))
    for axes in (left, right):
        axes.grid()
    legend(figure, len(by_label))
    return Picture(
        "threshold_sweep",
        "F1 by threshold",
        _message(evidence, data, list(by_label)) + say_which(evidence.table, list(by_label), evidence.baseline),
        "Lines are means over runs, bands hold the middle 80% of them. Markers: the mean of the thresholds tuned on "
        "validation. Curves of one height that peak elsewhere differ in their threshold, not in what they learnt.",
        figure,
        True,
    )


def _message(evidence: Evidence, data: str, names: list[str]) -> str:
    spans = []
    for where, metric in (("at .5 on the link", "f1"), ("at the threshold tuned on validation", "tuned/f1")):
        values = [evidence.mean(label, f"{evidence.split}/{metric}", data) for label in names]
        values = [value for value in values if value == value]
        if values:
            spans.append(f"from {number(min(values))} to {number(max(values))} {where}")
    return f"Mean F1 of the objectives runs {', and '.join(spans)}." if spans else f"F1 of {', '.join(names)}."
