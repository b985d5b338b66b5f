"""Runs come back as one tidy table."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable

import pandas as pd
import pytest

from lossbench.errors import UserError
from lossbench.tracking import read, search
from lossbench.tracking.run import RunRecord
from lossbench.tracking.search import read_run
from lossbench.tracking.store.open import Store
from lossbench.tracking.sweep import SweepRecord

Job = Callable[..., RunRecord]


@pytest.fixture
def sweep(store: Store, job: Job) -> SweepRecord:
    with SweepRecord.open(store, "losses on rings", objectives={"focal": {}, "mse": {}}) as sweep:
        job(sweep, "focal", 0).finish({"test/auroc": 0.5, "test/f1": math.nan})
        job(sweep, "focal", 1).finish({"test/auroc": 0.75})
        job(sweep, "focal", 1, superseded="by another").finish({"test/auroc": 0.1})
        job(sweep, "mse", 0).fail("Traceback\nValueError: no [bold]loss[/bold]")
        bayes = RunRecord.start(
            store, "s0 · Bayes", role="reference", params={"seed": 0}, sweep=sweep.id, objective="Bayes"
        )
        bayes.finish({"test/auroc": 0.9})
    return sweep


def test_one_row_per_job_and_reference(store: Store, sweep: SweepRecord) -> None:
    frame = read.runs(store, sweep.id)
    assert frame["objective"].tolist() == ["focal", "focal", "mse", "Bayes"]
    assert frame["role"].tolist() == ["run", "run", "run", "reference"]
    assert frame["status"].tolist() == ["FINISHED", "FINISHED", "FAILED", "FINISHED"]
    assert frame["params.seed"].tolist() == [0, 1, 0, 0]
    assert frame["params.loss"].tolist()[:3] == ["focal", "focal", "mse"]
    assert frame["metrics.test/auroc"].fillna(-1).tolist() == [0.5, 0.75, -1, 0.9]
    assert frame["metrics.test/f1"].isna().all()
    assert frame["overrides"].tolist()[0] == "loss=focal seed=0"
    assert (frame["seconds"] >= 0).all()
    assert str(frame["start"].dtype).endswith("UTC]")
    assert frame["name"].tolist()[0] == "s0 · focal"


def test_filters(store: Store, sweep: SweepRecord) -> None:
    assert len(read.runs(store)) == 4
    assert len(read.runs(store, sweep.id, status=["FINISHED"])) == 3
    assert read.runs(store, filter="params.loss = 'mse'")["objective"].tolist() == ["mse"]
    with pytest.raises(UserError, match="cannot read the filter 'loss is focal'"):
        read.runs(store, filter="loss is focal")


def test_an_empty_table_has_its_columns(store: Store) -> None:
    assert {"run_id", "objective", "role", "status", "seconds"} <= set(read.runs(store).columns)
    assert read.failures(read.runs(store)).empty


def test_runs_that_lossbench_did_not_make(store: Store) -> None:
    info = store.client.create_run(store.experiment_id, run_name="theirs").info
    store.client.log_metric(info.run_id, "test/auroc", 0.5)
    store.client.set_terminated(info.run_id)
    frame = read.runs(store, filter="metrics.`test/auroc` > 0")
    assert frame[["objective", "role"]].values.tolist() == [["theirs", "run"]]
    assert read.runs(store).empty


@pytest.mark.parametrize("size", [1, 2, 3])
def test_pages_of_any_size_make_one_table(
    size: int, store: Store, sweep: SweepRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read.runs(store, sweep.id), read.runs(store)
    monkeypatch.setattr(search, "_PAGE", size)
    for table, again in zip(whole, (read.runs(store, sweep.id), read.runs(store)), strict=True):
        pd.testing.assert_frame_equal(again, table)
    assert gc.isenabled()


def test_failures_list_overrides_and_error(store: Store, sweep: SweepRecord) -> None:
    (failure,) = read.failures(read.runs(store, sweep.id)).to_dict("records")
    assert failure["overrides"] == "loss=mse seed=0"
    assert failure["error"] == "ValueError: no [bold]loss[/bold]"


def test_sweeps_are_found_by_name_id_and_last(store: Store, sweep: SweepRecord) -> None:
    with SweepRecord.open(store, "newer", objectives={}, tags={"lossbench.metric": "val/f1"}) as newer:
        pass
    assert read.find_sweep(store, "last").id == newer.id
    assert read.find_sweep(store, "last").tags["lossbench.metric"] == "val/f1"
    for name in ("losses on rings", sweep.id, sweep.id[:8]):
        found = read.find_sweep(store, name)
        assert (found.id, found.name, found.status) == (sweep.id, "losses on rings", "FINISHED")
    with pytest.raises(UserError, match=r"no sweep is named 'loses on ring' .* 'losses on rings'"):
        read.find_sweep(store, "loses on ring")


def test_the_newest_of_a_name(store: Store) -> None:
    with SweepRecord.open(store, "twice", objectives={}):
        pass
    with SweepRecord.open(store, "twice", objectives={}) as second:
        pass
    assert read.find_sweep(store, "twice").id == second.id


def test_no_sweep_yet_and_no_such_run(store: Store) -> None:
    with pytest.raises(UserError, match="holds no sweep yet"):
        read.find_sweep(store, "last")
    with pytest.raises(UserError, match="no run has the id 'abc'"):
        read_run(store, "abc")


def test_columns_of_numbers_are_numbers_and_others_text(store: Store) -> None:
    for gamma, width in (("1", "8"), ("2.5", "8,8")):
        RunRecord.start(store, "r", role="run", params={"gamma": gamma, "width": width}).finish()
    frame = read.runs(store)
    assert frame["params.gamma"].tolist() == [1.0, 2.5]
    assert frame["params.width"].tolist() == ["8", "8,8"]


def test_references_stand_by_data_and_name_whoever_recorded_them_first(store: Store) -> None:
    with SweepRecord.open(store, "two workers", objectives={}) as sweep:
        for data, seed in (("wine", 1), ("iris", 1), ("wine", 0), ("iris", 0)):
            RunRecord.start(
                store,
                f"s{seed} · class prior",
                role="reference",
                params={"data": data, "seed": seed},
                sweep=sweep.id,
                objective="class prior",
            ).finish({"test/auroc": 0.5})
    frame = read.runs(store, sweep.id)
    assert frame["params.data"].tolist() == ["iris", "iris", "wine", "wine"]
    assert frame["params.seed"].tolist() == [0, 1, 0, 1]
