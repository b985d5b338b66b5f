"""One objective while it is tuned: its study, its record, and the trainings that its trials need."""

from __future__ import annotations

import math
import statistics
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from lossbench.config.build import build_component
from lossbench.errors import UserError
from lossbench.sweep.tuning.confirm import Confirmed, choose, confirm, pick_candidates
from lossbench.sweep.tuning.plan import Plan, Subject
from lossbench.sweep.tuning.study import EndedTrial, Sampling, Study, Trial
from lossbench.sweep.tuning.tuned import Tuned, tabulate_trials
from lossbench.tracking.schema import version_tag
from lossbench.tracking.trials import TuningRecord

if TYPE_CHECKING:
    from pathlib import Path

    from lossbench.tracking.store.open import Store

Figures = dict[str, float]


@dataclass(frozen=True)
class Attempt:
    """One training of a trial, under one tuning seed."""

    overrides: tuple[str, ...]
    config: dict[str, Any]


class RunningTuning:
    """The tuning of one objective."""

    def __init__(self, plan: Plan, subject: Subject, study: Study, record: TuningRecord) -> None:
        self._settings = plan.settings
        self._subject = subject
        self.study = study
        self.record = record
        self._replicates = list(plan.replicates(subject, plan.settings.tuning_seeds))
        self._protocol = f"{plan.settings.confirm} of {plan.settings.further_seeds}"
        self._further = list(plan.replicates(subject, plan.settings.further_seeds))

    def next(self) -> list[Trial]:
        """Return the settings of the next wave; none when the budget is spent or the objective is given up."""
        missing = self._settings.trials - self.study.count("finished")
        return [] if self._abandoned or missing <= 0 else self.study.next(min(self._settings.batch, missing))

    @property
    def _abandoned(self) -> bool:
        return self.study.count("failed") > self._settings.max_failed

    def attempts(self, trial: Trial, *, further: bool = False) -> Iterator[Attempt]:
        """Yield the trainings of a trial under the tuning seeds, or under the further ones."""
        for replicate in self._further if further else self._replicates:
            values = {**trial.values, **replicate, "job.trial": True}
            overrides = tuple(f"{key}={format_value(value)}" for key, value in values.items())
            yield Attempt((*self._subject.overrides, *overrides), self._subject.config(values))

    def tell(self, trial: Trial, ends: Sequence[Figures | BaseException]) -> None:
        """Record a trial and tell its study, in this order: one that was recorded alone is tried again."""
        metric = self._settings.metric
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
        if not self._settings.confirm or self._abandoned or self.study.confirmed(self._protocol) is not None:
            return []
        best = pick_candidates(self.study.ranked(), self._settings.confirm)
        return [Trial(trial.number, trial.values) for trial in best]

    def confirm(self, ends: Mapping[int, Sequence[Figures | BaseException]]) -> None:
        """Keep the scores of trials on further seeds; none of a trial that failed on one of them."""
        metric = self._settings.metric
        scores = {
            number: [math.nan if isinstance(end, BaseException) else end[metric] for end in each]
            for number, each in ends.items()
        }
        kept = {number: [] if any(map(math.isnan, values)) else values for number, values in scores.items()}
        self.study.confirm(self._protocol, kept)

    def _best(self, confirmed: Sequence[Confirmed]) -> EndedTrial | None:
        if self._abandoned:
            return None
        ranked = self.study.ranked()
        number = choose(confirmed, self._settings.direction == "maximize") if confirmed else None
        return next((trial for trial in ranked if trial.number == number), ranked[0])

    def end(self) -> Tuned:
        """End the record, and return what the tuning ends in."""
        confirmed = confirm(self.study.confirmed(self._protocol) or {}, self._settings.direction == "maximize")
        tuned = Tuned(
            self._subject.objective,
            self.study.ended(),
            self._best(confirmed),
            confirmed,
            self.study.importances(),
            self.record.id,
            {domain.key: str(domain) for domain in self._subject.domains},
            self.study.path,
        )
        counts = {state: float(tuned.count(state)) for state in ("finished", "failed")}
        if tuned.best is None:
            last = next(trial.error for trial in reversed(tuned.trials) if trial.error)
            error = f"more than {self._settings.max_failed} trials failed; the last: {last}"
            self.record.end(counts, tabulate_trials([tuned]), error=error)
        else:
            figures = _recorded_figures(tuned, tuned.best, self._settings.metric)
            self.record.end({**counts, **figures}, tabulate_trials([tuned]))
        return tuned


def _recorded_figures(tuned: Tuned, best: EndedTrial, metric: str) -> Figures:
    """Return the metrics of a tuning's run, less its numbers of trials."""
    assert best.value is not None
    default = tuned.trials[0].value
    confirmed = {
        f"confirmed/{name}/{metric}": each.value
        for name, number in (("default", 0), ("best", best.number))
        for each in tuned.confirmed
        if each.number == number and each.value is not None
    }
    return {
        metric: best.value,
        "best_trial": float(best.number),
        **({} if default is None else {f"default/{metric}": default}),
        **confirmed,
        **{f"importance/{key}": share for key, share in tuned.importances.items()},
    }


@contextmanager
def open_tuning(plan: Plan, subject: Subject, store: Store, sweep: str) -> Iterator[RunningTuning]:
    """Open a subject's study and record, which no other process may have."""
    settings, sampler = plan.settings, plan.settings.sampler
    journal = journal_folder(store.mlruns) / f"{subject.key}.journal"
    journal.parent.mkdir(parents=True, exist_ok=True)
    sampling = Sampling(
        # Not the key, which changes with every key that a later version adds to the config.
        f"{subject.objective} by {settings.metric}",
        lambda seed: build_component({**sampler, "seed": seed}, "tuning.sampler"),
    )
    try:
        lock = FileLock(lock_path(journal), timeout=0).acquire()
    except Timeout as error:
        raise UserError(
            f"another process is tuning {subject.objective} in the same way: wait for it, or end it"
        ) from error
    with lock:
        study = Study(journal, subject.domains, subject.start, sampling, settings.direction)
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
            tags={version_tag("optuna"): version("optuna")},
            resumed=study.record,
        )
        try:
            study.record = record.id
            record.adopt(trial.run for trial in study.ended() if trial.run is not None)
            yield RunningTuning(plan, subject, study, record)
        except BaseException as error:
            record.end_by(error)
            raise


def journal_folder(mlruns: Path) -> Path:
    """Return the folder of the journals from which interrupted tunings continue."""
    return mlruns / "tuning"


def lock_path(journal: Path) -> Path:
    """Return the file that one process locks while it uses a journal."""
    return journal.with_suffix(".lock")


def format_value(value: Any) -> str:
    """Return a scalar as Hydra's grammar has it.

    >>> format_value(0.01), format_value(None), format_value(True), format_value("a b")
    ('0.01', 'null', 'true', '"a b"')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)
