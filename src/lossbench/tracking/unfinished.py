"""Sweeps that an earlier command began and did not finish: which one goes on, and what of it counts."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from filelock import FileLock, Timeout

from lossbench.errors import UserError
from lossbench.tracking import read
from lossbench.tracking.schema import Role, Status, Tag, having_status, tagged
from lossbench.tracking.store.client import MlflowException, Run
from lossbench.tracking.store.open import Store
from lossbench.tracking.store.process import Process

GONE = "its process is gone"
_ORPHAN_SECONDS = 20.0
_LOCK_SECONDS = 120.0


@dataclass
class Standing:
    """What became of a sweep's jobs so far.

    Parameters
    ----------
    finished, failed
        The run that counts, by the identity of its job.
    void
        Runs that do not count: broken off, of a job that has changed since, doubles, failed and to be done again.
    """

    finished: dict[str, Run] = field(default_factory=dict)
    failed: dict[str, Run] = field(default_factory=dict)
    void: list[Run] = field(default_factory=list)

    def checkpoint_of(self, identity: str) -> str | None:
        """Return the newest run of this very job that was broken off, which may have left a checkpoint."""
        broken = [run.info.run_id for run in self.void if run.data.tags.get(Tag.IDENTITY) == identity]
        return broken[-1] if broken else None


@contextmanager
def alone(store: Store) -> Iterator[None]:
    """Keep other commands on this machine from looking for a sweep to continue while the block decides."""
    try:
        with FileLock(store.mlruns / "sweeps.lock", timeout=_LOCK_SECONDS):
            yield
    except Timeout as error:
        raise UserError(f"another sweep has been starting for {_LOCK_SECONDS:.0f} s: end it, or wait") from error


def find(store: Store, jobs: str, wanted: str) -> tuple[Run | None, str | None]:
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
        run = store.client.get_run(read.find_sweep(store, wanted).id)
        who = f"the sweep {run.info.run_name!r} ({run.info.run_id[:8]})"
        if run.data.tags.get(Tag.JOBS_IDENTITY) != jobs:
            raise UserError(f"sweep.resume={wanted}: {who} has other jobs than this command")
        if run.info.status == Status.FINISHED:
            raise UserError(f"sweep.resume={wanted}: {who} has finished: there is nothing to continue")
        if run.info.status == Status.RUNNING and _lives(run):
            raise UserError(f"sweep.resume={wanted}: {who} still runs in {_who(run)}")
        return run, None
    found = list(read.search(store, f"{tagged(Tag.ROLE, Role.SWEEP)} AND {tagged(Tag.JOBS_IDENTITY, jobs)}"))
    note = None
    for run in reversed(found):
        if Tag.SUPERSEDED in run.data.tags:
            continue
        if run.info.status != Status.RUNNING or _lives(run) is False:
            return (None if run.info.status == Status.FINISHED else run), note
        note = (
            f"the sweep {run.info.run_id[:8]} of the same jobs runs in {_who(run)}: this is another one "
            f"(should it be gone: sweep.resume={run.info.run_id[:8]})"
        )
    return None, note


def standing(store: Store, sweep: str, identities: Collection[str], retry_failed: bool) -> Standing:
    """Read a sweep's runs once and sort out which of them count for jobs of these identities."""
    found = Standing()
    runs = read.search(store, f"{tagged(Tag.SWEEP, sweep)} AND {tagged(Tag.ROLE, Role.RUN)}")
    for run in runs:
        if Tag.SUPERSEDED in run.data.tags:
            continue
        identity = run.data.tags.get(Tag.IDENTITY, "")
        if run.info.status == Status.FINISHED and identity in identities and identity not in found.finished:
            found.finished[identity] = run
        elif run.info.status == Status.FAILED and identity in identities and identity not in found.failed:
            found.failed[identity] = run
        else:
            found.void.append(run)
    for identity in [each for each in found.failed if retry_failed or each in found.finished]:
        found.void.append(found.failed.pop(identity))
    return found


