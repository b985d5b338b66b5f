"""A run: everything that was logged is there, and its end is the truth."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow.protos.databricks_pb2 import INVALID_STATE
from sqlalchemy import event

from lossbench.tracking import read
from lossbench.tracking.run import RunRecord
from lossbench.tracking.search import read_run
from lossbench.tracking.store.address import local_path
from lossbench.tracking.store.client import MlflowException, Run
from lossbench.tracking.store.open import Store
from lossbench.tracking.store.outbox import outbox_of
from lossbench.tracking.store.table_rows import TableRows


def start(store: Store, **changes: object) -> RunRecord:
    return RunRecord.start(store, "s0 · focal", **{"role": "run", "params": {"seed": 0}, **changes})


def fetch(store: Store, run: RunRecord) -> Run:
    return store.client.get_run(run.id)


def artifact(store: Store, run: RunRecord, path: str) -> str:
    folder = local_path(fetch(store, run).info.artifact_uri)
    assert folder is not None
    return (folder / path).read_text()


def test_a_run_says_what_it_is(store: Store) -> None:
    run = start(store, params={"loss": "focal", "loss.gamma": 2.0}, tags={"lossbench.job": 3}, objective="focal")
    found = fetch(store, run)
    assert found.info.status == "RUNNING"
    assert found.info.run_name == "s0 · focal"
    assert found.data.params == {"loss": "focal", "loss.gamma": "2.0"}
    wanted = {"lossbench.role": "run", "lossbench.job": "3", "lossbench.objective": "focal"}
    assert wanted.items() <= found.data.tags.items()
    assert "mlflow.parentRunId" not in found.data.tags


def test_long_values_strange_keys_and_many_params(store: Store) -> None:
    params = {"long": "x" * 7000, "a(b)": 1, "a@b@": 2} | {f"p{number}": number for number in range(250)}
    found = fetch(store, start(store, params=params)).data.params
    assert len(found) == 253
    assert found["long"].endswith("(cut, 7000 characters)")
    assert found["a_b_"] == "1"
    assert "2" in [value for key, value in found.items() if key.startswith("a_b__")]


@pytest.mark.usefixtures("by_public_api")
def test_every_row_of_a_long_history_arrives_in_allowed_batches(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    log_batch = store.client.log_batch

    def counted(run_id: str, metrics: tuple = (), params: tuple = (), tags: tuple = ()) -> None:
        sizes.append(len(metrics))
        log_batch(run_id, metrics, params, tags)

    run = start(store)
    monkeypatch.setattr(store.client, "log_batch", counted)
    for epoch in range(150):
        run.log([(epoch, {f"val/m{number}": epoch + number / 8 for number in range(8)})])
    run.finish({"val/m0": 41.0, "test/m0": 7.0})
    assert max(sizes) <= 1000
    assert sum(sizes) == 150 * 8 + 2
    for number in range(8):
        points = store.client.get_metric_history(run.id, f"val/m{number}")
        steps = sorted((point.step, point.value) for point in points if point.step < 150)
        assert steps == [(epoch, epoch + number / 8) for epoch in range(150)]
    # The final figures are the run's own values although the history goes on to a later epoch than the selected.
    assert fetch(store, run).data.metrics["val/m0"] == 41.0
    history = read.history_of(store, read_run(store, run.id))
    assert history["epoch"].tolist() == list(range(150))
    assert history["val/m0"].tolist() == [float(epoch) for epoch in range(150)]


def test_rows_of_one_epoch_are_joined_and_floats_survive(store: Store) -> None:
    run = start(store)
    run.log([(0, {"train/loss": 0.1 + 0.2}), (1, {"train/loss": 1 / 3})])
    run.log([(0, {"val/auroc": 0.5})])
    run.finish()
    history = read.history_of(store, read_run(store, run.id))
    assert history.to_dict("list") == {
        "epoch": [0, 1],
        "train/loss": [0.1 + 0.2, 1 / 3],
        "val/auroc": [0.5, pytest.approx(math.nan, nan_ok=True)],
    }


def test_a_history_is_a_csv_of_the_epochs_in_order(store: Store) -> None:
    rows = [
        (2, {"val/a": 0.1 + 0.2, 'val/"b, c"': -0.0}),
        (0, {"val/a": math.nan, "val/d": math.inf}),
        (1, {"val/d": 1e-300, "val/e": 1e16, "val/a": 1.0}),
    ]
    run = start(store)
    run.log(rows)
    run.finish()
    wanted = pd.DataFrame([{"epoch": step, **row} for step, row in sorted(rows)]).to_csv(index=False)
    assert artifact(store, run, "history.csv") == wanted


def test_a_running_run_has_no_history_yet(store: Store) -> None:
    run = start(store)
    run.log([(0, {"val/auroc": 0.5}), (1, {"val/auroc": 0.75})])
    run.flush()
    assert read.history_of(store, read_run(store, run.id)) is None


def test_nan_is_kept_and_infinity_is_named(store: Store) -> None:
    run = start(store)
    run.log([(0, {"val/log_loss": math.inf})])
    run.finish({"test/auroc": math.nan, "test/log_loss": -math.inf, "test/f1": 0.5})
    data = fetch(store, run).data
    assert math.isnan(data.metrics["test/auroc"])
    assert set(data.metrics) == {"test/auroc", "test/f1"}
    assert data.tags["lossbench.infinite"] == "val/log_loss=inf, test/log_loss=-inf"
    assert read.history_of(store, read_run(store, run.id))["val/log_loss"].tolist() == [math.inf]


def test_an_exception_is_a_failed_run_with_its_traceback(store: Store) -> None:
    run = start(store)
    run.log([(0, {"train/loss": 1.0})])
    with pytest.raises(ZeroDivisionError), run:
        _ = 1 / 0
    found = fetch(store, run)
    assert found.info.status == "FAILED"
    assert found.info.end_time
    assert found.data.tags["lossbench.error"] == "ZeroDivisionError: division by zero"
    assert "1 / 0" in artifact(store, run, "traceback.txt")
    assert found.data.metrics == {"train/loss": 1.0}
    assert artifact(store, run, "history.csv") == "epoch,train/loss\n0,1.0\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_a_killed_run(store: Store, error: type[BaseException]) -> None:
    with pytest.raises(error), start(store) as run:
        raise error
    assert fetch(store, run).info.status == "KILLED"


def test_a_block_that_ends_is_a_finished_run(store: Store) -> None:
    with start(store) as run:
        run.log([(0, {"train/loss": 1.0})])
    assert fetch(store, run).info.status == "FINISHED"
    with start(store) as other:
        other.finish({"test/f1": 1.0})
    assert fetch(store, other).data.metrics == {"test/f1": 1.0}


def test_nothing_is_taken_after_the_end(store: Store) -> None:
    run = start(store)
    run.finish()
    for late in (lambda: run.log([(0, {"a": 1.0})]), run.finish, run.kill, lambda: run.fail("late")):
        with pytest.raises(RuntimeError, match="has ended as FINISHED"):
            late()


def test_final_metrics_that_cannot_be_written_fail_the_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **more: object) -> None:
        raise MlflowException("disk full", INVALID_STATE)

    run = start(store)
    monkeypatch.setattr(TableRows, "_log_batch", refuse)
    with pytest.raises(MlflowException, match="disk full"), run:
        run.finish({"test/f1": 1.0})
    assert fetch(store, run).info.status == "FAILED"


def test_a_store_that_is_gone_hides_no_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*args: object, **more: object) -> None:
        raise MlflowException("the server is gone", INVALID_STATE)

    run = start(store)
    monkeypatch.setattr(store.bulk, "write", gone)
    with pytest.raises(ZeroDivisionError) as raised, run:
        _ = 1 / 0
    assert any("the server is gone" in note for note in raised.value.__notes__)


def test_a_run_whose_params_cannot_be_written_is_not_there(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **more: object) -> None:
        raise MlflowException("disk full", INVALID_STATE)

    with monkeypatch.context() as patch:
        patch.setattr(TableRows, "_log_batch", refuse)
        with pytest.raises(MlflowException, match="disk full"):
            start(store)
    outbox_of(store).deliver_patiently()
    assert list(store.client.search_runs([store.experiment_id])) == []


@pytest.mark.usefixtures("by_public_api")
def test_params_that_cannot_be_written_leave_no_run_running(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **more: object) -> None:
        raise MlflowException("disk full", INVALID_STATE)

    monkeypatch.setattr(store.client, "log_batch", refuse)
    with pytest.raises(MlflowException):
        start(store)
    assert [run.info.status for run in store.client.search_runs([store.experiment_id])] == ["FAILED"]


def test_files(store: Store, tmp_path: Path) -> None:
    run = start(store)
    run.artifacts.text("naïve", "notes/a.txt")
    run.artifacts.json({"value": math.nan, "list": (1, 2.5), "path": Path("x")}, "a.json")
    run.artifacts.table(pd.DataFrame(columns=["epoch"]), "empty.csv")
    run.artifacts.bytes(b"\x00\x01", "model.pt")
    (tmp_path / "figure.png").write_bytes(b"png")
    run.artifacts.file(tmp_path / "figure.png")
    run.artifacts.file(tmp_path / "figure.png", "figures/roc.png")
    assert artifact(store, run, "notes/a.txt") == "naïve"
    assert json.loads(artifact(store, run, "a.json")) == {"value": None, "list": [1, 2.5], "path": "x"}
    assert artifact(store, run, "empty.csv") == "epoch\n"
    listed = {found.path for found in store.client.list_artifacts(run.id)}
    assert listed == {"notes", "a.json", "empty.csv", "model.pt", "figure.png", "figures"}
    assert [found.path for found in store.client.list_artifacts(run.id, "figures")] == ["figures/roc.png"]


@pytest.mark.parametrize("path", ["../outside", "/etc/outside", "a/../../outside", ""])
def test_files_stay_inside_their_run(store: Store, path: str) -> None:
    with pytest.raises(ValueError, match="inside its run"):
        start(store).artifacts.text("", path)


def test_the_dataset(store: Store) -> None:
    run = start(store)
    columns = {"x": "double", "class": "string"}
    run.dataset("rings", "ab" * 32, columns=columns, rows=6200, source="rings(seed=0)")
    (given,) = fetch(store, run).inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("rings", "ab" * 18)
    assert json.loads(given.dataset.profile) == {"num_rows": 6200, "num_elements": 12400, "digest": "ab" * 32}
    assert [column["name"] for column in json.loads(given.dataset.schema)["mlflow_colspec"]] == ["x", "class"]
    assert [(tag.key, tag.value) for tag in given.tags] == [("mlflow.data.context", "training")]


@pytest.mark.usefixtures("by_public_api")
def test_two_runs_that_bring_a_new_dataset_at_the_same_moment(store: Store) -> None:
    first, second = (RunRecord.start(store, name, role="run") for name in ("first", "second"))
    met: list[str] = []

    def bring(run: RunRecord) -> None:
        run.dataset("rings", "met by two", columns={"x": "double"}, rows=3, source="here")

    def between(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.startswith("SELECT") and "FROM datasets" in statement and not met:
            met.append(statement)
            bring(second)

    engine = store.client._tracking_client.store.engine
    event.listen(engine, "after_cursor_execute", between)
    try:
        bring(first)
    finally:
        event.remove(engine, "after_cursor_execute", between)
    assert len(met) == 1
    for run in (first, second):
        (given,) = fetch(store, run).inputs.dataset_inputs
        assert given.dataset.digest == "met by two"
        run.finish()


def test_a_final_value_is_the_last_point_of_its_curve_and_a_bar_where_it_has_none(store: Store) -> None:
    with RunRecord.start(store, "bars", role="run") as run:
        run.log([(0, {"val/auroc": 0.5}), (1, {"val/auroc": 0.9})])
        run.finish({"val/auroc": 0.7, "test/auroc": 0.6})
    assert [point.step for point in store.client.get_metric_history(run.id, "test/auroc")] == [0]
    assert store.client.get_metric_history(run.id, "val/auroc")[-1].step == 2
    assert store.client.get_run(run.id).data.metrics == {"val/auroc": 0.7, "test/auroc": 0.6}
