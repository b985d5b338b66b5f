"""What ends a run: the block that it was recorded in, or, where its process is gone, somebody else."""

from __future__ import annotations

import logging
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from lossbench.tracking.schema import EndStatus, Status, Tag
from lossbench.tracking.store.open import Store

_log = logging.getLogger(__name__)


class Record(ABC):
    """A record as a context manager, which no way out of the block leaves RUNNING.

    Leaving the block ends it as FINISHED, an exception as FAILED with its traceback, Ctrl-C (which Lightning turns into
    SystemExit) as KILLED. A record that has ended within the block stays as it is.
    """

    id: str

    @property
    @abstractmethod
    def ended(self) -> bool:
        """Whether the record has ended, in whatever way."""

    @abstractmethod
    def finish(self) -> None:
        """End the record as FINISHED."""

    @abstractmethod
    def fail(self, traceback_text: str) -> None:
        """End the record as FAILED, with what failed."""

    @abstractmethod
    def kill(self) -> None:
        """End the record as KILLED."""

    def end_by(self, error: BaseException) -> None:
        """End the record by what broke it, unless it has ended; where that fails too, the exception gets a note."""
        if self.ended:
            return
        try:
            if isinstance(error, Exception):
                self.fail("".join(traceback.format_exception(error)))
            else:
                self.kill()
        except Exception as broken:
            error.add_note(f"the record of run {self.id} is incomplete: {broken}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if error is not None:
            self.end_by(error)
        elif not self.ended:
            try:
                self.finish()
            except BaseException as broken:
                self.end_by(broken)
                raise


class Attempts:
    """Steps of which each is tried, whatever became of the others: the first exception is kept, others are logged."""

    def __init__(self) -> None:
        self._first: Exception | None = None

    def attempt(self, step: Callable[[], Any]) -> Any:
        """Return what a step returns, or None where it raises."""
        try:
            return step()
        except Exception as error:
            if self._first is None:
                self._first = error
            else:
                _log.warning("ending a record: %s", error)
            return None

    def raise_first(self) -> None:
        """Raise the first exception, if there was one."""
        if self._first is not None:
            raise self._first


def end_for(store: Store, run_id: str, status: EndStatus, reason: str) -> None:
    """End a run in place of its process, which is gone."""
    store.client.set_tag(run_id, Tag.ERROR, reason)
    store.client.set_terminated(run_id, status)


def delete_run(store: Store, run_id: str) -> None:
    """End a run and delete it: it was derived from others, and is derived again."""
    store.client.set_terminated(run_id, Status.KILLED)
    store.client.delete_run(run_id)
