"""Sweeps that an earlier command began and did not finish: which one goes on, and what of it counts."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from filelock import FileLock, Timeout

from lossbench.errors import UserError
from lossbench.tracking import read
from lossbench.tracking.ending import delete_run, end_for
from lossbench.tracking.schema import OF_ANY_ROLE, Role, Status, Tag, having_status, tagged
from lossbench.tracking.search import RunRow, read_run, search_runs
from lossbench.tracking.store.client import MlflowException
from lossbench.tracking.store.open import Store
from lossbench.tracking.store.process import Process

GONE = "its process is gone"
_ORPHAN_SECONDS = 20.0
_LOCK_SECONDS = 120.0


@dataclass
class Progress:
    """What became of a sweep's jobs so far.

    Parameters
    ----------
    finished, failed
        The run that counts, by the identity of its job.
    superseded
        Runs that do not count: broken off, of a job that has changed since, doubles, failed and to be done again.
    """

    finished: dict[str, RunRow] = field(default_factory=dict)
    failed: dict[str, RunRow] = field(default_factory=dict)
    superseded: list[RunRow] = field(default_factory=list)

    def checkpoint_of(self, identity: str) -> str | None:
        """Return the newest run of this very job that was broken off, which may have left a checkpoint."""
        broken_off = [run.id for run in self.superseded if run.tags.get(Tag.IDENTITY) == identity]
        return broken_off[-1] if broken_off else None


@contextmanager
def sweep_lock(store: Store) -> Iterator[None]:
    """Keep other commands on this machine from looking for a sweep to continue while the block decides."""
    try:
        with FileLock(store.mlruns / "sweeps.lock", timeout=_LOCK_SECONDS):
            yield
    except Timeout as error:
        raise UserError(f"another sweep has been starting for {_LOCK_SECONDS:.0f} s: end it, or wait") from error


def find_resumable(store: Store, jobs: str, wanted: str) -> tuple[RunRow | None, str | None]:
    """Return the sweep to continue, if there is one, and what a person should know about the choice.

    Parameters
    ----------
    jobs
        What identifies the sweep's jobs.
    wanted
        ``auto``: the newest sweep of these jobs, unless it has finished or still runs; ``never``; or a sweep's name or
        id, which is continued if its jobs are these.

    Raises
    ------
    UserError
        For a sweep that is not there, has other jobs, has finished, or runs.
    """
    if wanted == "never":
        return None, None
    if wanted != "auto":
        return _require_resumable(read_run(store, read.find_sweep(store, wanted).id), jobs, wanted), None
    note = None
    sweeps = list(search_runs(store, tagged(Tag.ROLE, Role.SWEEP), tagged(Tag.JOBS_IDENTITY, jobs)))
    for sweep in reversed(sweeps):
        if sweep.superseded:
            continue
        if sweep.status != Status.RUNNING or _is_alive(sweep) is False:
            return (None if sweep.status == Status.FINISHED else sweep), note
        note = (
            f"the sweep {sweep.id[:8]} of the same jobs runs in {_process_of(sweep)}: this is another one "
            f"(should it be gone: sweep.resume={sweep.id[:8]})"
        )
    return None, note


def _require_resumable(sweep: RunRow, jobs: str, wanted: str) -> RunRow:
    name = f"the sweep {sweep.name!r} ({sweep.id[:8]})"
    if sweep.tags.get(Tag.JOBS_IDENTITY) != jobs:
        raise UserError(f"sweep.resume={wanted}: {name} has other jobs than this command")
    if sweep.status == Status.FINISHED:
        raise UserError(f"sweep.resume={wanted}: {name} has finished: there is nothing to continue")
    if sweep.status == Status.RUNNING and _is_alive(sweep):
        raise UserError(f"sweep.resume={wanted}: {name} still runs in {_process_of(sweep)}")
    return sweep


def read_progress(store: Store, sweep: str, identities: Collection[str], retry_failed: bool) -> Progress:
    """Read a sweep's runs once and sort out which of them count for jobs of these identities."""
    progress = Progress()
    for run in search_runs(store, tagged(Tag.SWEEP, sweep), tagged(Tag.ROLE, Role.RUN)):
        if run.superseded:
            continue
        identity = run.tags.get(Tag.IDENTITY, "")
        if run.status == Status.FINISHED and identity in identities and identity not in progress.finished:
            progress.finished[identity] = run
        elif run.status == Status.FAILED and identity in identities and identity not in progress.failed:
            progress.failed[identity] = run
        else:
            progress.superseded.append(run)
    for identity in [each for each in progress.failed if retry_failed or each in progress.finished]:
        progress.superseded.append(progress.failed.pop(identity))
    return progress


