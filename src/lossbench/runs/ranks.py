"""The other processes of a run that several share: started before its training, ended with it.

Rank zero is the process that has the run: it alone records, prints and evaluates. The others get the config, build
the same job from it, train along, and report how they ended. They are not Lightning's subprocesses, which run the
command again: a run from a notebook has no command, a sweep's has many runs, and a failure has to reach the record.
"""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch.distributed as dist

from lossbench.errors import Failed, line_of
from lossbench.processes.lifetime import die_with_parent
from lossbench.processes.workers import context
from lossbench.runs.preload import RUN
from lossbench.runs.prepare import build_job
from lossbench.runs.settings import RunSettings, read_settings
from lossbench.runs.train import fit_rank, threads
from lossbench.training.lightning.shared_batch import Ranks

# Validation on rank zero is all that the others may have to wait for.
PATIENCE = timedelta(minutes=30)
_LEAVE_SECONDS = 10.0
_NOTICE_SECONDS = 2.0


class RankFailed(Failed):
    """One of the other processes of a run failed first; the run is FAILED."""


@dataclass(frozen=True)
class Message:
    """What a rank tells rank zero: that it is ``ready`` (with the digest of its data), ``done``, or how it ``failed``.

    ``at`` is when it failed, by the clock that all processes of a machine share.
    """

    kind: str
    text: str = ""
    at: float = 0.0
    trace: str = ""


@dataclass(frozen=True)
class _Other:
    rank: int
    process: BaseProcess
    connection: Connection


@contextmanager
def joined(
    config: Mapping[str, Any], settings: RunSettings, run_id: str, digest: str, resume_from: Path | None
) -> Iterator[Ranks]:
    """Run a block as rank zero of the processes that a run's trainer shares it among.

    Parameters
    ----------
    config, settings
        The run's; the other ranks build their job from the config.
    run_id, resume_from
        As `lossbench.experiment.fit` takes them.
    digest
        Of the job's data, which has to be the ranks' too.

    Raises
    ------
    RankFailed
        Where another rank failed before this one.
    """
    world = settings.fit.trainer.world
    if world == 1:
        yield Ranks()
        return
    with tempfile.TemporaryDirectory(prefix="lossbench-ranks-") as folder:
        meeting = Path(folder) / "meeting"
        others = [_start(dict(config), run_id, Ranks(rank, world), meeting, resume_from) for rank in range(1, world)]
        at, ended = time.monotonic(), False
        try:
            for other in others:
                _expect(other, "ready", digest)
            with group(Ranks(0, world), meeting, settings.fit.trainer.accelerator):
                try:
                    yield Ranks(0, world)
                finally:
                    # Before the group is left, at which the others fail too.
                    at = time.monotonic()
            for other in others:
                _expect(other, "done")
            ended = True
        except Exception as error:
            if not isinstance(error, RankFailed) and (earlier := _failed_before(others, at, line_of(error))):
                raise earlier from error
            raise
        finally:
            for other in others:
                other.process.join(_LEAVE_SECONDS if ended else 0)
                if other.process.is_alive():
                    other.process.kill()
                    other.process.join(_LEAVE_SECONDS)
                other.connection.close()


@contextmanager
def group(ranks: Ranks, meeting: Path, accelerator: str) -> Iterator[None]:
    """Run a block in a process group that meets through a file: no port is opened but on the loopback device."""
    backend = "nccl" if accelerator in ("cuda", "gpu") else "gloo"
    key, loopback = "GLOO_SOCKET_IFNAME", {"lo", "lo0"} & {name for _, name in socket.if_nameindex()}
    added = {key: loopback.pop()} if loopback and key not in os.environ else {}
    os.environ.update(added)
    try:
        address = meeting.absolute().as_uri()
        dist.init_process_group(backend, address, PATIENCE, world_size=ranks.world, rank=ranks.rank)
    finally:
        for name in added:
            del os.environ[name]
    try:
        yield
    finally:
        dist.destroy_process_group()


def _start(config: dict[str, Any], run_id: str, ranks: Ranks, meeting: Path, resume_from: Path | None) -> _Other:
    start = context(RUN)
    here, there = start.Pipe()
    process: BaseProcess = start.Process(  # type: ignore[attr-defined]  # BaseContext lacks it
        target=_rank, args=(config, run_id, ranks, meeting, resume_from, there), name=f"rank-{ranks.rank}"
    )
    process.start()
    there.close()
    return _Other(ranks.rank, process, here)


def _rank(
    config: dict[str, Any], run_id: str, ranks: Ranks, meeting: Path, resume_from: Path | None, to_zero: Connection
) -> None:
    """Train along as one of the other ranks, without a word on the terminal."""
    die_with_parent()
    # A terminal's Ctrl-C reaches every process; rank zero ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    try:
        import lossbench.training.lightning.trainer  # noqa: F401  seconds, which are not training's

        settings = read_settings(config)
        job = build_job(settings)
        to_zero.send(Message("ready", job.dataset.digest))
        with threads(settings.fit.threads), group(ranks, meeting, settings.fit.trainer.accelerator):
            fit_rank(job, settings, run_id, ranks=ranks, resume_from=resume_from)
    except BaseException as error:
        trace = "".join(traceback.format_exception(error))
        with suppress(OSError):
            to_zero.send(Message("failed", line_of(error), time.monotonic(), trace))
        os._exit(1)
    to_zero.send(Message("done"))


def _expect(other: _Other, kind: str, digest: str | None = None) -> None:
    """Wait for a message of this kind; raise how the rank failed where it sends another, or ends."""
    wait([other.connection, other.process.sentinel])
    message = _receive(other)
    if message is None or message.kind != kind:
        raise _failure(other, message)
    if digest is not None and message.text != digest:
        raise RankFailed(f"rank {other.rank} read other data than rank 0: they changed while the run started")


def _receive(other: _Other) -> Message | None:
    try:
        if other.connection.poll():
            message = other.connection.recv()
            assert isinstance(message, Message)
            return message
    except (EOFError, OSError):  # it ended without a word
        pass
    return None


def _failure(other: _Other, message: Message | None) -> RankFailed:
    if message is not None and message.kind == "failed":
        failure = RankFailed(f"rank {other.rank}: {message.text}")
        failure.add_note(f"On rank {other.rank}:\n{message.trace}")
        return failure
    other.process.join(_NOTICE_SECONDS)
    code = other.process.exitcode
    if code is not None and code < 0:
        return RankFailed(f"rank {other.rank} was killed by signal {-code} (out of memory?)")
    return RankFailed(f"rank {other.rank} ended with status {code} and said nothing")


def _failed_before(others: Sequence[_Other], at: float, line: str) -> RankFailed | None:
    """Return how another rank failed, where it did before this one, which then only missed it.

    A fault that all ranks find, in the same words, is this one's too.
    """
    until = time.monotonic() + _NOTICE_SECONDS
    while (left := until - time.monotonic()) > 0:
        handles = [handle for other in others for handle in (other.connection, other.process.sentinel)]
        if not wait(handles, left):
            return None
        for other in others:
            message = _receive(other)
            if message is not None and message.kind == "failed":
                return _failure(other, message) if message.at < at and message.text != line else None
            if message is None and not other.process.is_alive():
                return _failure(other, None)
    return None
