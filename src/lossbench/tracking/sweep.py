"""A sweep in MLflow: its run, one run per objective under it, and under those the jobs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Self

import pandas as pd

from lossbench.tracking import read
from lossbench.tracking.artifacts import Artifacts
from lossbench.tracking.ending import Attempts, Record, delete_run, end_for
from lossbench.tracking.run import RunRecord
from lossbench.tracking.schema import (
    OF_JOBS_AND_REFERENCES,
    Artifact,
    EndStatus,
    Role,
    Status,
    Tag,
    having_status,
    tagged,
)
from lossbench.tracking.search import RunRow, search_runs
from lossbench.tracking.store.keys import tags_of
from lossbench.tracking.store.open import Store

_UNFINISHED = "ended with its sweep, unfinished"


class SweepRecord(Record):
    """The upper two of the three levels: sweep -> objective -> run.

    The sweep's process opens it before the first job and closes it whatever happens; jobs, in any process,
    start their own `RunRecord` with `parent=sweep.objectives[label]` and `sweep=sweep.id`. As a context
    manager it ends like a run; see :class:`lossbench.tracking.ending.Record`.

    Examples
    --------
    ::

        with SweepRecord.open(store, "losses_on_rings", objectives={"focal": {"loss": "focal"}}) as sweep:
            ...                                        # jobs
            sweep.end_unfinished("KILLED")
            frame = read.runs(store, sweep.id)
            sweep.close("FINISHED", summaries=..., leaderboard=..., note=...)
    """

    def __init__(self, store: Store, run: RunRecord, objectives: dict[str, RunRecord]) -> None:
        self.id = run.id
        self._store = store
        self._run = run
        self._objectives = objectives

    @classmethod
    def open(
        cls,
        store: Store,
        name: str,
        *,
        objectives: Mapping[str, Mapping[str, Any]],
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        left_out: Sequence[tuple[str, str]] = (),
    ) -> Self:
        """Create the sweep's run and those of its objectives.

        Parameters
        ----------
        objectives
            Label of each objective, with the params that define it (`{"loss": "focal"}`).
        tags
            Of the sweep's run: what `lossbench compare` needs later, as `lossbench.metric`,
            `lossbench.baseline`.
        left_out
            (overrides, reason) of jobs whose components cannot serve the task or each other.
        """
        run = RunRecord.start(store, name, role=Role.SWEEP, params=params, tags=tags)
        record = cls(store, run, {})
        try:
            run.tag(Tag.SWEEP, run.id)
            if left_out:
                entries = [{"overrides": overrides, "reason": reason} for overrides, reason in left_out]
                run.artifacts.json(entries, Artifact.LEFT_OUT)
            for label, defining in objectives.items():
                record._objectives[label] = record._start_objective(label, defining)
        except BaseException as error:
            record.end_by(error)
            raise
        return record

    @classmethod
    def reopen(
        cls,
        store: Store,
        run: RunRow,
        counting: Iterable[RunRow],
        *,
        objectives: Mapping[str, Mapping[str, Any]],
        tags: Mapping[str, Any] | None = None,
        left_out: Sequence[tuple[str, str]] = (),
    ) -> Self:
        """Continue a sweep that this process has taken over.

        Its references and the means of its objectives are derived again when it closes: an objective that has figures
        already is replaced, since MLflow's metrics can only be added to.

        Parameters
        ----------
        counting
            Jobs that are not done again; they move below the objectives that replace theirs.
        objectives, tags, left_out
            As in :meth:`open`.
        """
        record = cls(store, RunRecord.resume(store, run), {})
        client = store.client
        try:
            for key, value in tags_of({**(tags or {}), Tag.SWEEP: run.id}).items():
                client.set_tag(record.id, key, value)
            if Tag.ERROR in run.tags:
                client.delete_tag(record.id, Tag.ERROR)
            if left_out:
                entries = [{"overrides": overrides, "reason": reason} for overrides, reason in left_out]
                record.artifacts.json(entries, Artifact.LEFT_OUT)
            kept: dict[str, RunRow] = {}
            replaced: set[str] = set()
            for each in list(record._search(Role.OBJECTIVE)):
                label = each.tags.get(Tag.OBJECTIVE, "")
                if each.metrics or label in kept or label not in objectives:
                    replaced.add(each.id)
                else:
                    kept[label] = each
            for label, defining in objectives.items():
                record._objectives[label] = (
                    RunRecord.resume(store, kept[label]) if label in kept else record._start_objective(label, defining)
                )
            for job in counting:
                parent = record.objectives.get(job.tags.get(Tag.OBJECTIVE, ""))
                if parent is not None and job.tags.get(Tag.PARENT) != parent:
                    client.set_tag(job.id, Tag.PARENT, parent)
            for derived in [*replaced, *(each.id for each in record._search(Role.REFERENCE))]:
                delete_run(store, derived)
        except BaseException as error:
            record.end_by(error)
            raise
        return record

    def _start_objective(self, label: str, defining: Mapping[str, Any]) -> RunRecord:
        return RunRecord.start(
            self._store,
            label,
            role=Role.OBJECTIVE,
            params=defining,
            parent=self.id,
            sweep=self.id,
            objective=label,
        )

    @property
    def objectives(self) -> dict[str, str]:
        """The run id of each objective, by label."""
        return {label: record.id for label, record in self._objectives.items()}

    @property
    def artifacts(self) -> Artifacts:
        """Where the sweep's figures and report go."""
        return self._run.artifacts

    @property
    def ended(self) -> bool:
        return self._run.ended

    @property
    def status(self) -> EndStatus | None:
        """How the sweep ended, None while it runs."""
        return self._run.status

    def end_unfinished(self, status: EndStatus = Status.KILLED) -> list[str]:
        """End every job that is still RUNNING (its process is gone), and return their run ids."""
        of_sweep, running = tagged(Tag.SWEEP, self.id), having_status(Status.RUNNING)
        unfinished = [run.id for run in search_runs(self._store, of_sweep, OF_JOBS_AND_REFERENCES, running)]
        for run_id in unfinished:
            end_for(self._store, run_id, status, _UNFINISHED)
        return unfinished

    def close(
        self,
        status: EndStatus,
        *,
        unfinished: EndStatus = Status.KILLED,
        summaries: Mapping[str, Mapping[str, float]] | None = None,
        leaderboard: pd.DataFrame | None = None,
        note: str | None = None,
        metrics: Mapping[str, float] | None = None,
        error: str | None = None,
    ) -> None:
        """End everything: jobs that still run, the objectives with their figures, the sweep with its answer.

        Each part is tried, whatever became of the others, and the status is written last and always; the
        first problem is raised after that.

        Parameters
        ----------
        unfinished
            Status of jobs that are still RUNNING.
        summaries
            Final metrics of each objective, by label: means under the keys of its runs, `sd/...`, `n`,
            `difference/...` (`comparison.summary.summaries`). The mean curves of `val/...` are added here.
        leaderboard, note
            The table (kept as CSV and as the JSON that MLflow shows as a table), and the sweep's description
            in Markdown.
        metrics
            The few figures of the sweep's own run.
        error
            Traceback of what ended the sweep, kept as `traceback.txt`.
        """
        if self.ended:
            return
        attempts = Attempts()
        attempts.attempt(lambda: self.end_unfinished(unfinished))
        jobs = attempts.attempt(self._jobs) or {}
        for label, record in self._objectives.items():
            summary = (summaries or {}).get(label, {})
            attempts.attempt(partial(self._complete, record, jobs.get(label, []), summary, status))
            if record.status is None:
                attempts.attempt(record.kill)
        if leaderboard is not None:
            attempts.attempt(lambda: self._publish(leaderboard))
        if note is not None:
            attempts.attempt(lambda: self._run.tag(Tag.NOTE, note))
        attempts.attempt(lambda: self._finish(status, metrics, error))
        if not self.ended:
            attempts.attempt(lambda: self._store.client.set_terminated(self.id, status))
        attempts.raise_first()

    def finish(self) -> None:
        """Close the sweep as FINISHED, without an answer."""
        self.close(Status.FINISHED)

    def fail(self, traceback_text: str) -> None:
        """Close the sweep as FAILED, with what failed."""
        self.close(Status.FAILED, error=traceback_text)

    def kill(self) -> None:
        """Close the sweep as KILLED."""
        self.close(Status.KILLED)

    def _search(self, role: str) -> Iterator[RunRow]:
        return search_runs(self._store, tagged(Tag.SWEEP, self.id), tagged(Tag.ROLE, role))

    def _jobs(self) -> dict[str, list[RunRow]]:
        jobs: dict[str, list[RunRow]] = {}
        for run in self._search(Role.RUN):
            if not run.superseded:
                jobs.setdefault(run.tags.get(Tag.OBJECTIVE, ""), []).append(run.without_values())
        return jobs

    def _complete(
        self, record: RunRecord, jobs: Sequence[RunRow], summary: Mapping[str, float], status: EndStatus
    ) -> None:
        curve = read.mean_curve(self._store, [job for job in jobs if job.status == Status.FINISHED])
        keys = [str(key) for key in curve.columns if key != "epoch"]
        for epoch, *means in curve[["epoch", *keys]].itertuples(index=False):
            record.log([(int(epoch), dict(zip(keys, means, strict=True)))])
        record.finish(summary, _status_of({job.status for job in jobs}, status))

    def _publish(self, leaderboard: pd.DataFrame) -> None:
        self._run.artifacts.table(leaderboard, Artifact.LEADERBOARD)
        # MLflow's own log_table appends to what is there; this is the file that it would write.
        split = {"columns": list(leaderboard.columns), "data": leaderboard.astype(object).to_numpy().tolist()}
        self._run.artifacts.json(split, Artifact.LEADERBOARD_TABLE)
        self._run.tag(Tag.TABLES, json.dumps([{"path": Artifact.LEADERBOARD_TABLE, "type": "table"}]))

    def _finish(self, status: EndStatus, metrics: Mapping[str, float] | None, error: str | None) -> None:
        if status == Status.FAILED and error is not None:
            self._run.fail(error)
        else:
            self._run.finish(metrics, status)


def _status_of(statuses: set[str], sweep: EndStatus) -> EndStatus:
    """An objective is as good as its worst job; without any, it is as the sweep is."""
    if Status.FAILED in statuses:
        return Status.FAILED
    if statuses - {Status.FINISHED}:
        return Status.KILLED
    return Status.FINISHED if statuses else sweep
