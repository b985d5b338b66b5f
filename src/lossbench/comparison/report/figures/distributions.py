"""How the scores of the classes lie apart, one panel per objective."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lossbench.comparison.report.evidence import Evidence
from lossbench.comparison.report.figures import style
from lossbench.comparison.report.figures.panels import below, draw_panels, outer, wide
from lossbench.comparison.report.figures.picture import PANELS, Picture, choose, say_which
from lossbench.comparison.report.row_curves import margin, matrix

RAW = (
    "The line at 0 is where the loss's own link decides. Scores of different losses have different units: each panel "
    "has a scale of its own."
)


def draw(evidence: Evidence, data: str) -> Picture | None:
    """Draw the scores of one seed by class: for two classes raw scores, for more the probability of the true class."""
    seed, runs = evidence.one_seed(choose(evidence.table, PANELS, evidence.baseline), data)
    tables = {label: evidence.predictions.of(run) for label, run in runs.items()}
    tables = {label: rows[rows["split"] == evidence.split] for label, rows in tables.items()}
    tables = {label: rows for label, rows in tables.items() if len(rows) and np.isfinite(matrix(rows, "score")).all()}
    if not tables:
        return None
    names = evidence.named(data)
    binary = "prob_2" not in next(iter(tables.values()))
    figure, axes = draw_panels(list(tables), height=1.6, shared=not binary)
    apart = {}
    for one, (label, rows) in zip(axes, tables.items(), strict=True):
        scores, target = _scores(rows, binary), rows["target"].to_numpy(dtype=int)
        edges = np.linspace(*(_range(scores) if binary else (0.0, 1.0)), 41)
        for index in np.unique(target):
            heights, _ = np.histogram(scores[target == index], edges)
            color = style.SERIES[int(index) % len(style.SERIES)]
            one.stairs(heights / max(heights.sum(), 1), edges, color=color, fill=False, linewidth=1.4,
                       linestyle=style.DASHES[int(index) % len(style.DASHES)],
                       label=style.short(names.of_class(int(index)), 24))  # fmt: skip
        if binary:
            one.axvline(0, color=style.MUTED, linewidth=1)
            apart[label] = float(np.mean(scores[target == 1] > 0)) if (target == 1).any() else float("nan")
        one.set_ylim(0, None)
        one.tick_params(labelsize=8)
    outer(axes, "raw score" if binary else "probability of the true class", "share of class")
    below(figure, *axes[0].get_legend_handles_labels())
    return Picture(
        "score_distributions",
        f"Scores by class on {evidence.split}, seed {seed}",
        (_spread(apart, names.of_class(1), seed) if apart else _confidence(tables, seed))
        + say_which(evidence.table, list(tables), evidence.baseline),
        RAW if binary else "A peak at 1 is a class that is known for sure.",
        figure,
        wide(list(tables)),
    )


def _scores(rows: pd.DataFrame, binary: bool) -> np.ndarray:
    if binary:
        return margin(rows)
    return matrix(rows, "prob")[np.arange(len(rows)), rows["target"].to_numpy(dtype=int)]


def _range(scores: np.ndarray) -> tuple[float, float]:
    # A few far scores would press all others into one bar.
    low, high = np.quantile(scores, [0.002, 0.998])
    margin = 0.05 * max(float(high - low), 1e-6)
    return float(low) - margin, float(high) + margin


def _spread(apart: dict[str, float], positive: str, seed: str) -> str:
    shares = {label: share for label, share in apart.items() if share == share}
    if not shares:
        return f"Scores of seed {seed}; no row is {positive}."
    low, high = (pick(shares, key=lambda label: shares[label]) for pick in (min, max))
    text = f"Under seed {seed}, {shares[high]:.0%} of the {positive} rows score above 0 with {high}"
    return f"{text}, {shares[low]:.0%} with {low}." if low != high else f"{text}."


def _confidence(tables: dict[str, pd.DataFrame], seed: str) -> str:
    means = {label: float(np.mean(_scores(rows, False))) for label, rows in tables.items()}
    low, high = (pick(means, key=lambda label: means[label]) for pick in (min, max))
    text = f"Under seed {seed}, {high} gives the true class a mean probability of {means[high]:.2f}"
    return f"{text}, {low} {means[low]:.2f}." if low != high else f"{text}."