def take_over(store: Store, sweep: str, progress: Progress) -> None:
    """Make a sweep this process's own: no run that was broken off counts, or claims to run.

    Raises
    ------
    UserError
        Where a worker of the earlier command is still at work, or another command has just taken the sweep.
    """
    _wait_for_workers(progress.superseded)
    current = str(Process.current())
    store.client.set_tag(sweep, Tag.PROCESS, current)
    store.client.update_run(sweep, status=Status.RUNNING)
    for run in progress.superseded:
        supersede(store, run)
    if read_run(store, sweep).tags.get(Tag.PROCESS) != current:
        raise UserError(f"another command has just continued the sweep {sweep[:8]}: leave it to that one")


def supersede(store: Store, run: RunRow) -> None:
    """Let a run count no more; one whose process is gone ends as KILLED."""
    if run.status == Status.RUNNING:
        end_for(store, run.id, Status.KILLED, GONE)
    store.client.set_tag(run.id, Tag.SUPERSEDED, "true")


def supersede_doubles(store: Store, sweep: str, objectives: Collection[str]) -> None:
    """Let every job and every reference count once, and no objective but these stand below the sweep.

    A worker that was thought gone may have finished a job too; and a server that lost the answer to a request has been
    asked a second time to start a run, and has started two.
    """
    jobs: dict[str, list[RunRow]] = {}
    references: dict[str, list[RunRow]] = {}
    stray: list[RunRow] = []
    for run in search_runs(store, tagged(Tag.SWEEP, sweep)):
        if run.role == Role.OBJECTIVE and run.id not in objectives:
            stray.append(run)
        elif run.role == Role.REFERENCE:
            references.setdefault(run.name, []).append(run)
        elif run.role == Role.RUN and Tag.IDENTITY in run.tags and not run.superseded:
            jobs.setdefault(run.tags[Tag.IDENTITY], []).append(run)
    # Not while they are read page by page: what is deleted would move the runs of the next page.
    for run in [*stray, *_doubles(references)]:
        delete_run(store, run.id)
    for run in _doubles(jobs):
        supersede(store, run)


def _doubles(runs: Mapping[str, Sequence[RunRow]]) -> Iterator[RunRow]:
    """Yield all but one of the runs of the same thing; the first that has finished is kept, else the last."""
    for same in runs.values():
        kept = next((run for run in same if run.status == Status.FINISHED), same[-1])
        yield from (run for run in same if run is not kept)


def repair(store: Store) -> list[RunRow]:
    """End the runs that claim to run though their process is gone, as KILLED, and return them."""
    return [run for run in find_stale(store) if _end_stale(store, run)]


def find_stale(store: Store) -> list[RunRow]:
    """Return the experiment's runs that claim to run though their process is gone."""
    running = search_runs(store, having_status(Status.RUNNING), OF_ANY_ROLE)
    return [run for run in running if _is_alive(run) is False]


def _end_stale(store: Store, run: RunRow) -> bool:
    try:
        end_for(store, run.id, Status.KILLED, GONE)
    except MlflowException:  # deleted by another
        return False
    return True


def _wait_for_workers(runs: Iterable[RunRow]) -> None:
    """Wait for workers of a command that was killed: they notice, and end by themselves."""
    waiting = [run for run in runs if run.status == Status.RUNNING]
    until = time.monotonic() + _ORPHAN_SECONDS
    while waiting := [run for run in waiting if _is_alive(run)]:
        if time.monotonic() > until:
            raise UserError(
                f"{_process_of(waiting[0])} still trains {len(waiting)} jobs of this sweep: end it, or start another "
                "sweep with sweep.resume=never"
            )
        time.sleep(0.1)


def _is_alive(run: RunRow) -> bool | None:
    """Return whether the process that writes a run still lives; None where that cannot be known from here."""
    process = Process.parse(run.tags.get(Tag.PROCESS))
    return None if process is None else process.alive


def _process_of(run: RunRow) -> str:
    process = Process.parse(run.tags.get(Tag.PROCESS))
    return "an unknown process" if process is None else f"process {process.id} on {process.host}"
