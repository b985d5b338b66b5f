"""The record of a sweep: opened before the first job and closed with the answer, whatever happens."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from lossbench.config.labels import OTHERS, PARTS
from lossbench.errors import Failed
from lossbench.evaluation.catalogue import AddedMetric, facts_of, to_text
from lossbench.sweep.jobs import LeftOut, PlannedJob, compared, sweep_identity
from lossbench.sweep.resume import Resumed, find_resumed, show_resumed
from lossbench.tracking.schema import SELECTED_BY, Status, Tag, key, name_of

if TYPE_CHECKING:
    from lossbench.sweep.answer import Answer
    from lossbench.tracking.schema import EndStatus
    from lossbench.tracking.store.open import Store
    from lossbench.tracking.sweep import SweepRecord


# Who presses Ctrl-C does not want to wait for a server that is gone.
INTERRUPTED_SECONDS = 5.0


class SweepFailed(Failed):
    """At least one job of a sweep raised; it is recorded and shown, and the exit status is 1.

    ``answer`` is what the finished jobs say; None where none finished.
    """

    def __init__(self, message: str, answer: Answer | None = None) -> None:
        super().__init__(message)
        self.answer = answer


@dataclass
class OpenSweep:
    """A sweep whose jobs are running: its record, what an earlier command left, and, once closed, its answer."""

    record: SweepRecord
    resumed: Resumed
    answer: Answer | None = None


@contextmanager
def recorded(
    store: Store, name: str, jobs: Sequence[PlannedJob], left_out: Sequence[LeftOut], console: Console
) -> Iterator[OpenSweep]:
    """Open the record of a sweep around its jobs: however they end, it closes with a leaderboard and a true status.

    It is a new record, or that of an earlier command with these jobs that did not finish.

    Raises
    ------
    SweepFailed
        After the end, where a job raised.
    """
    from lossbench.tracking import unfinished
    from lossbench.tracking.store.outbox import PATIENCE_SECONDS, outbox_of

    with unfinished.sweep_lock(store):
        resumed = find_resumed(store, jobs)
        record = _open(store, name, jobs, left_out, resumed)
    show_resumed(resumed, jobs, console)
    sweep = OpenSweep(record, resumed)
    broken: SweepFailed | None = None
    status: EndStatus = Status.FINISHED
    traceback = None
    try:
        yield sweep
    except SweepFailed as error:
        broken = error
    except (KeyboardInterrupt, SystemExit):
        status = Status.KILLED
        raise
    except Exception:
        import traceback as format_traceback

        status, traceback = Status.FAILED, format_traceback.format_exc()
        raise
    finally:
        # Nothing may interrupt the closing: a second Ctrl-C would leave runs that claim to be RUNNING.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            outbox_of(store).deliver_patiently(INTERRUPTED_SECONDS if status == Status.KILLED else PATIENCE_SECONDS)
            answer = _close(
                store, record, jobs, status, traceback, broken is not None, resumed.run is not None, console
            )
            _show_links(store, record.id, answer, console)
        finally:
            signal.signal(signal.SIGINT, before)
    sweep.answer = answer
    failed = 0 if answer is None else int((answer.runs["status"] != Status.FINISHED).sum())
    if failed:
        raise SweepFailed(f"{failed} of {len(jobs)} jobs failed; the list above has their overrides", answer)
    if broken is not None:
        broken.answer = answer
        raise broken


def _open(
    store: Store, name: str, jobs: Sequence[PlannedJob], left_out: Sequence[LeftOut], resumed: Resumed
) -> SweepRecord:
    """Start the sweep's record, or take over that of the earlier command."""
    from lossbench.tracking import unfinished
    from lossbench.tracking.store import address
    from lossbench.tracking.store.keys import clean
    from lossbench.tracking.sweep import SweepRecord

    compare, select = jobs[0].config["compare"], jobs[0].config["select"]
    labels = compared(jobs, [job.objective for job in jobs])
    metric = compare["metric"] or key("test", name_of(select["metric"] or SELECTED_BY))
    added = {clean(name): facts for name, facts in jobs[0].added.items()}
    judged = facts_of(metric, added)
    objectives = {job.objective: _defining_choices(job) for job in jobs}
    tags = {
        Tag.METRIC: metric,
        Tag.BASELINE: compare["baseline"] if compare["baseline"] in labels else None,
        Tag.ROPE: compare["rope"],
        Tag.DIRECTION: compare["direction"] or (judged.better if isinstance(judged, AddedMetric) else None),
        Tag.ADDED_METRICS: to_text(added) if added else None,
        Tag.JOBS: len(jobs),
        Tag.JOBS_IDENTITY: sweep_identity(jobs),
        Tag.COMMAND: address.masked(shlex.join(["lossbench", *sys.argv[1:]])),
    }
    reasons = [(" ".join(job.varying), job.reason) for job in left_out]
    if resumed.run is None:
        return SweepRecord.open(store, name, objectives=objectives, tags=tags, left_out=reasons)
    progress = resumed.progress
    unfinished.take_over(store, resumed.run.id, progress)
    counting = [*progress.finished.values(), *progress.failed.values()]
    return SweepRecord.reopen(store, resumed.run, counting, objectives=objectives, tags=tags, left_out=reasons)


