"""Runs that are recorded together: one transaction, whole or not at all, and what goes wrong with one of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE

from lossbench.tracking.run import RunRecord
from lossbench.tracking.store import outbox
from lossbench.tracking.store.bulk import BulkStore
from lossbench.tracking.store.client import MlflowException
from lossbench.tracking.store.open import Store
from lossbench.tracking.store.outbox import Outbox, StoreUnreachable, outbox_of

Write = Callable[[BulkStore, Any], None]


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of calls of each transaction that is written."""
    sizes: list[int] = []
    write = BulkStore.write

    def counted(self: BulkStore, calls: Any) -> None:
        write(self, calls)
        sizes.append(len(calls))

    monkeypatch.setattr(BulkStore, "write", counted)
    return sizes


@pytest.fixture
def outage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Callable[[], None]]]:
    """Let the database be locked, until what is returned is called."""
    monkeypatch.setattr(outbox, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(outbox, "_LONGEST_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(outbox, "_outboxes", {})

    def locked(*given: object) -> None:
        raise MlflowException("database is locked", TEMPORARILY_UNAVAILABLE)

    with pytest.MonkeyPatch.context() as patch:

        def begin() -> Callable[[], None]:
            patch.setattr(BulkStore, "write", locked)
            return patch.undo

        yield begin


def start(store: Store, count: int = 3) -> list[RunRecord]:
    with outbox_of(store).together():
        return [RunRecord.start(store, f"s{seed}", role="run", params={"seed": seed}) for seed in range(count)]


def finish(store: Store, runs: list[RunRecord]) -> None:
    with outbox_of(store).together():
        for run in runs:
            run.log([(0, {"val/auroc": 0.5})])
            run.finish({"test/auroc": 0.75})


def statuses(store: Store) -> dict[str, str]:
    return {run.info.run_name: run.info.status for run in store.client.search_runs([store.experiment_id])}


def require_whole(store: Store, run: RunRecord) -> None:
    found = store.client.get_run(run.id)
    assert found.info.status == "FINISHED"
    assert found.data.metrics == {"val/auroc": 0.5, "test/auroc": 0.75}
    assert list(found.data.params) == ["seed"]


def test_a_stack_is_started_by_one_transaction_and_ended_by_one(store: Store, writes: list[int]) -> None:
    runs = start(store)
    assert writes == [6]
    assert statuses(store) == {"s0": "RUNNING", "s1": "RUNNING", "s2": "RUNNING"}
    finish(store, runs)
    assert writes == [6, 6]
    for run in runs:
        require_whole(store, run)


def test_one_run_is_ended_by_one_transaction(store: Store, writes: list[int]) -> None:
    with RunRecord.start(store, "a", role="run") as run:
        del writes[:]
        run.log([(0, {"val/auroc": 0.5})])
        assert writes == []
        run.finish({"test/auroc": 0.75})
    assert writes == [2]


def test_blocks_within_a_block_write_nothing(store: Store, writes: list[int]) -> None:
    with outbox_of(store).together():
        finish(store, start(store))
        assert writes == []
    assert writes == [12]
    assert set(statuses(store).values()) == {"FINISHED"}


def test_what_was_recorded_is_written_however_the_block_ends(store: Store) -> None:
    runs = start(store)
    with pytest.raises(ZeroDivisionError), outbox_of(store).together():
        finish(store, runs[:2])
        _ = 1 / 0
    assert statuses(store) == {"s0": "FINISHED", "s1": "FINISHED", "s2": "RUNNING"}
    runs[2].kill()


def test_a_block_that_takes_long_writes_what_has_ended(
    store: Store, writes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = start(store)
    monkeypatch.setattr(outbox, "_TOGETHER_SECONDS", 0.05)
    with outbox_of(store).together():
        runs[0].finish()
        assert writes == [6]
        time.sleep(0.1)
        runs[1].finish()
        assert writes == [6, 2]
        runs[2].finish()
        assert writes == [6, 2]
    assert writes == [6, 2, 1]


def test_in_an_outage_all_waits_and_arrives_whole(
    store: Store, outage: Callable[[], Callable[[], None]], caplog: pytest.LogCaptureFixture
) -> None:
    runs = start(store)
    over = outage()
    finish(store, runs)
    assert outbox_of(store).waiting() == 6
    assert outbox_of(store).deliver() == 6
    over()
    assert set(statuses(store).values()) == {"RUNNING"}
    assert Outbox(store).deliver() == 0
    for run in runs:
        require_whole(store, run)


def test_a_run_of_which_calls_wait_is_written_behind_them_and_the_others_at_once(
    store: Store, outage: Callable[[], Callable[[], None]], writes: list[int]
) -> None:
    first, *others = start(store)
    over = outage()
    first.log([(0, {"val/auroc": 0.5})])
    first.flush()
    assert outbox_of(store).waiting() == 1
    over()
    del writes[:]
    with outbox_of(store).together():
        first.finish({"test/auroc": 0.75})
        finish(store, others)
    assert writes == [1, 6]
    for run in (first, *others):
        require_whole(store, run)


def test_a_run_that_someone_deleted_holds_up_no_other(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    runs = start(store)
    store.client.delete_run(runs[1].id)
    with caplog.at_level(logging.WARNING):
        finish(store, runs)
    require_whole(store, runs[0])
    require_whole(store, runs[2])
    assert len(list((store.mlruns / "outbox" / "refused").glob(f"{runs[1].id}-*"))) == 2
    assert "the store refused a record" in caplog.text
    assert outbox_of(store).waiting() == 0


def test_a_record_that_is_refused_leaves_no_run_finished(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    write = BulkStore.write

    def refuse(self: BulkStore, calls: Any) -> None:
        if any(metric.key == "wrong" for call in calls for metric in call.values.get("metrics", ())):
            raise MlflowException("wrong", INVALID_PARAMETER_VALUE)
        write(self, calls)

    runs = start(store)
    monkeypatch.setattr(BulkStore, "write", refuse)
    with outbox_of(store).together():
        runs[0].finish({"right": 1.0})
        runs[1].finish({"wrong": 1.0})
    assert statuses(store) == {"s0": "FINISHED", "s1": "FAILED", "s2": "RUNNING"}
    runs[2].kill()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_interruption_of_the_transaction_loses_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    runs = start(store)
    write = BulkStore.write

    def interrupted(self: BulkStore, calls: Any) -> None:
        if moment == "after":
            write(self, calls)
        monkeypatch.setattr(BulkStore, "write", write)
        raise KeyboardInterrupt

    monkeypatch.setattr(BulkStore, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        finish(store, runs[:2])
    runs[2].kill()
    assert statuses(store) == {"s0": "FINISHED", "s1": "FINISHED", "s2": "KILLED"}
    require_whole(store, runs[0])


def test_a_stack_that_cannot_be_started_leaves_nothing_behind(
    store: Store, outage: Callable[[], Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Outbox.patiently, "__defaults__", (0.01,))
    over = outage()
    runs: list[RunRecord] = []
    with pytest.raises(StoreUnreachable, match="has not answered"), outbox_of(store).together():
        runs += [RunRecord.start(store, "a", role="run") for _ in range(2)]
    for run in runs:
        run.fail("no store")
    assert outbox_of(store).waiting() == 0
    over()
    assert statuses(store) == {}
