"""Tune every objective of a sweep by the same budget: wave by wave, all objectives together."""

from __future__ import annotations

import math
import statistics
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from filelock import FileLock, Timeout

from lossbench.config.build import build_component
from lossbench.errors import UserError
from lossbench.sweep.tuning.confirm import Confirmed, candidates, choose, confirm
from lossbench.sweep.tuning.plan import Plan, Subject
from lossbench.sweep.tuning.study import Sampling, Study, Told, Trial
from lossbench.tracking.trials import TuningRecord

if TYPE_CHECKING:
    from lossbench.tracking.store.open import Store

Figures = dict[str, float]


@dataclass(frozen=True)
class Attempt:
    """One training of a trial, under one tuning seed."""

    overrides: tuple[str, ...]
    config: dict[str, Any]


# Trains attempts, and returns the validation figures of each or what broke it.
Launch = Callable[[Sequence[Attempt]], Sequence[Figures | BaseException]]


@dataclass(frozen=True)
class Tuned:
    """What a tuning found for one objective.

    Parameters
    ----------
    trials
        All that ended, in order; the first is the default setting.
    best
        The one that is kept, as `confirming.choose` says; None where the objective was given up, since more than
        ``tuning.max_failed`` of its trials failed.
    confirmed
        The default and the best of the others on further seeds; empty with ``tuning.confirm=0``, where the best trial
        is kept, of equals the earliest.
    importances
        Share of the variance by hyperparameter.
    run
        Its run in MLflow.
    """

    objective: str
    trials: Sequence[Told]
    best: Told | None
    confirmed: Sequence[Confirmed]
    importances: Mapping[str, float]
    run: str
    domains: Mapping[str, str]
    journal: Path

    def count(self, state: str) -> int:
        return sum(trial.state == state for trial in self.trials)


def journals(mlruns: Path) -> Path:
    """Return the folder of the journals from which interrupted tunings continue."""
    return mlruns / "tuning"


def tune(plan: Plan, store: Store, sweep: str, launch: Launch, say: Callable[[str], None]) -> list[Tuned]:
    """Try settings until every objective has its number of finished trials, and return what was found.

    An interruption leaves the journals as they are: the same command goes on from there.

    Parameters
    ----------
    store, sweep
        Where trials are recorded, and the run above them.
    launch
        Trains the attempts of a wave.
    say
        Takes a line for a person.
    """
    with ExitStack() as stack:
        running = [stack.enter_context(_running(plan, subject, store, sweep)) for subject in plan.subjects]
        before = sum(len(one.study.told()) for one in running)
        if before:
            say(f"tuning continues: {before} trials of an interrupted sweep count")
        while wave := [(one, trial) for one in running for trial in one.next()]:
            attempts = [attempt for one, trial in wave for attempt in one.attempts(trial)]
            ends = iter(launch(attempts))
            for one, trial in wave:
                one.tell(trial, [next(ends) for _ in range(plan.settings.seeds)])
        again = [(one, trial) for one in running for trial in one.unconfirmed()]
        if again:
            ends = iter(launch([attempt for one, trial in again for attempt in one.attempts(trial, further=True)]))
            scores: dict[_Running, dict[int, Sequence[Figures | BaseException]]] = {}
            for one, trial in again:
                scores.setdefault(one, {})[trial.number] = [next(ends) for _ in plan.settings.further_seeds]
            for one, found in scores.items():
                one.confirm(found)
        return [one.end() for one in running]


def seal(tuned: Sequence[Tuned], sweep: str) -> None:
    """Keep the journals of a finished sweep under its id: the same command then tunes anew."""
    for one in tuned:
        one.journal.rename(one.journal.with_name(f"{one.journal.stem}-{sweep}.journal"))
        _lock_of(one.journal).unlink(missing_ok=True)


def _lock_of(journal: Path) -> Path:
    return journal.with_suffix(".lock")


