"""What does a sweep's work: its launcher, which is called more than once, and its workers, where it has any."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from hydra.core.utils import JobReturn

if TYPE_CHECKING:
    from hydra.plugins.launcher import Launcher

    from lossbench.processes.workers import Workers

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Workforce:
    """A launcher that is called more than once, so that the numbers of its jobs go on; `Workforce.of` makes it."""

    def __init__(self, launcher: Launcher, workers: Workers | None) -> None:
        self._launcher = launcher
        self._workers = workers
        self._started = 0

    @classmethod
    @contextmanager
    def of(cls, launcher: Launcher, jobs: int) -> Iterator[Workforce]:
        """Start workers for so many jobs, where the launcher has any; they end with the block."""
        # Ours alone has any: others start theirs when they launch.
        workers: Workers | None = launcher.workers(jobs) if hasattr(launcher, "workers") else None
        if workers is None:
            yield cls(launcher, None)
        else:
            with workers:
                yield cls(launcher, workers)

    def launch(
        self,
        overrides: Sequence[Sequence[str]],
        configs: Sequence[dict[str, Any]],
        todo: Sequence[int] | None = None,
    ) -> Sequence[JobReturn]:
        """Run the jobs at these indices, all for None, and return how they ended."""
        wanted = range(len(overrides)) if todo is None else todo
        first, self._started = self._started, self._started + len(wanted)
        if hasattr(self._launcher, "launch_composed"):
            # It gets the finished ones too: the numbers of a stack depend, in their last bits, on what is in it.
            returns: Sequence[JobReturn] = self._launcher.launch_composed(
                overrides, configs, initial_job_idx=first, todo=todo, workers=self._workers
            )
            return returns
        return self._launcher.launch([overrides[index] for index in wanted], initial_job_idx=first)

    def submit(self, work: Callable[_P, _T], /, *arguments: _P.args, **keywords: _P.kwargs) -> Future[_T]:
        """Let a worker do what needs more imports than this process has; without workers, do it here and now."""
        if self._workers is not None:
            return self._workers.submit(work, *arguments, **keywords)
        done: Future[_T] = Future()
        done.set_result(work(*arguments, **keywords))
        return done

    def share(self, work: Callable[[list[_T]], None], items: Sequence[_T]) -> Callable[[], None]:
        """Let each worker begin its part of the items, and return what waits for them (without workers, does them)."""
        if self._workers is None:
            return partial(work, list(items))
        workers, parts = self._workers, min(self._workers.number, len(items))
        begun = [workers.submit(work, list(items[start::parts])) for start in range(parts)]

        def finish() -> None:
            try:
                wait(begun)  # for all, whichever fails: none may go on while the sweep is being closed
            except BaseException:
                workers.abandon()
                raise
            for part in begun:
                part.result()

        return finish

    def leave(self) -> None:
        """End the workers: nothing is left for them to do."""
        if self._workers is not None:
            self._workers.close()
            self._workers = None
