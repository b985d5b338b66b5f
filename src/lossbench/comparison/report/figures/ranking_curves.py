"""How well the scores rank: ROC and precision-recall, averaged over runs."""

from __future__ import annotations

from lossbench.comparison.report.evidence import Evidence
from lossbench.comparison.report.figures import style
from lossbench.comparison.report.figures.panels import band, legend
from lossbench.comparison.report.figures.picture import LINES, Picture, choose, number, say_which
from lossbench.comparison.report.row_curves import RATES, mean_and_band

MICRO = ", micro-averaged"


def draw_roc(evidence: Evidence, data: str) -> Picture | None:
    """Draw the mean ROC of each objective with its band; micro-averaged for three classes or more."""
    names = choose(evidence.table, LINES, evidence.baseline)
    lines = {label: [c.true_rate for c in evidence.curves(label, data) if c.true_rate is not None] for label in names}
    lines = {label: of_runs for label, of_runs in lines.items() if of_runs}
    if not lines:
        return None
    figure = style.figure(5.4, 4.9)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=style.MUTED, linewidth=1)
    for index, (label, of_runs) in enumerate(lines.items()):
        band(axes, index, RATES, *mean_and_band(of_runs), label)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(-0.01, 1), ylim=(0, 1.01))
    axes.grid()
    legend(figure, len(lines))
    micro = _is_micro(evidence, data)
    metric = f"{evidence.split}/{'auroc_micro' if micro else 'auroc'}"
    return Picture(
        "roc",
        f"ROC on {evidence.split}{MICRO if micro else ''}",
        _areas(evidence, data, list(lines), metric, "micro-averaged AUROC" if micro else "AUROC")
        + say_which(evidence.table, list(lines), evidence.baseline),
        f"Lines are means over up to {max(map(len, lines.values()))} runs, bands hold the middle 80% of them; the "
        "diagonal is chance.",
        figure,
    )


def draw_precision_recall(evidence: Evidence, data: str) -> Picture | None:
    """Draw the mean precision at each recall with its band; micro-averaged for three classes or more."""
    names = choose(evidence.table, LINES, evidence.baseline)
    lines = {label: [c.precision for c in evidence.curves(label, data) if c.precision is not None] for label in names}
    lines = {label: of_runs for label, of_runs in lines.items() if of_runs}
    if not lines:
        return None
    figure = style.figure(5.4, 4.9)
    axes = figure.subplots()
    for index, (label, of_runs) in enumerate(lines.items()):
        # Average precision sums steps, not trapezoids.
        band(axes, index, RATES, *mean_and_band(of_runs), label, drawstyle="steps-pre")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.01))
    axes.grid()
    legend(figure, len(lines))
    micro = _is_micro(evidence, data)
    metric, called = f"{evidence.split}/average_precision", "average precision"
    return Picture(
        "precision_recall",
        f"Precision and recall on {evidence.split}{MICRO if micro else ''}",
        # The recorded figure of three classes or more is the mean of one-vs-rest.
        _areas(evidence, data, list(lines), metric, f"one-vs-rest {called}" if micro else called)
        + say_which(evidence.table, list(lines), evidence.baseline),
        f"Lines are means over up to {max(map(len, lines.values()))} runs, bands hold the middle 80% of them.",
        figure,
    )


def _is_micro(evidence: Evidence, data: str) -> bool:
    """Whether the data have three classes or more: those runs alone record a micro-averaged AUROC."""
    mean = evidence.mean(str(evidence.ranked["objective"].iloc[0]), f"{evidence.split}/auroc_micro", data)
    return mean == mean


def _areas(evidence: Evidence, data: str, names: list[str], metric: str, called: str) -> str:
    areas = {label: evidence.mean(label, metric, data) for label in names}
    areas = {label: area for label, area in areas.items() if area == area}
    if not areas:
        return f"{called} was not recorded for {', '.join(names)}."
    order = sorted(areas, key=lambda label: areas[label], reverse=True)
    if len(order) == 1:
        return f"{order[0]} has a mean {called} of {number(areas[order[0]])}."
    return (
        f"Mean {called} runs from {number(areas[order[0]])} ({order[0]}) to {number(areas[order[-1]])} ({order[-1]})."
    )
