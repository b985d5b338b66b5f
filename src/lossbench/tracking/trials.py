"""The tuning of one objective in MLflow: a run under the sweep's, and one run per trial under it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

from lossbench.tracking.run import RunRecord
from lossbench.tracking.schema import Artifact, Role, Status, Tag, tagged
from lossbench.tracking.search import RunRow, active_run, search_runs
from lossbench.tracking.store.open import Store
from lossbench.tracking.unfinished import supersede


class TuningRecord:
    """The record of a tuning and its trials, beside the three levels of the comparison: sweep -> tuning -> trial.

    Roles `tuning` and `trial` keep them apart from the jobs that are compared, and from the objectives that MLflow's
    charts show.
    """

    def __init__(self, store: Store, sweep: str, objective: str, run: RunRecord) -> None:
        self._store = store
        self._sweep = sweep
        self._objective = objective
        self._run = run

    @classmethod
    def open(
        cls,
        store: Store,
        sweep: str,
        objective: str,
        *,
        params: Mapping[str, Any],
        tags: Mapping[str, Any] | None = None,
        resumed: str | None = None,
    ) -> Self:
        """Create the run of an objective's tuning, or go on with that of a sweep that was interrupted."""
        run = None if resumed is None else active_run(store, resumed)
        if run is None:
            name = f"tuning · {objective}"
            started = RunRecord.start(
                store, name, role=Role.TUNING, params=params, tags=tags, parent=sweep, sweep=sweep, objective=objective
            )
            return cls(store, sweep, objective, started)
        store.client.update_run(run.id, status=Status.RUNNING)
        record = cls(store, sweep, objective, RunRecord(store, run.id, run.artifact_uri))
        record._move(run, parent=sweep)
        return record

    @property
    def id(self) -> str:
        return self._run.id

    def trial(
        self, number: int, *, params: Mapping[str, Any], metrics: Mapping[str, float], error: str | None = None
    ) -> str:
        """Record a trial that has ended, as FAILED where there is an error, and return its run's id."""
        run = RunRecord.start(
            self._store,
            f"trial {number} · {self._objective}",
            role=Role.TRIAL,
            params=params,
            tags={Tag.TRIAL: number},
            parent=self.id,
            sweep=self._sweep,
            objective=self._objective,
        )
        if error is None:
            run.finish(metrics)
        else:
            run.fail(error)
        return run.id

    def adopt(self, trials: Iterable[str]) -> None:
        """Take over trials of a sweep that was interrupted; one that is no longer in the store is passed over.

        A trial that was recorded but not yet kept in its study, because the process was killed between the two, is
        tried again: its first run counts no more.
        """
        kept = set(trials)
        for trial in kept:
            run = active_run(self._store, trial)
            if run is not None:
                self._move(run, parent=self.id)
        for run in search_runs(self._store, tagged(Tag.PARENT, self.id), tagged(Tag.ROLE, Role.TRIAL)):
            if run.id not in kept:
                supersede(self._store, run)

    def _move(self, run: RunRow, parent: str) -> None:
        for tag, value in ((Tag.PARENT, parent), (Tag.SWEEP, self._sweep)):
            if run.tags.get(tag) != value:
                self._store.client.set_tag(run.id, tag, value)

    def end(self, metrics: Mapping[str, float], table: Any, *, error: str | None = None) -> None:
        """Write the table of trials and the final metrics, and end the run."""
        self._run.artifacts.table(table, Artifact.TRIALS)
        if error is None:
            self._run.finish(metrics)
        else:
            self._run.fail(error)

    def end_by(self, error: BaseException) -> None:
        """End the run by what interrupted it, unless it has ended."""
        self._run.end_by(error)
