"""The end of a tuning: the best setting of an objective, and all trials that led to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lossbench.sweep.tuning.confirm import Confirmed
from lossbench.sweep.tuning.study import EndedTrial


@dataclass(frozen=True)
class Tuned:
    """The tuning of one objective.

    Parameters
    ----------
    trials
        All that ended, in order; the first is the default setting.
    best
        The one that is kept, as :func:`lossbench.sweep.tuning.confirm.choose` says; None where the objective was given
        up, since more than ``tuning.max_failed`` of its trials failed.
    confirmed
        The default and the best of the others on further seeds; empty with ``tuning.confirm=0``, where the best trial
        is kept, of equals the earliest.
    importances
        Share of the variance by hyperparameter.
    run
        The id of its run in MLflow.
    domains
        What each hyperparameter could be, in words.
    journal
        The file from which an interrupted tuning continues.
    """

    objective: str
    trials: Sequence[EndedTrial]
    best: EndedTrial | None
    confirmed: Sequence[Confirmed]
    importances: Mapping[str, float]
    run: str
    domains: Mapping[str, str]
    journal: Path

    def count(self, state: str) -> int:
        """Return the number of trials that ended as ``finished`` or ``failed``."""
        return sum(trial.state == state for trial in self.trials)


def tabulate_trials(tunings: Sequence[Tuned]) -> pd.DataFrame:
    """Return every trial as a row, with its score on further seeds (`confirmed`) and the p of its gain there."""
    rows = []
    for tuned in tunings:
        confirmed = {each.number: each for each in tuned.confirmed}
        for trial in tuned.trials:
            again = confirmed.get(trial.number)
            rows.append(
                {
                    "objective": tuned.objective,
                    "trial": trial.number,
                    "state": trial.state,
                    "value": trial.value,
                    "sd": trial.spread,
                    "error": trial.error,
                    "confirmed": None if again is None else again.value,
                    "p": None if again is None else again.p,
                    **trial.values,
                }
            )
    return pd.DataFrame(rows)
