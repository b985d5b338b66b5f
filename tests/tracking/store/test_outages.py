"""A tracking server that is slow, loses requests or answers, or is gone: every row arrives, once, and in order."""

from __future__ import annotations

import logging
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from commands import TINY, Command, Ended
from lossbench.tracking import read
from lossbench.tracking.read import history_of
from lossbench.tracking.run import RunRecord
from lossbench.tracking.schema import Tag
from lossbench.tracking.search import read_run, search_runs
from lossbench.tracking.store import outbox
from lossbench.tracking.store.open import Store, open_store
from lossbench.tracking.store.outbox import Outbox, StoreUnreachable, outbox_of
from lossbench.tracking.store.process import Process


class Unreliable:
    """MLflow's own server, between which and the client requests or answers get lost.

    `fate` is asked for every request, by its number: serve, lose (the request), forget (the answer).
    """

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self.app = app
        self.asked = 0
        self.fate: Callable[[int], str] = lambda number: "serve"

    def __call__(self, environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        self.asked += 1
        fate = self.fate(self.asked)
        if fate == "lose":
            environment["werkzeug.socket"].shutdown(2)
            start("503 lost", [])
            return []
        answer = self.app(environment, start)
        if fate == "forget":
            environment["werkzeug.socket"].shutdown(2)
        return answer


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Unreliable, str]]:
    folder = tmp_path_factory.mktemp("server")
    open_store(folder)  # makes the database
    before = dict(os.environ)
    os.environ |= {
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder / 'mlflow.db'}",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "kept"),
    }
    from werkzeug.serving import WSGIRequestHandler, make_server

    with warnings.catch_warnings():
        # mlflow 3.17 imports a part of starlette that is deprecated (mlflow/server/fastapi_app.py).
        warnings.simplefilter("ignore")
        import_module("mlflow.server.fastapi_app")
        from mlflow.server import app

    class Quiet(WSGIRequestHandler):
        def log(self, type: str, message: str, *args: Any) -> None:
            pass

    unreliable = Unreliable(app)
    server = make_server("127.0.0.1", 0, unreliable, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield unreliable, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def server(serving: tuple[Unreliable, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Unreliable]:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
    monkeypatch.setattr(outbox, "_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(outbox, "_LONGEST_PAUSE_SECONDS", 0.1)
    yield serving[0]
    serving[0].fate = lambda number: "serve"


@pytest.fixture
def store(serving: tuple[Unreliable, str], server: Unreliable, tmp_path: Path, request: pytest.FixtureRequest) -> Store:
    return open_store(tmp_path / "mlruns", serving[1], request.node.name.translate(str.maketrans("[]", "__")))


def gone(number: int) -> str:
    return "lose"


def serve(number: int) -> str:
    return "serve"


def train(store: Store, name: str, epochs: int, at: Callable[[int], None] = lambda epoch: None) -> RunRecord:
    """Record a run whose rows are written at every epoch."""
    with RunRecord.start(store, name, role="run", params={"seed": 0}) as run:
        run.dataset("rings", "abc", columns={"x": "double"}, rows=3, source="here")
        run.artifacts.text("seed: 0", "config.yaml")
        for epoch in range(epochs):
            at(epoch)
            run.log([(epoch, {"val/auroc": epoch / 100, "train/loss": float("nan") if epoch == 1 else 1.0})])
            run.flush()
        run.finish({"val/auroc": 0.5, "test/auroc": 0.25})
    return run


def require_all(store: Store, run: RunRecord, epochs: int) -> None:
    found = store.client.get_run(run.id)
    assert found.info.status == "FINISHED"
    assert found.data.params == {"seed": "0"}
    assert found.inputs.dataset_inputs[0].dataset.digest == "abc"
    points = store.client.get_metric_history(run.id, "val/auroc")
    assert sorted((point.step, point.value) for point in points) == [
        *((epoch, epoch / 100) for epoch in range(epochs)),
        (epochs, 0.5),
    ]
    losses = store.client.get_metric_history(run.id, "train/loss")
    assert len(losses) == epochs
    assert sum(point.value != point.value for point in losses) == 1
    assert found.data.metrics["test/auroc"] == 0.25
    assert len(history_of(store, read_run(store, run.id))) == epochs
    assert {file.path for file in store.client.list_artifacts(run.id)} == {"config.yaml", "history.csv"}


@pytest.mark.parametrize("fate", ["lose", "forget"])
def test_a_server_that_drops_every_third_request_and_sleeps(store: Store, server: Unreliable, fate: str) -> None:
    def every_third(number: int) -> str:
        time.sleep(0.02)
        return fate if number % 3 == 0 else "serve"

    server.fate = every_third
    run = train(store, "dropped", 30)
    outbox_of(store).deliver_patiently()
    server.fate = serve
    require_all(store, run, 30)


def test_training_goes_on_while_the_server_is_gone_and_all_is_delivered_when_it_is_back(
    store: Store, server: Unreliable, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    waited = []

    def outage(epoch: int) -> None:
        if epoch == 3:
            server.fate = gone
        if epoch == 12:
            waited.append(outbox_of(store).waiting())
            server.fate = serve
            time.sleep(0.2)

    with caplog.at_level(logging.WARNING):
        run = train(store, "back", 15, outage)
    assert waited == [9]
    assert outbox_of(store).waiting() == 0
    require_all(store, run, 15)
    said = [record.getMessage() for record in caplog.records if "does not answer" in record.getMessage()]
    assert len(said) == 1
    assert str(store.mlruns / "outbox") in said[0]


def test_what_waits_is_delivered_by_another_process(
    store: Store, server: Unreliable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    def outage(epoch: int) -> None:
        if epoch == 2:
            server.fate = gone

    before = time.time() * 1000
    run = train(store, "later", 5, outage)
    ended = time.time() * 1000
    with pytest.raises(StoreUnreachable, match=r"has not answered for 0 s: \d+ records wait in .*outbox"):
        outbox_of(store).deliver_patiently(0.0)
    server.fate = serve
    assert store.client.get_run(run.id).info.status == "RUNNING"
    time.sleep(0.2)
    another = Outbox(store)
    assert another.waiting() > 3
    assert another.deliver() == 0
    require_all(store, run, 5)
    # Its end is when it ended, not when that arrived.
    assert before <= store.client.get_run(run.id).info.end_time <= ended


def test_what_the_store_refuses_holds_up_nothing_and_is_kept(
    store: Store, server: Unreliable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    deleted, other = (RunRecord.start(store, name, role="run") for name in ("deleted", "other"))
    store.client.delete_run(deleted.id)
    server.fate = gone
    for run in (deleted, other):
        run.log([(0, {"a": 1.0})])
        run.flush()
    server.fate = serve
    time.sleep(0.2)
    assert outbox_of(store).deliver() == 0
    assert store.client.get_run(other.id).data.metrics == {"a": 1.0}
    assert len(list((store.mlruns / "outbox" / "refused").iterdir())) == 1
    other.finish()


def test_a_request_that_is_wrong_does_not_wait(store: Store) -> None:
    from mlflow.exceptions import MlflowException

    run = RunRecord.start(store, "wrong", role="run")
    with pytest.raises(MlflowException):
        outbox_of(store).send("0" * 32, "set_tag", key="a", value="b")
    assert outbox_of(store).waiting() == 0
    run.finish()


# Whole sweeps


@pytest.fixture
def sweep(store: Store, command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setattr("lossbench.sweep.reporting.keep_report", lambda store, record, found, explain: found)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")

    def run() -> Ended:
        given = ["-m", "loss=cross_entropy,focal", "seed=0,1", *TINY, f"paths.mlruns={store.mlruns}",
                 f"tracking.uri={store.uri}", f"tracking.experiment={store.experiment}"]  # fmt: skip
        return command(*given)

    return run


def counting(store: Store) -> list[Any]:
    runs = search_runs(store, "tags.`lossbench.role` = 'run'")
    return [run for run in runs if not run.superseded]


@pytest.mark.parametrize("fate", ["lose", "forget"])
def test_a_sweep_over_a_server_that_drops_every_third_request(
    sweep: Command, store: Store, server: Unreliable, fate: str
) -> None:
    server.fate = lambda number: fate if number % 3 == 0 else "serve"
    ended = sweep()
    server.fate = serve
    assert ended.status == 0, ended.err
    runs = counting(store)
    assert [run.status for run in runs] == ["FINISHED"] * 4
    for run in runs:
        assert len(store.client.get_metric_history(run.id, "val/auroc")) == 3
    objectives = list(search_runs(store, "tags.`lossbench.role` = 'objective'"))
    assert sorted(run.name for run in objectives) == ["cross_entropy", "focal"]
    assert {run.metrics["n"] for run in objectives} == {2.0}


def test_a_sweep_whose_server_goes_away_ends_with_one_line_and_goes_on_from_there(
    sweep: Command, store: Store, server: Unreliable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(Outbox.deliver_patiently, "__defaults__", (0.5,))
    monkeypatch.setattr(Outbox.patiently, "__defaults__", (0.5,))
    keep = RunRecord.finish

    def finish(self: RunRecord, *args: Any, **more: Any) -> None:
        if "focal" in str(store.client.get_run(self.id).info.run_name) if server.fate is serve else False:
            server.fate = gone
        keep(self, *args, **more)

    server.fate = serve
    monkeypatch.setattr(RunRecord, "finish", finish)
    ended = sweep()
    assert ended.status == 1
    line = [line for line in ended.err.splitlines() if line.startswith("lossbench: ")]
    assert len(line) == 1
    assert "has not answered" in line[0]
    assert "`lossbench doctor` delivers them" in line[0]
    assert "Traceback" not in ended.err
    monkeypatch.setattr(RunRecord, "finish", keep)
    server.fate = serve
    (left,) = read.sweeps(store)
    assert left.status == "RUNNING"
    # This process lives on, where a person's command has ended.
    store.client.set_tag(left.id, Tag.PROCESS, str(replace(Process.current(), started="1")))
    time.sleep(0.2)
    again = sweep()
    assert again.status == 0, again.err
    assert "records that had waited for the store" in again.out
    assert "4 of 4 jobs are finished, 0 to train" in again.out
    assert [run.status for run in counting(store)] == ["FINISHED"] * 4
    assert [sweep.status for sweep in read.sweeps(store)] == ["FINISHED"]