def take_over(store: Store, sweep: str, standing: Standing) -> None:
    """Make a sweep this process's own: nothing that was broken off counts or claims to run.

    Raises
    ------
    UserError
        Where a worker of the earlier command is still at work, or another command has just taken the sweep.
    """
    _wait_for_orphans(standing.void)
    me = str(Process.current())
    store.client.set_tag(sweep, Tag.PROCESS, me)
    store.client.update_run(sweep, status=Status.RUNNING)
    for run in standing.void:
        supersede(store, run)
    if store.client.get_run(sweep).data.tags.get(Tag.PROCESS) != me:
        raise UserError(f"another command has just continued the sweep {sweep[:8]}: leave it to that one")


def supersede(store: Store, run: Run) -> None:
    """Let a run count no more; one whose process is gone ends as KILLED."""
    if run.info.status == Status.RUNNING:
        store.client.set_tag(run.info.run_id, Tag.ERROR, GONE)
        store.client.set_terminated(run.info.run_id, Status.KILLED)
    store.client.set_tag(run.info.run_id, Tag.SUPERSEDED, "true")


def supersede_doubles(store: Store, sweep: str, objectives: Collection[str]) -> None:
    """Let every job and every reference count once, and no objective but these stand below the sweep.

    A worker that was thought gone may have finished a job too; and a server that lost the answer to a request has been
    asked a second time to start a run, and has started two.
    """
    doubles: dict[tuple[str, str], list[Run]] = {}
    for run in read.search(store, tagged(Tag.SWEEP, sweep)):
        role, identity = run.data.tags.get(Tag.ROLE, ""), run.data.tags.get(Tag.IDENTITY)
        if role == Role.OBJECTIVE and run.info.run_id not in objectives:
            _delete(store, run)
        elif role == Role.REFERENCE:
            doubles.setdefault((role, str(run.info.run_name)), []).append(run)
        elif role == Role.RUN and identity is not None and Tag.SUPERSEDED not in run.data.tags:
            doubles.setdefault((role, identity), []).append(run)
    for (role, _), runs in doubles.items():
        kept = next((run for run in runs if run.info.status == Status.FINISHED), runs[-1])
        for run in runs:
            if run is not kept:
                (supersede if role == Role.RUN else _delete)(store, run)


def _delete(store: Store, run: Run) -> None:
    store.client.set_terminated(run.info.run_id, Status.KILLED)
    store.client.delete_run(run.info.run_id)


def repair(store: Store) -> list[Run]:
    """End the runs that claim to run though their process is gone, as KILLED, and return them."""
    return [run for run in stale(store) if _terminate(store, run)]


def stale(store: Store) -> list[Run]:
    """Return the experiment's runs that claim to run though their process is gone."""
    running = read.search(store, f"{having_status(Status.RUNNING)} AND tags.`{Tag.ROLE}` LIKE '%'")
    return [run for run in running if _lives(run) is False]


def _terminate(store: Store, run: Run) -> bool:
    try:
        store.client.set_tag(run.info.run_id, Tag.ERROR, GONE)
        store.client.set_terminated(run.info.run_id, Status.KILLED)
    except MlflowException:  # deleted by another
        return False
    return True


def _wait_for_orphans(runs: Iterable[Run]) -> None:
    """Wait for workers of a command that was killed: they notice, and end by themselves."""
    waiting = [run for run in runs if run.info.status == Status.RUNNING]
    until = time.monotonic() + _ORPHAN_SECONDS
    while waiting := [run for run in waiting if _lives(run)]:
        if time.monotonic() > until:
            raise UserError(
                f"{_who(waiting[0])} still trains {len(waiting)} jobs of this sweep: end it, or start another sweep "
                "with sweep.resume=never"
            )
        time.sleep(0.1)


def _lives(run: Run) -> bool | None:
    process = Process.parse(run.data.tags.get(Tag.PROCESS))
    return None if process is None else process.alive


def _who(run: Run) -> str:
    process = Process.parse(run.data.tags.get(Tag.PROCESS))
    return "an unknown process" if process is None else f"process {process.id} on {process.host}"
