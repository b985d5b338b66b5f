"""What is written in bulk is, row by row and in every table, what MLflow's own store writes for the same calls."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow.store.db.base_sql_model import Base
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import create_engine, event, text

from lossbench.tracking.run import RunRecord
from lossbench.tracking.store import bulk, outbox, plugin
from lossbench.tracking.store.bulk import BulkStore
from lossbench.tracking.store.calls import Call
from lossbench.tracking.store.client import (
    Dataset,
    DatasetInput,
    InputTag,
    Metric,
    MlflowClient,
    MlflowException,
    Param,
    RunTag,
)
from lossbench.tracking.store.open import Store, open_store

Rows = dict[str, list[tuple[Any, ...]]]
DIGEST = "abc"


@pytest.fixture
def databases(store: Store, tmp_path: Path) -> tuple[BulkStore, MlflowClient]:
    """Two equal databases: one that we write to, and one that MLflow's own client does."""
    ours, theirs = (tmp_path / name for name in ("ours.db", "theirs.db"))
    for file in (ours, theirs):
        with (
            closing(sqlite3.connect(store.uri.removeprefix("sqlite:///"))) as source,
            closing(sqlite3.connect(file)) as to,
        ):
            source.backup(to)
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("DELETE FROM input_tags")
            for table in ("inputs", "datasets", "metrics", "latest_metrics", "params", "tags", "runs"):
                connection.execute(f"DELETE FROM {table}")
    return BulkStore(f"sqlite:///{ours}", "/artifacts"), MlflowClient(f"sqlite:///{theirs}")


