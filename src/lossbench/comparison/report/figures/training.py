"""How the selecting metric rose over the epochs."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from lossbench.comparison.report.evidence import Evidence
from lossbench.comparison.report.figures import style
from lossbench.comparison.report.figures.panels import band, legend
from lossbench.comparison.report.figures.picture import LINES, Picture, choose, number, say_which
from lossbench.comparison.report.row_curves import mean_and_band
from lossbench.evaluation.catalogue import facts_of


def draw(evidence: Evidence, data: str) -> Picture | None:
    """Draw the mean over runs of the metric that selects epochs, or of the judged one on validation, with bands.

    Over the epochs that all runs of an objective reached: beyond them the mean would be that of other runs. Nothing
    where no run has two epochs.
    """
    names = choose(evidence.table, LINES, evidence.baseline)
    key = _key(evidence)
    by_label = {}
    for label in names:
        values = _values(evidence.histories(label, data), key)
        if values is not None:
            by_label[label] = values
    if not by_label:
        return None
    figure = style.figure(5.4, 4.3)
    axes = figure.subplots()
    ends, n = {}, 0
    for index, (label, (epochs, lines)) in enumerate(by_label.items()):
        mean, low, high = mean_and_band(lines)
        band(axes, index, epochs, mean, low, high, label)
        ends[label] = mean
        n = max(n, len(lines))
    axes.set(xlabel="epoch", ylabel=f"{style.plain(key)}, mean")
    axes.grid()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(figure, len(by_label))
    way = "max" if _higher(evidence, key) else "min"
    bests = {label: float(np.max(mean) if way == "max" else np.min(mean)) for label, mean in ends.items()}
    epoch_of = {
        label: int(by_label[label][0][int(np.argmax(mean) if way == "max" else np.argmin(mean))])
        for label, mean in ends.items()
    }
    order = sorted(bests, key=lambda label: bests[label], reverse=way == "max")
    named = [f"{label} ({number(bests[label])}, at epoch {epoch_of[label]})" for label in dict.fromkeys(
        [order[0], order[-1]])]  # fmt: skip
    message = f"The mean {key} over runs comes furthest with {named[0]}" + (
        f" and least far with {named[1]}." if len(named) > 1 else "."
    )
    return Picture(
        "training_curves",
        f"{key} over the epochs",
        message + say_which(evidence.table, list(by_label), evidence.baseline),
        f"Lines are means over up to {n} runs, bands hold the middle 80% of them. A metric, not the losses: those have "
        "different units.",
        figure,
    )


def _key(evidence: Evidence) -> str:
    column = "params.select.metric"
    selected = evidence.jobs[column].dropna().tolist() if column in evidence.jobs else []
    first = str(selected[0]) if selected else "None"
    return first if first.startswith("val/") else f"val/{evidence.metric.partition('/')[2]}"


def _higher(evidence: Evidence, key: str) -> bool:
    facts = facts_of(key, evidence.leaderboard.added)
    return facts is None or facts.better != "min"


def _values(histories: list[pd.DataFrame], key: str) -> tuple[np.ndarray, list[np.ndarray]] | None:
    tables = [table.set_index("epoch")[key].dropna() for table in histories if key in table and "epoch" in table]
    tables = [table for table in tables if len(table) > 1]
    if not tables:
        return None
    shared = sorted(set.intersection(*(set(table.index) for table in tables)))
    return (np.array(shared), [table.loc[shared].to_numpy() for table in tables]) if len(shared) > 1 else None
