"""What is recorded on its way into the store: one call or many at once, and on disk while the store does not take it.

MLflow's client itself tries a request again, for some seconds as :mod:`lossbench.tracking.store.client` has it. What
then has still not arrived is kept under ``mlruns/outbox``, one folder a run, and training goes on; it is delivered by
the run's next record, by the end of the sweep, by the next command over the same store, or by ``lossbench doctor``.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import requests

from lossbench.errors import Failed
from lossbench.tracking.store.calls import Call, CallName
from lossbench.tracking.store.client import MlflowException
from lossbench.tracking.store.waiting import WaitingCalls

if TYPE_CHECKING:
    from lossbench.tracking.store.open import Store

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
# So long a caller who cannot go on without the store waits for it.
PATIENCE_SECONDS = 60.0
# After a failure nothing is sent for so long, doubled up to the second: training does not wait at every epoch.
_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 2.0, 30.0
# What is recorded together within so long is written together.
_TOGETHER_SECONDS = 1.0
# A server that is not there, too busy, or in trouble; a database that is locked or on a full disk.
_PASSING = ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "INTERNAL_ERROR")


class StoreUnreachable(Failed):
    """The store has not answered for as long as anyone waits; what was recorded is on disk."""


def passing(error: BaseException) -> bool:
    """Return whether an error is an outage that may pass, rather than a request that is wrong."""
    if isinstance(error, MlflowException):
        return error.error_code in _PASSING
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code >= 500 or error.response.status_code == 429
    return isinstance(error, requests.RequestException | ConnectionError)


class Outbox:
    """What one process records in one store."""

    def __init__(self, store: Store) -> None:
        self.folder = store.mlruns / "outbox"
        self.place = store.place
        self._client = store.client
        self._bulk = store.bulk
        self._waiting = WaitingCalls(self.folder)
        self._quiet_until = 0.0
        self._pause = _PAUSE_SECONDS
        self._blocks = 0
        self._held: list[Call] = []
        self._held_since = 0.0
        self._not_started: set[str] = set()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write what is recorded within the block in one transaction, if the store is a database that we write to.

        A block that takes longer writes what it holds about every second. However it ends, what was recorded in it is
        written. A server takes every call at once, since it has none for several runs.
        """
        self._blocks += 1
        try:
            yield
        finally:
            self._blocks -= 1
            if not self._blocks:
                self._write_held()

    def start_run(self, store: Store, tags: Mapping[str, str]) -> tuple[str, str]:
        """Start a run, waiting for a store that does not answer, and return its id and the address of its artifacts."""
        if self._bulk is None:
            info = self.patiently(lambda: self._client.create_run(store.experiment_id, tags=dict(tags))).info
            return str(info.run_id), str(info.artifact_uri)
        run = uuid.uuid4().hex
        artifact_uri = self._bulk.artifact_uri(store.artifacts, run)
        self.send(
            run,
            "create_run",
            experiment_id=store.experiment_id,
            start_time=int(time.time() * 1000),
            artifact_uri=artifact_uri,
            tags=dict(tags),
        )
        return run, artifact_uri

    def send(self, run: str, name: CallName, **values: Any) -> None:
        """Make a call of MLflow's client about a run, or keep it for later if the store does not answer."""
        if run in self._not_started:
            return
        call = Call(run, name, values)
        if self._bulk is None or name == "log_artifact":
            self._write_held()  # it may start the run
            self._write([call])
            return
        if not self._held:
            self._held_since = time.monotonic()
        self._held.append(call)
        if not self._blocks or time.monotonic() - self._held_since > _TOGETHER_SECONDS:
            self._write_held()

    def deliver(self) -> int:
        """Send all that waits, whoever recorded it; return how many calls still do."""
        for run in self._waiting.runs():
            with self._waiting.lock(run):
                if not self._deliver(run):
                    break
        return self.waiting()

    def deliver_patiently(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Send all that waits, and wait for a store that does not answer.

        Raises
        ------
        StoreUnreachable
            If it has not answered for so long.
        """
        until = time.monotonic() + seconds
        while left := self.deliver():
            if time.monotonic() > until:
                raise StoreUnreachable(
                    f"the store {self.place} has not answered for {seconds:.0f} s: {left} records wait in "
                    f"{self.folder}; `lossbench doctor` delivers them, and the same command goes on from there"
                )
            time.sleep(min(1.0, seconds / 10))

    def waiting(self) -> int:
        """Return the number of calls that wait."""
        return self._waiting.count()

    def patiently(self, action: Callable[[], _T], seconds: float = PATIENCE_SECONDS) -> _T:
        """Do what cannot be kept for later, such as starting a run, and wait for a store that does not answer."""
        until = time.monotonic() + seconds
        while True:
            try:
                return action()
            except Exception as error:
                if not passing(error):
                    raise
                if time.monotonic() > until:
                    raise StoreUnreachable(
                        f"the store {self.place} has not answered for {seconds:.0f} s: nothing that was recorded is "
                        "lost, and the same command goes on once it answers"
                    ) from error
                self._pause_after(error)
            time.sleep(min(1.0, seconds / 10))

    def _write_held(self) -> None:
        calls, self._held = self._held, []
        starting = {call.run for call in calls if call.name == "create_run"}
        try:
            if starting:
                self.patiently(lambda: self._make(calls))
            elif calls:
                self._write(calls)
        except Exception:
            self._not_started |= starting
            raise
        except BaseException:
            # Once more with what ends the runs: calls that have been made already change nothing.
            self._held = calls + self._held
            raise

    def _write(self, calls: Sequence[Call]) -> None:
        """Make calls, or keep them for later if the store does not answer, behind those of the same run that wait."""
        by_run: dict[str, list[Call]] = {}
        for call in calls:
            by_run.setdefault(call.run, []).append(call)
        for run in [each for each in by_run if self._waiting.waits(each)]:
            with self._waiting.lock(run):
                if time.monotonic() < self._quiet_until or not self._deliver(run):
                    self._keep(by_run.pop(run))
        calls = [call for call in calls if call.run in by_run]
        if not calls:
            return
        try:
            self._make(calls)
        except Exception as error:
            if passing(error):
                self._pause_after(error)
                self._keep(calls)
            elif len(by_run) == 1:
                raise
            else:
                self._write_one_by_one(by_run)

    def _write_one_by_one(self, by_run: Mapping[str, Sequence[Call]]) -> None:
        """Write what was refused together run by run: one that someone has deleted must not hold up the others."""
        for run, calls in by_run.items():
            try:
                self._write(calls)
            except MlflowException as error:
                with self._waiting.lock(run):
                    self._keep(calls)
                    for file in self._waiting.files(run):
                        self._refuse(file, error)
                    self._waiting.clear(run)
                with suppress(MlflowException):
                    self._make([Call(run, "set_terminated", {"status": "FAILED", "end_time": int(time.time() * 1000)})])

    def _make(self, calls: Sequence[Call]) -> None:
        if self._bulk is not None and all(call.name != "log_artifact" for call in calls):
            self._bulk.write(calls)
            return
        for call in calls:
            call.make(self._client)

    def _keep(self, calls: Sequence[Call]) -> None:
        for call in calls:
            with self._waiting.lock(call.run):
                self._waiting.keep(call)

    def _deliver(self, run: str) -> bool:
        """Send what waits for a run, in order; return whether nothing is left. The caller holds its lock."""
        for file in self._waiting.files(run):
            try:
                self._make([self._waiting.read(file)])
            except Exception as error:
                if passing(error):
                    self._pause_after(error)
                    return False
                # What the store refuses for good, such as a run that someone has deleted, must not hold up the rest.
                self._refuse(file, error)
            file.unlink(missing_ok=True)
        self._waiting.clear(run)
        self._pause = _PAUSE_SECONDS
        return True

    def _refuse(self, file: Path, error: Exception) -> None:
        refused = self._waiting.refuse(file)
        _log.warning("the store refused a record, which is kept as %s: %s", refused, _first_line(error))

    def _pause_after(self, error: BaseException) -> None:
        now = time.monotonic()
        if now >= self._quiet_until:
            if self._pause == _PAUSE_SECONDS:
                _log.warning("the store %s does not answer (%s): training goes on, and records wait in %s",
                             self.place, _first_line(error), self.folder)  # fmt: skip
            self._quiet_until = now + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)


_outboxes: dict[tuple[str, Path, int], Outbox] = {}


def outbox_of(store: Store) -> Outbox:
    """Return this process's outbox for a store."""
    key = (store.uri, store.mlruns, os.getpid())
    if key not in _outboxes:
        _outboxes[key] = Outbox(store)
    return _outboxes[key]


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