def rows_of(uri: str, names: dict[str, str] | None = None) -> Rows:
    """Return the rows of every table, sorted, with ids that were drawn replaced by what they stand for."""
    file = uri.removeprefix("sqlite:///")
    with closing(sqlite3.connect(file)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        datasets = dict(connection.execute("SELECT dataset_uuid, name || ' ' || digest FROM datasets"))
        names = {**datasets, **(names or {})}
        names |= {
            entry: f"{names[source]} in {names.get(run, run)}"
            for entry, source, run in connection.execute("SELECT input_uuid, source_id, destination_id FROM inputs")
        }
        rows = {table: list(connection.execute(f"SELECT * FROM {table}")) for table in tables}
    return {table: sorted((tuple(names.get(value, value) for value in row) for row in found), key=repr)
            for table, found in rows.items()}  # fmt: skip


def by_public_api(client: MlflowClient, calls: Sequence[Call], runs: dict[str, str]) -> None:
    """Make the calls one by one; `runs` learns the ids that MLflow gives to runs that they start."""
    for call in calls:
        if call.name == "create_run":
            values = {key: call.values[key] for key in ("experiment_id", "start_time", "tags")}
            runs[call.run] = client.create_run(**values).info.run_id
        else:
            Call(runs[call.run], call.name, call.values).make(client)


def start(run: str, experiment: str, store: BulkStore, number: int = 0) -> Call:
    location = store.get_experiment(experiment).artifact_location
    tags = {"mlflow.runName": f"run {number}", "mlflow.user": "ann", "lossbench.role": "run"}
    values = {"experiment_id": experiment, "start_time": 1000 + number, "tags": tags}
    return Call(run, "create_run", {**values, "artifact_uri": store.artifact_uri(location, run)})


def dataset(digest: str, **tags: str) -> DatasetInput:
    entry = Dataset("rings", digest, "local", '{"uri": "here"}', "[]", '{"num_rows": 3}')
    return DatasetInput(entry, [InputTag(key, value) for key, value in tags.items()])


def random_call(draw: random.Random, run: str) -> Call:
    name = draw.choice(["log_batch", "log_batch", "log_batch", "set_tag", "log_inputs", "set_terminated"])
    if name == "set_tag":
        key = draw.choice(["a", "b", "mlflow.runName"])
        return Call(run, "set_tag", {"key": key, "value": draw.choice(["x", "y"])})
    if name == "log_inputs":
        given = [
            dataset(draw.choice("pq"), context=draw.choice(["training", "test"])) for _ in range(draw.randint(1, 2))
        ]
        return Call(run, "log_inputs", {"datasets": given})
    if name == "set_terminated":
        return Call(
            run, "set_terminated", {"status": draw.choice(["FINISHED", "KILLED"]), "end_time": draw.randint(1, 9)}
        )
    values = [0.0, -1.5, 1 / 3, float("nan"), float("inf"), -float("inf")]
    metrics = [
        Metric(draw.choice(["loss", "val/auroc"]), draw.choice(values), draw.randint(1, 2), draw.randint(0, 2))
        for _ in range(draw.randint(0, 8))
    ]
    keys = draw.sample(["loss", "seed", "lr"], draw.randint(0, 3))
    tags = [RunTag(draw.choice("abc"), draw.choice("xy")) for _ in range(draw.randint(0, 3))]
    return Call(run, "log_batch", {"metrics": metrics, "params": [Param(key, "1") for key in keys], "tags": tags})


@pytest.mark.parametrize("seed", range(25))
def test_all_tables_hold_what_mlflow_writes(databases: tuple[BulkStore, MlflowClient], store: Store, seed: int) -> None:
    """Calls about three runs, as they come, in transactions cut anywhere."""
    draw = random.Random(seed)
    ours, theirs = databases
    runs = [f"{number:032x}" for number in range(3)]
    calls = [start(run, store.experiment_id, ours, number) for number, run in enumerate(runs)]
    calls += [random_call(draw, draw.choice(runs)) for _ in range(draw.randint(1, 25))]
    cuts = sorted(draw.sample(range(len(calls) + 1), draw.randint(0, min(6, len(calls)))))
    for first, last in zip([0, *cuts], [*cuts, len(calls)], strict=True):
        ours.write(calls[first:last])
    ids: dict[str, str] = {}
    by_public_api(theirs, calls, ids)
    expected = rows_of(theirs.tracking_uri, {given: run for run, given in ids.items()})
    for number, row in enumerate(expected["runs"]):
        for run, given in ids.items():
            if row[0] == run:
                expected["runs"][number] = tuple(
                    str(value).replace(given, run) if given in str(value) else value for value in row
                )
    found = rows_of(ours.db_uri)
    assert found.keys() == expected.keys()
    for table, rows in expected.items():
        assert found[table] == rows, table


def test_a_whole_record_is_what_the_public_api_makes_of_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows of two runs by `RunRecord` differ in times and ids alone."""
    ours = record(store, "one")
    monkeypatch.setattr(Store, "bulk", None)
    monkeypatch.setattr(Store, "client", MlflowClient(store.uri))
    monkeypatch.setattr(outbox, "_outboxes", {})
    theirs = record(store, "one")

    def rows(run: str) -> Rows:
        names = {"this run", f"rings {DIGEST} in this run"}
        found = {
            table: [row for row in rows if names.intersection(row)]
            for table, rows in rows_of(store.uri, {run: "this run"}).items()
        }
        return {
            table: [tuple(without_id(value, run) for value in row if not is_time(value)) for row in rows]
            for table, rows in found.items()
            if rows
        }

    assert len(rows(ours)) == 7
    assert rows(ours) == rows(theirs)


def is_time(value: object) -> bool:
    return isinstance(value, int) and value > 10**12


def without_id(value: Any, run: str, name: str = "this run") -> Any:
    return value.replace(run, name) if isinstance(value, str) else value


def record(store: Store, name: str) -> str:
    with RunRecord.start(
        store, name, role="run", params={"loss": "focal", "seed": 3}, tags={"lossbench.job": 1}
    ) as run:
        run.dataset("rings", DIGEST, columns={"x": "double"}, rows=3, source="here")
        for epoch in range(3):
            run.log([(epoch, {"train/loss": 0.5 - epoch, "val/auroc": float("nan") if epoch == 1 else 0.9})])
        run.tag("lossbench.note", "b")
        run.finish({"val/auroc": 0.9, "test/auroc": 0.75, "worst": float("inf")})
    return run.id


WRONG = [
    Call("0" * 32, "set_tag", {"key": "a", "value": "b"}),
    Call("run", "log_batch", {"params": [Param("loss", "hinge")]}),
    Call("run", "log_batch", {"metrics": [Metric("a@b", 1.0, 1, 0)]}),
    Call("run", "log_batch", {"metrics": [Metric("a", "one", 1, 0)]}),  # type: ignore[arg-type]
    Call("run", "log_batch", {"params": [Param("../a", "1")]}),
    Call("run", "set_tag", {"key": "a\n(b)", "value": "b"}),
    Call("deleted", "set_terminated", {"status": "FINISHED", "end_time": 1}),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda call: f"{call.run[:7]}, {call.name}")
def test_what_mlflow_refuses_is_refused_and_nothing_of_its_transaction_stays(store: Store, wrong: Call) -> None:
    with RunRecord.start(store, "run", role="run", params={"loss": "focal"}) as run:
        pass
    deleted = RunRecord.start(store, "deleted", role="run")
    store.client.delete_run(deleted.id)
    wrong = Call({"run": run.id, "deleted": deleted.id}.get(wrong.run, wrong.run), wrong.name, wrong.values)
    assert store.bulk is not None
    before = rows_of(store.uri)
    with pytest.raises(MlflowException) as refused:
        store.bulk.write([Call(run.id, "set_tag", {"key": "a", "value": "b"}), wrong])
    assert rows_of(store.uri) == before
    with pytest.raises(MlflowException) as expected:
        wrong.make(MlflowClient(store.uri))
    assert refused.value.error_code == expected.value.error_code
    assert rows_of(store.uri) == before


def test_a_param_keeps_its_value_within_a_transaction_too(store: Store) -> None:
    run = RunRecord.start(store, "run", role="run")
    calls = [Call(run.id, "log_batch", {"params": [Param("loss", value)]}) for value in ("focal", "focal", "hinge")]
    assert store.bulk is not None
    store.bulk.write(calls[:2])
    with pytest.raises(MlflowException, match="Changing param values is not allowed"):
        store.bulk.write(calls)
    assert store.client.get_run(run.id).data.params == {"loss": "focal"}


def test_a_run_of_a_deleted_experiment_is_refused(store: Store) -> None:
    assert store.bulk is not None
    call = start(f"{random.getrandbits(128):032x}", store.experiment_id, store.bulk)
    store.client.delete_experiment(store.experiment_id)
    with pytest.raises(MlflowException, match="must be in the 'active' state. Current state is deleted"):
        store.bulk.write([call])
    assert list(store.client.search_runs([store.experiment_id])) == []


def test_calls_that_are_made_twice_count_once(store: Store) -> None:
    """As when the answer to a commit is lost, or a Ctrl-C comes right behind it."""
    assert store.bulk is not None
    run = f"{random.getrandbits(128):032x}"
    calls = [
        start(run, store.experiment_id, store.bulk),
        Call(run, "log_inputs", {"datasets": [dataset("abc", context="training")]}),
        Call(run, "log_batch", {"metrics": [Metric("a", 1.0, 1, 0)], "params": [Param("loss", "focal")]}),
        Call(run, "set_terminated", {"status": "FINISHED", "end_time": 5}),
    ]
    store.bulk.write(calls)
    before = rows_of(store.uri)
    store.bulk.write(calls)
    assert rows_of(store.uri) == before


def test_the_plain_store_and_ours_write_the_same_run_by_turns(store: Store) -> None:
    run = RunRecord.start(store, "both", role="run", params={"loss": "focal"})
    run.log([(0, {"val/auroc": 0.5})])
    run.flush()
    plain = MlflowClient(store.uri)
    plain.log_metric(run.id, "val/auroc", 0.75, step=1)
    plain.set_tag(run.id, "lossbench.note", "theirs")
    run.tag("lossbench.note", "ours")
    run.finish({"test/auroc": 0.8})
    found = plain.get_run(run.id)
    assert found.data.metrics == {"val/auroc": 0.75, "test/auroc": 0.8}
    assert found.data.tags["lossbench.note"] == "ours"
    assert found.info.status == "FINISHED"


def test_a_locked_database_is_an_outage_that_may_pass(store: Store) -> None:
    run = RunRecord.start(store, "locked", role="run")
    assert store.bulk is not None

    def impatient(connection: Any, record: Any) -> None:
        connection.execute("PRAGMA busy_timeout=0")

    event.listen(store.bulk.engine, "connect", impatient)
    store.bulk.engine.dispose()
    with closing(sqlite3.connect(store.uri.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(MlflowException, match="database is locked") as refused:
            store.bulk.write([Call(run.id, "set_tag", {"key": "a", "value": "b"})])
        assert refused.value.error_code == "TEMPORARILY_UNAVAILABLE"
    event.remove(store.bulk.engine, "connect", impatient)
    store.bulk.engine.dispose()
    run.finish()


def test_another_engine_of_the_process_is_left_alone(store: Store) -> None:
    """What is set for our connections stands on them alone, and no session is listened to."""
    pragma = text("PRAGMA synchronous")
    assert store.bulk is not None
    with store.bulk.engine.connect() as connection:
        assert connection.execute(pragma).scalar() == 1
    plain = SqlAlchemyStore(store.uri, "/artifacts")
    assert plain.engine is not store.bulk.engine
    for engine in (plain.engine, create_engine(store.uri)):
        with engine.connect() as connection:
            assert connection.execute(pragma).scalar() == 2
        engine.dispose()


@pytest.fixture
def other_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """An MLflow whose tables have a column more."""
    monkeypatch.setitem(bulk.COLUMNS, "metrics", bulk.COLUMNS["metrics"].removesuffix(" is_nan"))


@pytest.mark.usefixtures("other_tables")
def test_other_tables_are_written_by_the_public_api(
    tmp_path: Path, mlruns: Path, caplog: pytest.LogCaptureFixture, store: Store
) -> None:
    shutil.copytree(mlruns, tmp_path / "mlruns", ignore=shutil.ignore_patterns("artifacts"))
    other = open_store(tmp_path / "mlruns", experiment="other")
    assert other.bulk is None
    assert "has other tables than lossbench knows: runs are recorded by its public API" in caplog.text
    assert type(other.client._tracking_client.store) is SqlAlchemyStore
    record(other, "one")
    assert store.bulk is not None


def test_the_tables_are_those_of_the_installed_mlflow() -> None:
    assert bulk.knows_tables()
    table = Base.metadata.tables["params"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(bulk.COLUMNS, "params", "run_uuid key value more")
        assert not bulk.knows_tables()
    assert set(table.columns.keys()) == {"run_uuid", "key", "value"}


def test_mlflow_opens_our_store_by_its_address(store: Store) -> None:
    plugin.register()
    client = MlflowClient(f"lossbench+{store.uri}", registry_uri=store.uri)
    run = client.create_run(store.experiment_id).info.run_id
    client.log_batch(run, metrics=[Metric("a", 1.0, 1, 0)], params=[Param("b", "c")])
    assert client.get_run(run).data.metrics == {"a": 1.0}
    assert isinstance(client._tracking_client.store, BulkStore)
