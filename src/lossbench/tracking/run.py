"""The record of one run in MLflow: started with all that is known, fed while it trains, ended truthfully."""

from __future__ import annotations

import getpass
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import pandas as pd

from lossbench.tracking.artifacts import Artifacts
from lossbench.tracking.ending import Record
from lossbench.tracking.schema import Artifact, EndStatus, RoleName, Status, Tag
from lossbench.tracking.search import RunRow
from lossbench.tracking.store.client import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from lossbench.tracking.store.keys import PARAM_LIMIT, TAG_LIMIT, Keys, cut, tags_of
from lossbench.tracking.store.open import Store
from lossbench.tracking.store.outbox import outbox_of
from lossbench.tracking.store.process import Process

METRICS_PER_BATCH = 1000
FLUSH_SECONDS = 10.0
DIGEST_LIMIT = 36


class RunRecord(Record):
    """A run that is being written.

    As a context manager it ends the run by how the block is left; see :class:`lossbench.tracking.ending.Record`.

    Metrics of the epochs are buffered, and written a thousand at a time or every ten seconds. A final
    metric under a key that has a history stands one step after the last epoch, so that it is the run's value
    in MLflow (which shows the last step): the curve's last point is the selected epoch. Others stand at step 0,
    where MLflow draws them as bars. `history.csv` holds the epochs alone.

    MLflow would turn an infinity into 1.8e308: an infinite metric is left out instead, and the tag
    `lossbench.infinite` names it. NaN is kept: it means undefined.

    Examples
    --------
    ::

        with RunRecord.start(store, "s3 · focal", role="run", params={"loss": "focal", "seed": 3}) as run:
            for epoch in range(20):
                run.log([(epoch, {"train/loss": .3, "val/auroc": .9})])
            run.finish({"val/auroc": .9, "test/auroc": .88})
    """

    def __init__(self, store: Store, run_id: str, artifact_uri: str) -> None:
        self.id = run_id
        self.artifacts = Artifacts(store, run_id, artifact_uri)
        self._outbox = outbox_of(store)
        self._keys = Keys()
        self._history: dict[int, dict[str, float]] = {}
        self._waiting: list[Metric] = []
        self._held: list[Param] = []
        self._tags: list[RunTag] = []
        self._infinite: dict[str, float] = {}
        self._flushed = time.monotonic()
        self.status: EndStatus | None = None

    @classmethod
    def start(
        cls,
        store: Store,
        name: str,
        *,
        role: RoleName,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        parent: str | None = None,
        sweep: str | None = None,
        objective: str | None = None,
        hold: bool = False,
    ) -> Self:
        """Create the run in MLflow, status RUNNING.

        Parameters
        ----------
        name
            What MLflow shows: `s3 · focal · l2`.
        role
            The sweep itself, one of its objectives, a job, an untrained reference row, the tuning of an objective, or
            one of its trials.
        params
            What a person compares, flat; values of more than 6,000 characters are cut with a note.
        tags
            Everything else, all written at once (a later tag costs a query). None leaves a tag out.
        parent, sweep
            Run ids of the objective (or sweep) above it, and of the sweep.
        objective
            Label of its objective: what varies apart from seed and fold.
        hold
            Write the params with the first metrics: for runs of which nobody can see more than their name before they
            end. One call to MLflow costs less than two.
        """
        fixed = {
            Tag.ROLE: role,
            Tag.SWEEP: sweep,
            Tag.OBJECTIVE: objective,
            Tag.PARENT: parent,
            Tag.NAME: name,
            Tag.SOURCE_NAME: "lossbench",
            Tag.SOURCE_TYPE: "LOCAL",
            Tag.USER: _user(),
            Tag.PROCESS: Process.current(),
        }
        entries = tags_of({**fixed, **(tags or {})})
        outbox, record = outbox_of(store), None
        try:
            with outbox.together():
                record = cls(store, *outbox.start_run(store, entries))
                record._params(params or {}, hold)
        except BaseException as error:
            if record is not None:
                record.end_by(error)
            raise
        return record

    @classmethod
    def resume(cls, store: Store, run: RunRow) -> Self:
        """Go on with a run that another process started and this one has taken over: RUNNING, in this process."""
        record = cls(store, run.id, run.artifact_uri)
        store.client.set_tag(record.id, Tag.PROCESS, str(Process.current()))
        store.client.update_run(record.id, status=Status.RUNNING)
        return record

    @property
    def ended(self) -> bool:
        return self.status is not None

    def _params(self, params: Mapping[str, Any], hold: bool) -> None:
        keys = Keys()
        self._held = [Param(keys[name], cut(value, PARAM_LIMIT)) for name, value in params.items()]
        if not hold:
            self.flush()

    def log(self, rows: Iterable[tuple[int, Mapping[str, float]]], *, hold: bool = False) -> None:
        """Take metrics of epochs, `(epoch, {key: value})`; several rows of one epoch are joined.

        Parameters
        ----------
        hold
            Write nothing yet: the end of the run follows at once, and one call to MLflow costs less than two.
        """
        self._require_running()
        now = _milliseconds()
        for step, metrics in rows:
            self._history.setdefault(int(step), {}).update({key: float(value) for key, value in metrics.items()})
            self._wait(metrics, now, int(step))
        if hold:
            return
        if len(self._waiting) >= METRICS_PER_BATCH or time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Send the params, metrics and tags that wait."""
        # Latest first: MLflow keeps each key's latest value apart, and else replaces it for every epoch.
        self._waiting.sort(key=lambda metric: metric.step, reverse=True)
        # Batch by batch, so that after an outage only what has not arrived is sent again.
        while self._held or self._tags or self._waiting:
            # MLflow takes a thousand entries a call, params, tags and metrics together.
            metrics = self._waiting[: METRICS_PER_BATCH - len(self._held) - len(self._tags)]
            self._outbox.send(self.id, "log_batch", metrics=metrics, params=self._held, tags=self._tags)
            self._held, self._tags = [], []
            del self._waiting[: len(metrics)]
        self._flushed = time.monotonic()

    def tag(self, key: str, value: object) -> None:
        """Set one tag of a run that has started (3 ms: prefer those of `start`)."""
        self._outbox.send(self.id, "set_tag", key=key, value=cut(value, TAG_LIMIT))

    def dataset(
        self,
        name: str,
        digest: str,
        *,
        columns: Mapping[str, str],
        rows: int,
        source: str,
    ) -> None:
        """Record which data the run used.

        Parameters
        ----------
        name, digest
            The digest is cut to the 36 characters that MLflow keeps; `profile` holds all of it.
        columns
            Name and MLflow type (`double`, `long`, `string`) of each column.
        rows
            Number of rows.
        source
            Where it comes from, in words or as a path.
        """
        schema = [{"name": column, "type": kind, "required": True} for column, kind in columns.items()]
        entry = Dataset(
            name=name[:500],
            digest=digest[:DIGEST_LIMIT],
            source_type="local",
            source=json.dumps({"uri": source}),
            schema=json.dumps({"mlflow_colspec": schema}),
            profile=json.dumps({"num_rows": rows, "num_elements": rows * len(schema), "digest": digest}),
        )
        dataset_input = DatasetInput(entry, [InputTag(Tag.CONTEXT, "training")])
        self._outbox.send(self.id, "log_inputs", datasets=[dataset_input])

    @property
    def history(self) -> pd.DataFrame:
        """The epochs so far: a column `epoch` and one per key, by epoch."""
        rows = [{"epoch": step, **self._history[step]} for step in sorted(self._history)]
        return pd.DataFrame(rows, columns=None if rows else ["epoch"])

    def finish(
        self,
        metrics: Mapping[str, float] | None = None,
        status: EndStatus = Status.FINISHED,
    ) -> None:
        """Write the final metrics and end the run.

        Raises
        ------
        RuntimeError
            If the run has ended already; MLflow itself would take metrics after the end.
        """
        self._require_running()
        # A value at step 0 alone is a bar in MLflow's charts; one behind a curve is the curve's last point.
        curves = {key for row in self._history.values() for key in row}
        now, last = _milliseconds(), max(self._history, default=-1) + 1
        for key, value in (metrics or {}).items():
            self._wait({key: value}, now, last if key in curves else 0)
        infinite = ", ".join(f"{key}={value}" for key, value in self._infinite.items())
        # With the metrics: a call of its own would cost a twentieth of a run of the batched engine.
        self._tags = [RunTag(Tag.INFINITE, cut(infinite, TAG_LIMIT))] if infinite else []
        if self._history:
            self.artifacts.table(self.history, Artifact.HISTORY)
        with self._outbox.together():
            self.flush()
            self._send_end(status)
        self.status = status

    def fail(self, traceback_text: str) -> None:
        """End the run as FAILED: the traceback in `traceback.txt`, its last line as tag `lossbench.error`."""
        self._require_running()
        lines = traceback_text.strip().splitlines() or ["no traceback"]
        self._end(
            Status.FAILED,
            [
                lambda: self.artifacts.text(traceback_text, Artifact.TRACEBACK),
                lambda: self.tag(Tag.ERROR, lines[-1]),
            ],
        )

    def kill(self) -> None:
        """End the run as KILLED."""
        self._require_running()
        self._end(Status.KILLED, [])

    def _end(self, status: EndStatus, last_words: list[Callable[[], None]]) -> None:
        # The status is what must not be lost: a full disk may cost the traceback, not the truth.
        problems = []
        keep_history = [lambda: self.artifacts.table(self.history, Artifact.HISTORY)] if self._history else []
        for write in [self.flush, *keep_history, *last_words]:
            try:
                write()
            except Exception as error:
                problems.append(error)
        self._send_end(status)
        self.status = status
        if problems:
            raise problems[0]

    def _send_end(self, status: EndStatus) -> None:
        self._outbox.send(self.id, "set_terminated", status=status, end_time=_milliseconds())

    def _wait(self, metrics: Mapping[str, float], timestamp: int, step: int) -> None:
        for name, value in metrics.items():
            if math.isinf(value):
                self._infinite[name] = float(value)
            else:
                self._waiting.append(Metric(self._keys[name], float(value), timestamp, step))

    def _require_running(self) -> None:
        if self.status is not None:
            raise RuntimeError(f"the run {self.id} has ended as {self.status}: it takes nothing more")


def _milliseconds() -> int:
    return int(time.time() * 1000)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return str(os.getuid())
