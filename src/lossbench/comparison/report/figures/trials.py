"""How a tuning went: every trial of every objective, and which hyperparameters its score depends on."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lossbench.comparison.report.budgets import Tuning
from lossbench.comparison.report.evidence import Evidence
from lossbench.comparison.report.figures import style
from lossbench.comparison.report.figures.panels import below, draw_panels, outer, wide
from lossbench.comparison.report.figures.picture import PANELS, ROWS, Picture, number

_OPTIMIZER = {"optimizer.lr": "learning rate", "optimizer.weight_decay": "weight decay"}
_OWN = "the objective's own"


def draw_history(evidence: Evidence) -> Picture | None:
    """Draw the score of every finished trial and the best so far; nothing for a sweep that was not tuned."""
    tuning = evidence.tuning
    if tuning is None:
        return None
    named = [str(name) for name in tuning.objectives["objective"]]
    names = named[:PANELS]
    figure, axes = draw_panels(names)
    finished = tuning.trials[tuning.trials["state"] == "finished"]
    for one, name in zip(axes, names, strict=True):
        of_objective = finished[finished["objective"] == name].sort_values("trial")
        one.plot(of_objective["trial"], of_objective["value"], "o", color=style.MUTED, markersize=2.5, alpha=0.7)
        best = of_objective["value"].cummax() if tuning.direction == "max" else of_objective["value"].cummin()
        one.step(of_objective["trial"], best, where="post", color=style.BLUE)
        default = of_objective.loc[of_objective["trial"] == 0, "value"]
        if len(default):
            one.axhline(default.iloc[0], color=style.ORANGE, linestyle="--", linewidth=1.2)
        one.grid()
    _look_at_the_good(axes, tuning)
    outer(axes, "trial", style.plain(tuning.metric))
    handles = [
        Line2D([], [], marker="o", color=style.MUTED, linestyle="", markersize=4),
        Line2D([], [], color=style.BLUE),
        Line2D([], [], color=style.ORANGE, linestyle="--", linewidth=1.2),
    ]
    below(figure, handles, ["a trial", "the best so far", "the default setting"])
    gained = tuning.objectives.dropna(subset=["best", "default"]).to_dict("records")
    gained.sort(key=lambda row: abs(row["best"] - row["default"]))
    message = "No default setting finished."
    if gained:
        least, most = gained[0], gained[-1]
        message = (
            f"On the tuning seeds, what was kept gained most for {most['objective']} ({number(most['default'])} to "
            f"{number(most['best'])}) and least for {least['objective']} ({number(least['default'])} to "
            f"{number(least['best'])})."
        )
    kept = int((tuning.objectives["best_trial"] == 0).sum())
    message += f" The default was kept for {kept} of {len(named)}." if kept else " No default was kept."
    if len(named) > len(names):
        message += f" The first {len(names)} of {len(named)} objectives are drawn."
    seeds = "one tuning seed" if len(tuning.seeds) == 1 else f"{len(tuning.seeds)} tuning seeds, in the mean"
    return Picture(
        "tuning_history",
        f"Trials by {tuning.metric}",
        message,
        f"Scores on the validation rows of {seeds}; the best of many is flattered by chance, so only the runs under "
        "fresh seeds are compared. Trials far below the others are outside of the panels.",
        figure,
        wide(names),
    )


def _look_at_the_good(axes: list[Axes], tuning: Tuning) -> None:
    """Leave out the tail of bad trials, beside which the good ones could not be told apart."""
    values = tuning.trials.loc[tuning.trials["state"] == "finished", "value"].to_numpy()
    kept = [*tuning.objectives["best"].dropna(), *tuning.objectives["default"].dropna()]
    kept.append(float(np.percentile(values, 25 if tuning.direction == "max" else 75)))
    ends = min(kept), max(kept)
    margin = 0.06 * (ends[1] - ends[0] or 1.0)
    axes[0].set_ylim(ends[0] - margin, ends[1] + margin)


def draw_importances(evidence: Evidence) -> Picture | None:
    """Draw what share of the variance among trials each hyperparameter accounts for; nothing without a tuning."""
    tuning = evidence.tuning
    if tuning is None:
        return None
    rows = [row for row in tuning.objectives.head(ROWS).to_dict("records") if row["importances"]]
    if not rows:
        return None
    figure = style.figure(5.4, 1.2 + 0.3 * max(len(rows), 2))
    axes = figure.subplots()
    colors = dict(zip([*_OPTIMIZER.values(), _OWN], style.SERIES, strict=False))
    largest = []
    for index, row in enumerate(rows):
        shares = row["importances"]
        parts = {_OPTIMIZER.get(key, ""): share for key, share in shares.items() if key in _OPTIMIZER}
        of_objective = {key: share for key, share in shares.items() if key not in _OPTIMIZER}
        parts[_OWN] = sum(of_objective.values())
        left = 0.0
        for kind, color in colors.items():
            share = parts.get(kind, 0.0)
            axes.barh(index, share, left=left, color=color, height=0.66)
            left += share
        if of_objective:
            first = max(of_objective, key=lambda key: of_objective[key])
            largest.append((parts[_OWN], str(row["objective"]), first))
    style.rows(axes, [str(row["objective"]) for row in rows], "share of the variance among trials")
    style.leave_grid(axes)
    axes.set_xlim(0, 1)
    handles = [Patch(color=color) for color in colors.values()]
    figure.legend(handles, list(colors), loc="outside lower left", ncols=3)
    rates = [row["importances"].get("optimizer.lr", 0.0) for row in rows]
    message = f"The learning rate accounts for {min(rates):.0%} to {max(rates):.0%} of the variance among trials"
    if largest:
        share, objective, key = max(largest)
        message += f"; hyperparameters of their own matter most for {objective} ({share:.0%}, {key} before all)"
    return Picture(
        "tuning_importances",
        "What the trials' scores depend on",
        message + ".",
        "By fANOVA (Hutter, Hoos & Leyton-Brown 2014): a forest of trees fitted to an objective's trials. Shares "
        "depend on how wide the search space is.",
        figure,
    )
