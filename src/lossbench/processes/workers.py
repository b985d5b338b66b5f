"""Processes that share a sweep's work, forked from a server that imports while the sweep is being composed."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from multiprocessing.context import BaseContext
from types import FrameType, TracebackType
from typing import ParamSpec, Self, TypeVar

from lossbench.processes.lifetime import collect_rarely, die_with_parent, raise_again

_P = ParamSpec("_P")
_T = TypeVar("_T")
_LEAVE_SECONDS = 10.0
_busy = False


def available() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def context(preload: Sequence[str] = ()) -> BaseContext:
    """Return how worker processes start: forked from a server that has imported these modules, where there is one.

    The server starts once; what a later caller wants preloaded, its processes import themselves.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    forkserver = multiprocessing.get_context("forkserver")
    forkserver.set_forkserver_preload(list(preload))
    return forkserver


def start_early(preload: Sequence[str]) -> None:
    """Start the server of worker processes before their number is known, since its imports take seconds.

    A command that then needs none ends it as it leaves (`lossbench.processes.server`).
    """
    if available() > 1 and context(preload).get_start_method() == "forkserver":
        _serve()


class Workers:
    """Processes that work is submitted to, started with the first of it; the server that they come from starts at once.

    Leaving the block waits for them; an exception that leaves it ends them.
    """

    def __init__(self, number: int, preload: Sequence[str] = ()) -> None:
        self.number = number
        self._context = context(preload)
        self._pool: ProcessPoolExecutor | None = None
        if self._context.get_start_method() == "forkserver":
            _serve()

    @classmethod
    def enough_for(cls, jobs: int, processes: int | None, preload: Sequence[str] = ()) -> Self | None:
        """Return workers for this many jobs, or None if this process is enough; ``processes`` limits their number.

        A tuning makes more jobs than it starts with, so that any two are worth all workers.
        """
        number = processes or available()
        return cls(number, preload) if number > 1 and jobs > 1 else None

    def submit(self, work: Callable[_P, _T], /, *arguments: _P.args, **keywords: _P.kwargs) -> Future[_T]:
        """Have a worker do something; what it raises reaches the caller."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self.number, mp_context=self._context, initializer=_set_up_worker, initargs=(_hears_ctrl_c(),)
            )
        return self._pool.submit(_do, partial(work, *arguments, **keywords))

    def abandon(self) -> None:
        """End the processes now, with whatever they are doing."""
        if self._pool is None:
            return
        # A worker has heard a terminal's Ctrl-C itself; whoever else interrupts speaks to this process alone.
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = None
        children = multiprocessing.active_children()
        for child in children:
            child.terminate()
        # What they were recording is ended by us next, so they must be gone.
        for child in children:
            child.join(_LEAVE_SECONDS)

    def close(self) -> None:
        """End the processes, once they have done all that was submitted."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if error is not None:
            self.abandon()
        else:
            self.close()


def _serve() -> None:
    """Start the server of worker processes; a Ctrl-C while it imports would end it with a traceback."""
    from multiprocessing import forkserver, resource_tracker

    # It lets Ctrl-C through once it has started its own process, so that has to be before.
    resource_tracker.ensure_running()
    # Whom it forks inherits this, and lets Ctrl-C through again.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _hears_ctrl_c() -> bool:
    return signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def _set_up_worker(hears_ctrl_c: bool = True) -> None:
    die_with_parent()
    raise_again()
    # A command in the background ignores Ctrl-C, and so do its workers.
    signal.signal(signal.SIGINT, _interrupt if hears_ctrl_c else signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    # What was imported lives as long as the worker: nobody needs to look at it again.
    gc.freeze()
    collect_rarely()  # where no server has imported for us


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """End the current work by a Ctrl-C; between two pieces of work, the command ends the process."""
    if _busy:
        raise KeyboardInterrupt


def _do(work: Callable[[], _T]) -> _T:
    global _busy
    _busy = True
    try:
        return work()
    except Exception as error:
        raise portable(error) from error
    finally:
        _busy = False


def portable(error: Exception) -> Exception:
    """Return a copy of an exception that reaches another process, without its traceback and what that holds.

    One that cannot be sent or read there becomes a RuntimeError with its text.
    """
    try:
        copy = pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return copy if isinstance(copy, Exception) else RuntimeError(f"{type(error).__name__}: {error}")
