"""A sweep in MLflow: its run, one run per objective under it, and under those the jobs."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

import pandas as pd

from lossbench.tracking import read
from lossbench.tracking.artifacts import Artifacts
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
from lossbench.tracking.store.client import Run, RunInfo
from lossbench.tracking.store.keys import tags_of
from lossbench.tracking.store.open import Store

_log = logging.getLogger(__name__)
_UNFINISHED = "ended with its sweep, unfinished"


class SweepRecord:
    """The upper two of the three levels: sweep -> objective -> run.

    The sweep's process opens it before the first job and closes it whatever happens; jobs, in any process,
    start their own `RunRecord` with `parent=sweep.objectives[label]` and `sweep=sweep.id`. As a context
    manager it ends like a run: FINISHED, FAILED by an exception, KILLED by Ctrl-C.

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
            record._end_by(error)
            raise
        return record

    @classmethod
    def reopen(
        cls,
        store: Store,
        run: Run,
        counting: Iterable[Run],
        *,
        objectives: Mapping[str, Mapping[str, Any]],
        tags: Mapping[str, Any] | None = None,
        left_out: Sequence[tuple[str, str]] = (),
    ) -> Self:
        """Continue a sweep that this process has taken over.

        What was derived from its jobs (an objective's means, the references) is derived again when it closes: an
        objective that has figures already is replaced, since MLflow's metrics can only be added to.

        Parameters
        ----------
        counting
            Jobs that are not done again; they move below the objectives that replace theirs.
        objectives, tags, left_out
            As in :meth:`open`.
        """
        record = cls(store, RunRecord.again(store, run), {})
        client = store.client
        try:
            for key, value in tags_of({**(tags or {}), Tag.SWEEP: run.info.run_id}).items():
                client.set_tag(record.id, key, value)
            if Tag.ERROR in run.data.tags:
                client.delete_tag(record.id, Tag.ERROR)
            if left_out:
                entries = [{"overrides": overrides, "reason": reason} for overrides, reason in left_out]
                record.artifacts.json(entries, Artifact.LEFT_OUT)
            kept: dict[str, Run] = {}
            replaced: set[str] = set()
            for each in list(read.search(store, record._having(Role.OBJECTIVE))):
                label = each.data.tags.get(Tag.OBJECTIVE, "")
                if each.data.metrics or label in kept or label not in objectives:
                    replaced.add(each.info.run_id)
                else:
                    kept[label] = each
            for label, defining in objectives.items():
                record._objectives[label] = (
                    RunRecord.again(store, kept[label]) if label in kept else record._start_objective(label, defining)
                )
            for job in counting:
                parent = record.objectives.get(job.data.tags.get(Tag.OBJECTIVE, ""))
                if parent is not None and job.data.tags.get(Tag.PARENT) != parent:
                    client.set_tag(job.info.run_id, Tag.PARENT, parent)
            for derived in [
                *replaced,
                *(each.info.run_id for each in read.search(store, record._having(Role.REFERENCE))),
            ]:
                client.set_terminated(derived, Status.KILLED)
                client.delete_run(derived)
        except BaseException as error:
            record._end_by(error)
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
    def id(self) -> str:
        return self._run.id

    @property
    def objectives(self) -> dict[str, str]:
        """The run id of each objective, by label."""
        return {label: record.id for label, record in self._objectives.items()}

    @property
    def artifacts(self) -> Artifacts:
        """Where the sweep's figures and report go."""
        return self._run.artifacts

    @property
    def status(self) -> EndStatus | None:
        """How the sweep ended, None while it runs."""
        return self._run.status

    def end_unfinished(self, status: EndStatus = Status.KILLED) -> list[str]:
        """End every job that is still RUNNING (its process is gone), and return their run ids."""
        running = read.search(
            self._store,
            f"{tagged(Tag.SWEEP, self.id)} AND {OF_JOBS_AND_REFERENCES} AND {having_status(Status.RUNNING)}",
        )
        ended = []
        for run in list(running):
            self._store.client.set_tag(run.info.run_id, Tag.ERROR, _UNFINISHED)
            self._store.client.set_terminated(run.info.run_id, status)
            ended.append(run.info.run_id)
        return ended

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
        if self.status is not None:
            return
        problems = _Problems()
        problems.guard(lambda: self.end_unfinished(unfinished))
        jobs = problems.guard(self._jobs) or {}
        for label, record in self._objectives.items():
            summary = (summaries or {}).get(label, {})
            problems.guard(partial(self._complete, record, jobs.get(label, []), summary, status))
            if record.status is None:
                problems.guard(record.kill)
        if leaderboard is not None:
            problems.guard(lambda: self._publish(leaderboard))
        if note is not None:
            problems.guard(lambda: self._run.tag(Tag.NOTE, note))
        problems.guard(lambda: self._finish(status, metrics, error))
        if self.status is None:
            problems.guard(lambda: self._store.client.set_terminated(self.id, status))
        problems.raise_first()

    def _having(self, role: str) -> str:
        return f"{tagged(Tag.SWEEP, self.id)} AND {tagged(Tag.ROLE, role)}"

    def _jobs(self) -> dict[str, list[RunInfo]]:
        # Without their metrics and params: those of ten thousand runs take a gigabyte.
        jobs: dict[str, list[RunInfo]] = {}
        for run in read.search(self._store, self._having(Role.RUN)):
            if Tag.SUPERSEDED not in run.data.tags:
                jobs.setdefault(run.data.tags.get(Tag.OBJECTIVE, ""), []).append(run.info)
        return jobs

    def _complete(
        self, record: RunRecord, jobs: Sequence[RunInfo], summary: Mapping[str, float], status: EndStatus
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if error is None:
            self.close(Status.FINISHED)
        else:
            self._end_by(error)

    def _end_by(self, error: BaseException) -> None:
        try:
            if isinstance(error, Exception):
                self.close(Status.FAILED, error="".join(traceback.format_exception(error)))
            else:
                self.close(Status.KILLED)
        except Exception as broken:
            error.add_note(f"the record of sweep {self.id} is incomplete: {broken}")


class _Problems:
    """Steps that must all be tried: the first exception is kept, the others are logged."""

    def __init__(self) -> None:
        self._first: Exception | None = None

    def guard(self, step: Callable[[], Any]) -> Any:
        try:
            return step()
        except Exception as error:
            if self._first is None:
                self._first = error
            else:
                _log.warning("closing the sweep: %s", error)
            return None

    def raise_first(self) -> None:
        if self._first is not None:
            raise self._first


def _status_of(statuses: set[str], sweep: EndStatus) -> EndStatus:
    """An objective is as good as its worst job; without any, it is as the sweep is."""
    if Status.FAILED in statuses:
        return Status.FAILED
    if statuses - {Status.FINISHED}:
        return Status.KILLED
    return Status.FINISHED if statuses else sweep
