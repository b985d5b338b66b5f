"""Records that a store did not take: they wait on disk, in order, until it does.

MLflow's client itself tries a request again, for some seconds as :mod:`lossbench.tracking.store.client` has it. What
then has still not arrived is kept under ``mlruns/outbox``, one folder a run, and training goes on; it is delivered by
the run's next record, by the end of the sweep, by the next command over the same store, or by ``lossbench doctor``.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import requests
from filelock import FileLock

from lossbench.errors import Failed
from lossbench.tracking.store.client import DatasetInput, Metric, MlflowClient, MlflowException, Param, RunTag

if TYPE_CHECKING:
    from lossbench.tracking.store.open import Store

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
# So long a caller who cannot go on without the store waits for it.
PATIENCE_SECONDS = 60.0
# After a failure nothing is sent for so long, doubled up to the second: training does not wait at every epoch.
_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 2.0, 30.0
_REFUSED = "refused"
# A server that is not there, too busy, or in trouble; a database that is locked or on a full disk.
_PASSING = ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "INTERNAL_ERROR")


class StoreUnreachable(Failed):
    """The store has not answered for as long as anyone waits; what was recorded is on disk."""


def passing(error: BaseException) -> bool:
    """Whether an error is an outage that may pass, rather than a request that is wrong."""
    if isinstance(error, MlflowException):
        return error.error_code in _PASSING
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code >= 500 or error.response.status_code == 429
    return isinstance(error, requests.RequestException | ConnectionError)


class Outbox:
    """What waits for one store, in a folder."""

    def __init__(self, store: Store) -> None:
        self.folder = store.mlruns / "outbox"
        self.place = store.place
        self._client = store.client
        self._quiet_until = 0.0
        self._pause = _PAUSE_SECONDS

    def send(self, run: str, call: str, **values: Any) -> None:
        """Make a call of MLflow's client about a run, or keep it for later where the store does not answer.

        Parameters
        ----------
        call
            ``log_batch``, ``log_inputs``, ``set_tag``, ``set_terminated`` or ``log_artifact``.
        """
        if self._waits(run):
            with self._lock(run):
                if time.monotonic() < self._quiet_until or not self._deliver(run):
                    self._keep(run, call, values)
                    return
        try:
            _make(self._client, run, call, values)
        except Exception as error:
            if not passing(error):
                raise
            self._stumbled(error)
            with self._lock(run):
                self._keep(run, call, values)

    def deliver(self) -> int:
        """Send all that waits, whoever recorded it; return how many records still do."""
        for run in self._runs():
            with self._lock(run):
                if not self._deliver(run):
                    break
        return self.waiting()

    def deliver_patiently(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Send all that waits, and wait for a store that does not answer.

        Raises
        ------
        StoreUnreachable
            Where it has not answered for so long.
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
        """Return the number of records that wait."""
        return sum(len(_records(self.folder / run)) for run in self._runs())

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
                self._stumbled(error)
            time.sleep(min(1.0, seconds / 10))

    def _runs(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        return sorted(each.name for each in self.folder.iterdir() if each.is_dir() and each.name != _REFUSED)

    def _waits(self, run: str) -> bool:
        return (self.folder / run).exists()

    def _lock(self, run: str) -> FileLock:
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / f"{run}.lock")

    def _keep(self, run: str, call: str, values: dict[str, Any]) -> None:
        folder = self.folder / run
        folder.mkdir(parents=True, exist_ok=True)
        number = max((int(record.stem) for record in _records(folder)), default=-1) + 1
        if call == "log_artifact":
            # Under its own name, which is what it will be called in the run.
            held = folder / f"{number:06d}.file" / Path(values["local_path"]).name
            held.parent.mkdir()
            shutil.copyfile(values["local_path"], held)
            values = {**values, "local_path": str(held)}
        draft = folder / f"{number:06d}.partial"
        draft.write_text(json.dumps({"call": call, "values": _plain(values)}))
        os.replace(draft, draft.with_suffix(".json"))

    def _deliver(self, run: str) -> bool:
        """Send what waits for a run, in order; return whether nothing is left. The caller holds its lock."""
        folder = self.folder / run
        for record in _records(folder):
            said = json.loads(record.read_text())
            try:
                _make(self._client, run, said["call"], _rich(said["values"]))
            except Exception as error:
                if passing(error):
                    self._stumbled(error)
                    return False
                # What the store refuses for good, such as a run that someone has deleted, must not hold up the rest.
                refused = self.folder / _REFUSED / f"{run}-{record.name}"
                _log.warning("the store refused a record, which is kept as %s: %s", refused, _first_line(error))
                refused.parent.mkdir(exist_ok=True)
                os.replace(record, refused)
            record.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        self._pause = _PAUSE_SECONDS
        return True

    def _stumbled(self, error: BaseException) -> None:
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
    return _outboxes.setdefault((store.uri, store.mlruns, os.getpid()), Outbox(store))


def _make(client: MlflowClient, run: str, call: str, values: dict[str, Any]) -> None:
    make = partial(getattr(client, call), run, **values)
    try:
        make()
    except MlflowException as error:
        # MLflow looks whether it knows a dataset, and else adds it: of two runs that bring a new one at the same moment
        # the second is refused, and finds it when it looks again
        # (https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/store/tracking/sqlalchemy_store.py, _log_inputs_impl).
        if call != "log_inputs" or error.error_code != "BAD_REQUEST":
            raise
        make()


def _records(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"))


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call as JSON has them."""
    plain = dict(values)
    if "metrics" in values:
        plain["metrics"] = [[each.key, each.value, each.timestamp, each.step] for each in values["metrics"]]
    if "params" in values:
        plain["params"] = [[each.key, each.value] for each in values["params"]]
    if "tags" in values:
        plain["tags"] = [[each.key, each.value] for each in values["tags"]]
    if "datasets" in values:
        plain["datasets"] = [each.to_dictionary() for each in values["datasets"]]
    return plain


def _rich(plain: dict[str, Any]) -> dict[str, Any]:
    values = dict(plain)
    if "metrics" in plain:
        values["metrics"] = [Metric(*each) for each in plain["metrics"]]
    if "params" in plain:
        values["params"] = [Param(*each) for each in plain["params"]]
    if "tags" in plain:
        values["tags"] = [RunTag(*each) for each in plain["tags"]]
    if "datasets" in plain:
        values["datasets"] = list(_datasets(plain["datasets"]))
    return values


def _datasets(plain: list[dict[str, Any]]) -> Iterator[DatasetInput]:
    from lossbench.tracking.store.client import Dataset, InputTag

    for each in plain:
        yield DatasetInput(
            Dataset(**each["dataset"]), [InputTag(key, value) for key, value in (each.get("tags") or {}).items()]
        )


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