def _defining_choices(job: PlannedJob) -> dict[str, Any]:
    choices = job.config["choices"]
    return {part: choices[part] for part in (*PARTS, *OTHERS) if choices.get(part) is not None}


def _close(
    store: Store,
    record: SweepRecord,
    jobs: Sequence[PlannedJob],
    status: EndStatus,
    traceback: str | None,
    broken: bool,
    continued: bool,
    console: Console,
) -> Answer | None:
    """End every run of the sweep, show its answer, if there is one, and then draw the report."""
    from lossbench.comparison.pairs import jobs_of
    from lossbench.comparison.summary import summarize
    from lossbench.sweep.answer import answer as read_answer
    from lossbench.tracking import read, unfinished
    from lossbench.tracking.store import address

    answer = None
    try:
        record.end_unfinished(Status.KILLED if status == Status.KILLED else Status.FAILED)
        if continued or address.on_server(store.uri):
            unfinished.supersede_doubles(store, record.id, record.objectives.values())
        # Without a finished run there is nothing to rank, and what ended the sweep is what has to be said.
        if status == Status.FINISHED or len(jobs_of(read.runs(store, record.id, status=Status.FINISHED))):
            answer = read_answer(store, record.id)
        if answer is None:
            console.print("no job finished")
        else:
            answer.show(console)
        counting = set() if answer is None else set(answer.runs.loc[answer.runs["status"] == Status.FINISHED, "run_id"])
        # Late: nothing of it has to be imported before the answer is shown.
        from lossbench.tracking import row_tables

        row_tables.merge(store, record, counting)
        if answer is not None:
            from lossbench.sweep.reporting import keep_report

            answer = keep_report(store, record, answer, explain=jobs[0].config["compare"]["explain"])
    finally:
        failed = broken or (answer is not None and (answer.runs["status"] == Status.FAILED).any())
        baseline = None if answer is None else answer.leaderboard.baseline
        record.close(
            Status.FAILED if status == Status.FINISHED and failed else status,
            unfinished=Status.KILLED if status == Status.KILLED else Status.FAILED,
            summaries=None if answer is None else summarize(answer.runs, baseline),
            leaderboard=None if answer is None else answer.table,
            note=None if answer is None else answer.markdown,
            metrics=None if answer is None else {"jobs": len(jobs), "failed": len(answer.failures)},
            error=traceback,
        )
    return answer


def _show_links(store: Store, sweep: str, answer: Answer | None, console: Console) -> None:
    from lossbench.sweep.answer import chart_link

    if answer is None:
        return
    console.print(Text(f"sweep {sweep}; again with: lossbench compare {sweep[:8]}"))
    if answer.report is not None:
        console.print(Text(f"report: {answer.report}"), soft_wrap=True)
    console.print(Text("charts, after `lossbench ui`:"))
    console.print(Text(chart_link(store, sweep, answer)), soft_wrap=True)