class _Running:
    """One objective while it is tuned."""

    def __init__(self, plan: Plan, subject: Subject, study: Study, record: TuningRecord) -> None:
        self._plan = plan
        self._subject = subject
        self.study = study
        self.record = record
        self._replicates = list(plan.replicates(subject, plan.settings.tuning_seeds))
        self._protocol = f"{plan.settings.confirm} of {plan.settings.further_seeds}"
        self._further = list(plan.replicates(subject, plan.settings.further_seeds))

    def next(self) -> list[Trial]:
        """Return the settings of the next wave; none when the budget is spent or the objective is given up."""
        settings = self._plan.settings
        missing = settings.trials - self.study.count("finished")
        return [] if self._given_up or missing <= 0 else self.study.next(min(settings.batch, missing))

    @property
    def _given_up(self) -> bool:
        return self.study.count("failed") > self._plan.settings.max_failed

    def attempts(self, trial: Trial, *, further: bool = False) -> Iterator[Attempt]:
        """Yield the trainings of a trial under the tuning seeds, or under the further ones."""
        for values in self._further if further else self._replicates:
            own = {**trial.values, **values, "job.trial": True}
            overrides = tuple(f"{key}={text(value)}" for key, value in own.items())
            yield Attempt((*self._subject.overrides, *overrides), self._subject.config(own))

    def tell(self, trial: Trial, ends: Sequence[Figures | BaseException]) -> None:
        """Record a trial and tell its study, in this order: one that was recorded alone is tried again."""
        metric = self._plan.settings.metric
        broken = next((end for end in ends if isinstance(end, BaseException)), None)
        figures = [end for end in ends if not isinstance(end, BaseException)]
        error = None if broken is None else "".join(traceback.format_exception_only(broken)).strip()
        if error is None and any(end[metric] != end[metric] for end in figures):
            error = f"{metric} is undefined on the validation rows of a tuning seed"
        if error is not None:
            run = self.record.trial(trial.number, params=trial.values, metrics={}, error=error)
            self.study.tell(trial, None, run=run, error=error.splitlines()[-1])
            return
        means = {key: statistics.fmean(end[key] for end in figures) for key in figures[0]}
        spreads = {}
        if len(figures) > 1:
            spreads = {f"sd/{metric}": statistics.stdev(end[metric] for end in figures)}
        run = self.record.trial(trial.number, params=trial.values, metrics={**means, **spreads})
        self.study.tell(trial, means[metric], spread=spreads.get(f"sd/{metric}"), run=run)

    def unconfirmed(self) -> list[Trial]:
        """Return the trials that are to be scored on further seeds."""
        settings = self._plan.settings
        if not settings.confirm or self._given_up or self.study.confirmed(self._protocol) is not None:
            return []
        return [Trial(each.number, each.values) for each in candidates(self.study.ranked(), settings.confirm)]

    def confirm(self, found: Mapping[int, Sequence[Figures | BaseException]]) -> None:
        """Keep what trials scored on further seeds; nothing of one that failed there."""
        metric = self._plan.settings.metric
        scores = {
            number: [math.nan if isinstance(end, BaseException) else end[metric] for end in ends]
            for number, ends in found.items()
        }
        kept = {number: [] if any(map(math.isnan, values)) else values for number, values in scores.items()}
        self.study.confirm(self._protocol, kept)

    def _best(self, confirmed: Sequence[Confirmed]) -> Told | None:
        if self._given_up:
            return None
        ranked = self.study.ranked()
        number = choose(confirmed, self._plan.settings.direction == "maximize") if confirmed else None
        return next((trial for trial in ranked if trial.number == number), ranked[0])

    def end(self) -> Tuned:
        """End the record, and return what was found."""
        trials = self.study.told()
        confirmed = confirm(self.study.confirmed(self._protocol) or {}, self._plan.settings.direction == "maximize")
        best = self._best(confirmed)
        found = Tuned(
            self._subject.objective,
            trials,
            best,
            confirmed,
            self.study.importances(),
            self.record.id,
            {domain.key: str(domain) for domain in self._subject.domains},
            self.study.path,
        )
        counts = {state: float(found.count(state)) for state in ("finished", "failed")}
        if best is None:
            last = next(trial.error for trial in reversed(trials) if trial.error)
            error = f"more than {self._plan.settings.max_failed} trials failed; the last: {last}"
            self.record.end(counts, table([found]), error=error)
        else:
            assert best.value is not None
            metric = self._plan.settings.metric
            default = {} if trials[0].value is None else {f"default/{metric}": trials[0].value}
            shares = {f"importance/{key}": share for key, share in found.importances.items()}
            again = {
                f"confirmed/{name}/{metric}": each.value
                for name, number in (("default", 0), ("best", best.number))
                for each in confirmed
                if each.number == number and each.value is not None
            }
            values = {metric: best.value, "best_trial": float(best.number), **default, **again, **shares}
            self.record.end({**counts, **values}, table([found]))
        return found


@contextmanager
def _running(plan: Plan, subject: Subject, store: Store, sweep: str) -> Iterator[_Running]:
    """Open a subject's study and record, which no other process may have."""
    settings = plan.settings
    path = journals(store.mlruns) / f"{subject.key}.journal"
    path.parent.mkdir(parents=True, exist_ok=True)
    sampler = settings.sampler
    sampling = Sampling(
        # Not the key, which changes with every key that a later version adds to the config.
        f"{subject.objective} by {settings.metric}",
        lambda seed: build_component({**sampler, "seed": seed}, "tuning.sampler"),
    )
    try:
        lock = FileLock(_lock_of(path), timeout=0).acquire()
    except Timeout as error:
        raise UserError(
            f"another process is tuning {subject.objective} in the same way: wait for it, or end it"
        ) from error
    with lock:
        study = Study(path, subject.domains, subject.start, sampling, settings.direction)
        record = TuningRecord.open(
            store,
            sweep,
            subject.objective,
            params={
                "trials": settings.trials,
                "seeds": settings.seeds,
                "first_seed": settings.first_seed,
                "confirm": settings.confirm,
                "confirm_seeds": settings.confirm_seeds,
                "metric": settings.metric,
                **{f"space.{domain.key}": str(domain) for domain in subject.domains},
            },
            tags={"version.optuna": version("optuna")},
            earlier=study.record,
        )
        try:
            study.record = record.id
            record.adopt(trial.run for trial in study.told() if trial.run is not None)
            yield _Running(plan, subject, study, record)
        except BaseException as error:
            record.end_by(error)
            raise


def table(tuned: Sequence[Tuned]) -> pd.DataFrame:
    """Return every trial as a row, with what it scored on further seeds (`confirmed`) and the p of its gain there."""
    again = {one.objective: {each.number: each for each in one.confirmed} for one in tuned}
    return pd.DataFrame(
        [
            {
                "objective": one.objective,
                "trial": trial.number,
                "state": trial.state,
                "value": trial.value,
                "sd": trial.spread,
                "error": trial.error,
                "confirmed": None if (each := again[one.objective].get(trial.number)) is None else each.value,
                "p": None if each is None else each.p,
                **trial.values,
            }
            for one in tuned
            for trial in one.trials
        ]
    )


def text(value: Any) -> str:
    """Return a scalar as Hydra's grammar has it.

    >>> text(0.01), text(None), text(True), text("a b")
    ('0.01', 'null', 'true', '"a b"')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)
