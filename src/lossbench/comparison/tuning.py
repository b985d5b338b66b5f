"""What a tuning found, as a comparison shows it: budgets, settings, trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Tuning:
    """The tunings of one or more sweeps.

    Parameters
    ----------
    metric, direction
        What trials were scored by on validation, and which way is better: ``max`` or ``min``.
    seeds
        Those that trials were scored on, which no compared run has.
    found
        One row per objective: `objective, finished, failed, default, best, best_trial, setting, importances`; `best` is
        missing where an objective was given up, `default` where the default setting failed.
    trials
        One row per trial: `objective, trial, state, value, sd, error` and a column for each hyperparameter.
    """

    metric: str
    direction: str
    seeds: Sequence[int]
    found: pd.DataFrame
    trials: pd.DataFrame

    @classmethod
    def read(cls, document: Mapping[str, Any], trials: pd.DataFrame) -> Tuning:
        """Return what a sweep kept as `tuning.json` and `trials.csv`."""
        found = pd.DataFrame(document["objectives"])
        numbers = ["default", "best"]
        found[numbers] = found[numbers].astype(float)
        return cls(document["metric"], document["direction"], document["seeds"], found, trials)

    def of(self, objective: str) -> pd.DataFrame:
        """Return the trials of an objective, in order."""
        return self.trials[self.trials["objective"] == objective].sort_values("trial")

    @property
    def notes(self) -> list[str]:
        """What a reader of a leaderboard must know of the budget."""
        finished = sorted(set(self.found["finished"]))
        budget = f"{finished[0]}" if len(finished) == 1 else f"{finished[0]} to {finished[-1]}"
        seeds = f"seed {self.seeds[0]}" if len(self.seeds) == 1 else f"the seeds {self.seeds[0]} to {self.seeds[-1]}"
        mean = f"{self.metric}" if len(self.seeds) == 1 else f"mean {self.metric}"
        lines = [
            f"tuned: {budget} finished trials for each objective, the default setting the first, by {mean} over "
            f"{seeds}, which no run compared here has; none was pruned"
        ]
        failed = {row["objective"]: row["failed"] for row in self.found.to_dict("records") if row["failed"]}
        if failed:
            lines.append(f"failed trials, replaced by others: {', '.join(f'{k} {n}' for k, n in failed.items())}")
        lost = self.found.loc[self.found["best"].isna(), "objective"].tolist()
        if lost:
            lines.append(f"given up, since too many trials failed: {', '.join(lost)}")
        return lines

    @property
    def settings(self) -> list[tuple[str, str]]:
        """(objective, what was found for it), the setting as a command line has it."""
        return [(str(row["objective"]), self._said(row)) for row in self.found.to_dict("records")]

    def _said(self, row: Mapping[Any, Any]) -> str:
        if row["best"] != row["best"]:
            return "given up"
        default = "failed" if row["default"] != row["default"] else f"{row['default']:.4f}"
        gain = "the default" if row["best_trial"] == 0 else f"default {default}"
        return f"{setting(row['setting'])}  ({self.metric} {row['best']:.4f}, {gain})"


def joined(tunings: Sequence[Tuning]) -> Tuning | None:
    """Return the tunings of several sweeps as one; None without any."""
    if not tunings:
        return None
    first = tunings[0]
    return Tuning(
        first.metric,
        first.direction,
        sorted({seed for each in tunings for seed in each.seeds}),
        pd.concat([each.found for each in tunings], ignore_index=True),
        pd.concat([each.trials for each in tunings], ignore_index=True),
    )


def setting(values: Mapping[str, Any]) -> str:
    """Return a setting as a command line has it.

    >>> setting({"loss.gamma": 1.5, "optimizer.weight_decay": 0.0})
    'loss.gamma=1.5 optimizer.weight_decay=0'
    """
    return " ".join(f"{key}={_text(value)}" for key, value in values.items())


def _text(value: Any) -> str:
    if value is None:
        return "null"
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def add_budgets(table: pd.DataFrame, tuning: Tuning, labels: Mapping[str, str]) -> None:
    """Add the columns `trials` (finished ones) and `failed_trials` to a leaderboard, and its notes.

    Parameters
    ----------
    labels
        What the leaderboard calls each objective: on several data, those of one loss are one row.
    """
    counts = tuning.found.assign(label=tuning.found["objective"].map(lambda name: labels.get(name, name)))
    sums = counts.groupby("label")[["finished", "failed"]].sum()
    table["trials"] = table["objective"].map(sums["finished"])
    table["failed_trials"] = table["objective"].map(sums["failed"])
    table.attrs["notes"] += tuning.notes
