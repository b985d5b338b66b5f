"""The record of a sweep: its run is opened before the first job and closed with the answer, whatever happens."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from lossbench.config.labels import OTHERS, PARTS
from lossbench.errors import Failed
from lossbench.evaluation.catalogue import AddedMetric, facts_of, to_text
from lossbench.sweep.jobs import LeftOut, PlannedJob, compared, sweep_identity
from lossbench.sweep.resume import Earlier, look_back, tell

if TYPE_CHECKING:
    from lossbench.sweep.answer import Answer
    from lossbench.tracking.run import Status
    from lossbench.tracking.store.open import Store
    from lossbench.tracking.sweep import SweepRecord


# Who presses Ctrl-C does not want to wait for a server that is gone.
INTERRUPTED_SECONDS = 5.0


class SweepFailed(Failed):
    """At least one job of a sweep raised; it is recorded and shown, and the exit status is 1."""


@contextmanager
def recorded(
    store: Store, name: str, jobs: Sequence[PlannedJob], left_out: Sequence[LeftOut], console: Console
) -> Iterator[tuple[SweepRecord, Earlier]]:
    """Own a sweep's run around its jobs: whatever happens in the block, it ends with a leaderboard and a true status.

    The run is a new one, or that of an earlier command with these jobs that did not finish.

    Raises
    ------
    SweepFailed
        After the end, where a job raised.
    """
    from lossbench.tracking import unfinished
    from lossbench.tracking.store.outbox import PATIENCE_SECONDS, outbox_of

    with unfinished.alone(store):
        earlier = look_back(store, jobs)
        record = _open(store, name, jobs, left_out, earlier)
    tell(earlier, jobs, console)
    broken: SweepFailed | None = None
    status: Status = "FINISHED"
    traceback = None
    try:
        yield record, earlier
    except SweepFailed as error:
        broken = error
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    except Exception:
        import traceback as format_traceback

        status, traceback = "FAILED", format_traceback.format_exc()
        raise
    finally:
        # Nothing may interrupt the closing: a second Ctrl-C would leave runs that claim to be RUNNING.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            outbox_of(store).deliver_patiently(INTERRUPTED_SECONDS if status == "KILLED" else PATIENCE_SECONDS)
            found = _close(store, record, jobs, status, traceback, broken is not None, earlier.run is not None, console)
            _show_places(store, record.id, found, console)
        finally:
            signal.signal(signal.SIGINT, before)
    failed = 0 if found is None else int((found.runs["status"] != "FINISHED").sum())
    if failed:
        raise SweepFailed(f"{failed} of {len(jobs)} jobs failed; the list above has their overrides")
    if broken is not None:
        raise broken


def _open(
    store: Store, name: str, jobs: Sequence[PlannedJob], left_out: Sequence[LeftOut], earlier: Earlier
) -> SweepRecord:
    """Open the sweep's run, or take over and open again that of the earlier command."""
    from lossbench.tracking import unfinished
    from lossbench.tracking.store import address
    from lossbench.tracking.store.keys import clean
    from lossbench.tracking.sweep import SweepRecord

    compare, select = jobs[0].config["compare"], jobs[0].config["select"]
    labels = compared(jobs, [job.objective for job in jobs])
    metric = compare["metric"] or (select["metric"] or "val/auroc").replace("val/", "test/", 1)
    added = {clean(name): facts for name, facts in jobs[0].added.items()}
    judged = facts_of(metric, added)
    objectives = {job.objective: _defining(job) for job in jobs}
    tags = {
        "lossbench.metric": metric,
        "lossbench.baseline": compare["baseline"] if compare["baseline"] in labels else None,
        "lossbench.rope": compare["rope"],
        "lossbench.direction": compare["direction"] or (judged.better if isinstance(judged, AddedMetric) else None),
        "lossbench.added_metrics": to_text(added) if added else None,
        "lossbench.jobs": len(jobs),
        unfinished.JOBS: sweep_identity(jobs),
        "lossbench.command": address.masked(shlex.join(["lossbench", *sys.argv[1:]])),
    }
    left = [(" ".join(job.varying), job.reason) for job in left_out]
    if earlier.run is None:
        return SweepRecord.open(store, name, objectives=objectives, tags=tags, left_out=left)
    standing = earlier.standing
    unfinished.take_over(store, earlier.run.info.run_id, standing)
    counting = [*standing.finished.values(), *standing.failed.values()]
    return SweepRecord.reopen(store, earlier.run, counting, objectives=objectives, tags=tags, left_out=left)


def _defining(job: PlannedJob) -> dict[str, Any]:
    choices = job.config["choices"]
    return {part: choices[part] for part in (*PARTS, *OTHERS) if choices.get(part) is not None}


def _close(
    store: Store,
    record: SweepRecord,
    jobs: Sequence[PlannedJob],
    status: Status,
    traceback: str | None,
    broken: bool,
    again: bool,
    console: Console,
) -> Answer | None:
    """End every run of the sweep, with its answer where there is one, which is shown before the report is drawn."""
    from lossbench.comparison.pairs import jobs_of
    from lossbench.comparison.summary import summaries
    from lossbench.sweep.answer import answer
    from lossbench.tracking import read, unfinished
    from lossbench.tracking.store import address

    found = None
    try:
        record.end_unfinished("KILLED" if status == "KILLED" else "FAILED")
        if again or address.on_server(store.uri):
            unfinished.supersede_doubles(store, record.id, record.objectives.values())
        # Without a finished run there is nothing to rank, and what ended the sweep is what has to be said.
        if status == "FINISHED" or len(jobs_of(read.runs(store, record.id, status="FINISHED"))):
            found = answer(store, record.id)
        if found is None:
            console.print("no job finished")
        else:
            found.show(console)
        counting = set() if found is None else set(found.runs.loc[found.runs["status"] == "FINISHED", "run_id"])
        # Late: nothing of it has to be imported before the answer is shown.
        from lossbench.tracking import row_tables

        row_tables.merge(store, record, counting)
        if found is not None:
            from lossbench.sweep.reporting import keep_report

            found = keep_report(store, record, found, explain=jobs[0].config["compare"]["explain"])
    finally:
        failed = broken or (found is not None and (found.runs["status"] == "FAILED").any())
        baseline = None if found is None else found.leaderboard.baseline
        record.close(
            "FAILED" if status == "FINISHED" and failed else status,
            unfinished="KILLED" if status == "KILLED" else "FAILED",
            summaries=None if found is None else summaries(found.runs, baseline),
            leaderboard=None if found is None else found.table,
            note=None if found is None else found.markdown,
            metrics=None if found is None else {"jobs": len(jobs), "failed": len(found.failures)},
            error=traceback,
        )
    return found


def _show_places(store: Store, sweep: str, found: Answer | None, console: Console) -> None:
    from lossbench.sweep.answer import chart_link

    if found is None:
        return
    console.print(Text(f"sweep {sweep}; again with: lossbench compare {sweep[:8]}"))
    if found.report is not None:
        console.print(Text(f"report: {found.report}"), soft_wrap=True)
    console.print(Text("charts, after `lossbench ui`:"))
    console.print(Text(chart_link(store, sweep, found)), soft_wrap=True)
