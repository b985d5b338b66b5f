"""The trials of one objective: drawn by Optuna, and kept in a journal from which a tuning continues."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lossbench.sweep.tuning.domain import Domain

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

_NAME = "lossbench"
_WAVE = "wave"  # how many settings will have been drawn when the present wave is


@dataclass(frozen=True)
class Trial:
    """A setting to try: hyperparameters by dotted key."""

    number: int
    values: dict[str, Any]


@dataclass(frozen=True)
class EndedTrial:
    """A trial that has ended.

    Parameters
    ----------
    state
        ``finished`` or ``failed``; nothing is pruned, since budgets would no longer be equal.
    value
        Mean of the metric over the tuning seeds; None where it failed.
    spread
        Standard deviation over the tuning seeds (n - 1); None for one seed.
    run
        Its run in MLflow.
    """

    number: int
    values: dict[str, Any]
    state: Literal["finished", "failed"]
    value: float | None
    spread: float | None = None
    run: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Sampling:
    """How a study draws: a sampler for each trial, by a seed, so that what is continued goes on as it would have."""

    key: str
    sampler: Callable[[int], BaseSampler] = field(repr=False)

    def of(self, trial: int) -> BaseSampler:
        hashed = hashlib.blake2b(f"{self.key}/{trial}".encode(), digest_size=4).digest()
        return self.sampler(int.from_bytes(hashed, "big"))


class Study:
    """The trials of one objective.

    Parameters
    ----------
    path
        The journal; made where it is missing, continued where it is there. One process at a time.
    domains
        What is drawn.
    start
        What Optuna draws first: the setting that the objective has by default.
    sampling, direction
        How it draws, and which way is better.
    """

    def __init__(
        self,
        path: Path,
        domains: Sequence[Domain],
        start: Mapping[str, Any],
        sampling: Sampling,
        direction: Literal["maximize", "minimize"],
    ) -> None:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.domains = {domain.key: domain for domain in domains}
        self._sampling = sampling
        self._study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(path))),
            study_name=_NAME,
            direction=direction,
            load_if_exists=True,
            sampler=sampling.of(0),
        )
        self._start = dict(start)
        self._distributions = {domain.key: domain.distribution() for domain in domains}
        if not self._trials():
            self._study.enqueue_trial(self._start)

    @property
    def record(self) -> str | None:
        """The run that its trials are recorded under."""
        run: str | None = self._study.user_attrs.get("record")
        return run

    @record.setter
    def record(self, run: str) -> None:
        self._study.set_user_attr("record", run)

    def next(self, most: int) -> list[Trial]:
        """Return so many settings to try; after an interruption, those of the same wave that did not end.

        Settings of the wave that had not been drawn are drawn now, as they would have been: a sampler sees which
        trials have ended, so that waves cut elsewhere would try other settings.
        """
        from optuna.trial import TrialState

        waiting = [trial for trial in self._trials() if trial.state == TrialState.RUNNING]
        whole = [trial for trial in waiting if set(trial.params) == set(self.domains)]
        for trial in waiting:
            if trial not in whole:  # interrupted while it was drawn: never tried, and so not counted
                self._study.tell(trial.number, state=TrialState.FAIL)
                if trial.number == 0:
                    self._study.enqueue_trial(self._start)
        if not whole:
            self._study.set_user_attr(_WAVE, self._drawn() + most)
        missing = self._study.user_attrs.get(_WAVE, 0) - self._drawn()
        again = [Trial(trial.number, self._values(trial.params)) for trial in whole]
        return again + [self._ask() for _ in range(missing)]

    def _drawn(self) -> int:
        """Return how many settings have been drawn to the end."""
        from optuna.trial import TrialState

        ended = self._study.user_attrs
        trials = [trial for trial in self._trials() if trial.state != TrialState.WAITING]
        return sum(trial.state != TrialState.FAIL or str(trial.number) in ended for trial in trials)

    def _ask(self) -> Trial:
        # The first one waits from the beginning.
        self._study.sampler = self._sampling.of(max(1, self._drawn()))
        trial = self._study.ask(self._distributions)
        return Trial(trial.number, self._values(trial.params))

    def tell(
        self, trial: Trial, value: float | None, *, spread: float | None = None, run: str, error: str | None = None
    ) -> None:
        """Say how a trial ended; without a value it failed."""
        from optuna.trial import TrialState

        self._study.set_user_attr(str(trial.number), {"run": run, "spread": spread, "error": error})
        self._study.tell(trial.number, value, state=TrialState.COMPLETE if value is not None else TrialState.FAIL)

    def ended(self) -> list[EndedTrial]:
        """Return every trial that was tried and has ended, in order."""
        from optuna.trial import TrialState

        notes = self._study.user_attrs
        return [
            EndedTrial(
                trial.number,
                self._values(trial.params),
                "finished" if trial.state == TrialState.COMPLETE else "failed",
                trial.value if trial.state == TrialState.COMPLETE else None,
                **notes[str(trial.number)],
            )
            for trial in self._trials()
            if trial.state.is_finished() and str(trial.number) in notes
        ]

    def count(self, state: str) -> int:
        return sum(trial.state == state for trial in self.ended())

    def ranked(self) -> list[EndedTrial]:
        """Return the finished trials, best first, of equals the earliest."""
        scored = [(trial.value, trial) for trial in self.ended() if trial.value is not None]
        sign = -1 if self._study.direction.name == "MAXIMIZE" else 1
        return [trial for _, trial in sorted(scored, key=lambda pair: (sign * pair[0], pair[1].number))]

    def confirmed(self, protocol: str) -> dict[int, list[float]] | None:
        """Return what the best trials scored on further seeds, by number; None where that is still to be done.

        By another protocol, or among fewer trials than there are now, it is.
        """
        kept = self._study.user_attrs.get("confirmed")
        if kept is None or (kept["protocol"], kept["finished"]) != (protocol, self.count("finished")):
            return None
        return {int(number): values for number, values in kept["values"].items()}

    def confirm(self, protocol: str, values: Mapping[int, Sequence[float]]) -> None:
        """Keep the scores of trials on further seeds."""
        scores = {str(number): list(each) for number, each in values.items()}
        self._study.set_user_attr(
            "confirmed", {"protocol": protocol, "finished": self.count("finished"), "values": scores}
        )

    def importances(self) -> dict[str, float]:
        """Return the share of the variance due to each hyperparameter (fANOVA); empty where all values agree.

        Hutter, Hoos & Leyton-Brown 2014, https://proceedings.mlr.press/v32/hutter14.html
        """
        from optuna.importance import FanovaImportanceEvaluator, get_param_importances

        values = {trial.value for trial in self.ended() if trial.value is not None}
        if len(values) < 2:
            return {}
        shares = get_param_importances(self._study, evaluator=FanovaImportanceEvaluator(seed=0))
        return {key: float(share) for key, share in shares.items()}

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _values(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        return {key: domain.value(drawn[key]) for key, domain in self.domains.items() if key in drawn}
