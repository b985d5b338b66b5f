"""What a tuning found, as a comparison shows it: budgets, settings, trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from lossbench.comparison.leaderboard import Leaderboard


@dataclass(frozen=True)
class Tuning:
    """The tunings of one or more sweeps.

    Parameters
    ----------
    metric, direction
        What trials were scored by on validation, and which way is better: ``max`` or ``min``.
    seeds, further_seeds
        Those that trials were scored on, and those that the best of them were scored on again; no compared run has any.
    confirm
        How many trials of each objective were scored again, beside the default.
    objectives
        One row per objective: `objective, finished, failed, default, best, best_trial, setting, importances`,
        `confirmed`;
        `best` is the score of the setting that was kept, missing where an objective was given up, and `default` is
        missing where the default setting failed.
    trials
        One row per trial: `objective, trial, state, value, sd, error, confirmed, p` and a column per hyperparameter.
    """

    metric: str
    direction: str
    seeds: Sequence[int]
    objectives: pd.DataFrame
    trials: pd.DataFrame
    further_seeds: Sequence[int] = ()
    confirm: int = 0

    @classmethod
    def read(cls, document: Mapping[str, Any], trials: pd.DataFrame) -> Tuning:
        """Return what a sweep kept as `tuning.json` and `trials.csv`."""
        objectives = pd.DataFrame(document["objectives"])
        numbers = ["default", "best"]
        objectives[numbers] = objectives[numbers].astype(float)
        return cls(document["metric"], document["direction"], document["seeds"], objectives, trials,
                   document["further_seeds"], document["confirm"])  # fmt: skip

    def of(self, objective: str) -> pd.DataFrame:
        """Return the trials of an objective, in order."""
        return self.trials[self.trials["objective"] == objective].sort_values("trial")

    @property
    def notes(self) -> list[str]:
        """What a reader of a leaderboard must know of the budget."""
        finished = sorted(set(self.objectives["finished"]))
        budget = f"{finished[0]}" if len(finished) == 1 else f"{finished[0]} to {finished[-1]}"
        seeds = f"seed {self.seeds[0]}" if len(self.seeds) == 1 else f"the seeds {self.seeds[0]} to {self.seeds[-1]}"
        mean = f"{self.metric}" if len(self.seeds) == 1 else f"mean {self.metric}"
        lines = [
            f"tuned: {budget} finished trials for each objective, the default setting the first, by {mean} over "
            f"{seeds}, which no run compared here has; none was pruned"
        ]
        if self.further_seeds:
            lines.append(
                f"the best {self.confirm} and the default were scored again under {len(self.further_seeds)} further "
                f"seeds ({self.further_seeds[0]} to {self.further_seeds[-1]}); another than the default was kept where "
                "it was better there (one-sided sign-flip test, p <= .05 by Holm)"
            )
        failed = {row["objective"]: row["failed"] for row in self.objectives.to_dict("records") if row["failed"]}
        if failed:
            lines.append(f"failed trials, replaced by others: {', '.join(f'{k} {n}' for k, n in failed.items())}")
        lost = self.objectives.loc[self.objectives["best"].isna(), "objective"].tolist()
        if lost:
            lines.append(f"given up, since too many trials failed: {', '.join(lost)}")
        return lines

    @property
    def settings(self) -> list[tuple[str, str]]:
        """(objective, what was found for it), the setting as a command line has it."""
        return [(str(row["objective"]), self._describe(row)) for row in self.objectives.to_dict("records")]

    def _describe(self, row: Mapping[Any, Any]) -> str:
        if row["best"] != row["best"]:
            return "given up"
        return f"{as_overrides(row['setting'])}  ({self.why(row)})"

    def why(self, row: Mapping[Any, Any]) -> str:
        """Say why a setting was kept, with its score."""
        again = {each["trial"]: each for each in row["confirmed"]}
        n = len(self.further_seeds if again else self.seeds)
        on = f"under {n} {'further' if again else 'tuning'} seed{'s' if n > 1 else ''}"
        default = again[0]["value"] if 0 in again else row["default"]
        kept = again[row["best_trial"]]["value"] if row["best_trial"] in again else row["best"]
        if row["best_trial"] == 0:
            return f"the default, as none was better: {self.metric} {kept:.4f} {on}"
        beside = "the default failed" if default is None or default != default else f"the default {default:.4f}"
        return f"{self.metric} {kept:.4f} {on}, {beside}"


def join_tunings(tunings: Sequence[Tuning]) -> Tuning | None:
    """Return the tunings of several sweeps as one; None without any."""
    if not tunings:
        return None
    first = tunings[0]
    return Tuning(
        first.metric,
        first.direction,
        sorted({seed for each in tunings for seed in each.seeds}),
        pd.concat([each.objectives for each in tunings], ignore_index=True),
        pd.concat([each.trials for each in tunings], ignore_index=True),
        sorted({seed for each in tunings for seed in each.further_seeds}),
        max(each.confirm for each in tunings),
    )


def as_overrides(values: Mapping[str, Any]) -> str:
    """Return a setting as a command line has it.

    >>> as_overrides({"loss.gamma": 1.5, "optimizer.weight_decay": 0.0})
    'loss.gamma=1.5 optimizer.weight_decay=0'
    """
    return " ".join(f"{key}={_value_text(value)}" for key, value in values.items())


def _value_text(value: Any) -> str:
    if value is None:
        return "null"
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def with_budgets(board: Leaderboard, tuning: Tuning, labels: Mapping[str, str]) -> Leaderboard:
    """Return a leaderboard with the columns `trials` (finished ones) and `failed_trials`, and with the tuning's notes.

    Parameters
    ----------
    labels
        What the leaderboard calls each objective: on several data, those of one loss are one row.
    """
    counts = tuning.objectives.assign(label=tuning.objectives["objective"].map(lambda name: labels.get(name, name)))
    sums = counts.groupby("label")[["finished", "failed"]].sum()
    objectives = board.table["objective"]
    table = board.table.assign(trials=objectives.map(sums["finished"]), failed_trials=objectives.map(sums["failed"]))
    return replace(board, table=table, notes=(*board.notes, *tuning.notes))
