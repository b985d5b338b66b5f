"""Who does a sweep's work: its launcher, which may be called more than once, and its processes, where it has any."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from hydra.core.utils import JobReturn

if TYPE_CHECKING:
    from hydra.plugins.launcher import Launcher

    from lossbench.workers import Workers

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Crew:
    """A launcher that is called more than once, so that the numbers of its jobs go on; `Crew.of` makes it."""

    def __init__(self, launcher: Launcher, workers: Workers | None) -> None:
        self._launcher = launcher
        self._workers = workers
        self._started = 0

    @classmethod
    @contextmanager
    def of(cls, launcher: Launcher, jobs: int) -> Iterator[Crew]:
        """Make ready for so many jobs; what is left of the processes ends with the block."""
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
        """Run the jobs at these places, all without any, and return how they ended."""
        wanted = range(len(overrides)) if todo is None else todo
        first, self._started = self._started, self._started + len(wanted)
        if hasattr(self._launcher, "launch_composed"):
            # Told of the finished ones too: the numbers of a stack depend, in their last bits, on what is in it.
            returns: Sequence[JobReturn] = self._launcher.launch_composed(
                overrides, configs, initial_job_idx=first, todo=todo, workers=self._workers
            )
            return returns
        return self._launcher.launch([overrides[place] for place in wanted], initial_job_idx=first)

    def submit(self, work: Callable[_P, _T], /, *arguments: _P.args, **keywords: _P.kwargs) -> Future[_T]:
        """Have a process do something that needs more imports than this one has; without any, do it here and now."""
        if self._workers is not None:
            return self._workers.submit(work, *arguments, **keywords)
        done: Future[_T] = Future()
        done.set_result(work(*arguments, **keywords))
        return done

    def share(self, work: Callable[[list[_T]], None], items: Sequence[_T]) -> list[Future[None]]:
        """Have every process do its part of the items, and return what can be waited for."""
        parts = 1 if self._workers is None else self._workers.number
        shares = [list(items[start::parts]) for start in range(min(parts, len(items)))]
        return [self.submit(work, share) for share in shares]

    def leave(self) -> None:
        """Let the processes go: nothing is left for them to do."""
        if self._workers is not None:
            self._workers.close()
            self._workers = None
