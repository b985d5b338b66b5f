"""Rows in bulk are those of MLflow's objects, reads expire nothing, a writer waits closely; all else is left alone."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlMetric, SqlParam, SqlRun, SqlTag
from sqlalchemy import Column, Engine, Integer, MetaData, NullPool, Table, create_engine, event, insert, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import lossbench.tracking.store.sqlite
from lossbench.tracking.run import RunRecord
from lossbench.tracking.store.client import Metric, MlflowException, Param, RunTag
from lossbench.tracking.store.open import Store
from lossbench.tracking.store.sqlite import _insert_in_bulk

NUMBERS = Table("numbers", MetaData(), Column("number", Integer))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    place = tmp_path / "some.db"
    with closing(sqlite3.connect(place)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE numbers (number INTEGER)")
    return place


def engine_of(file: Path, **given: object) -> Engine:
    """An engine that does not wait by itself."""
    return create_engine(f"sqlite:///{file}", poolclass=NullPool, connect_args={"timeout": 0}, **given)


def numbers(file: Path) -> list[int]:
    with closing(sqlite3.connect(file)) as connection:
        return [number for (number,) in connection.execute("SELECT number FROM numbers")]


def test_a_writer_waits_for_another_and_then_writes(file: Path) -> None:
    other = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("INSERT INTO numbers VALUES (1)")

    def let_go() -> None:
        time.sleep(0.2)
        other.execute("COMMIT")

    with engine_of(file).connect() as connection:
        connection.execute(text("PRAGMA busy_timeout=50"))
        letting_go = threading.Thread(target=let_go)
        letting_go.start()
        connection.execute(insert(NUMBERS).values(number=2))
        letting_go.join()
        assert connection.execute(text("PRAGMA busy_timeout")).scalar() == 50
        connection.commit()
    other.close()
    assert numbers(file) == [1, 2]


def test_a_lock_that_stays_is_told_by_sqlite(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lossbench.tracking.store.sqlite, "_CLOSELY_SECONDS", 0.05)
    with closing(sqlite3.connect(file, isolation_level=None)) as other, engine_of(file).connect() as connection:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError, match="database is locked"):
            connection.execute(insert(NUMBERS).values(number=2))
        assert connection.execute(select(NUMBERS)).all() == []


def test_what_is_rolled_back_is_gone(file: Path) -> None:
    with engine_of(file).connect() as connection:
        connection.execute(insert(NUMBERS).values(number=2))
        connection.rollback()
    assert numbers(file) == []


def test_a_connection_that_commits_by_itself_is_left_alone(file: Path) -> None:
    with engine_of(file, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(insert(NUMBERS).values(number=2))
        assert numbers(file) == [2]


@contextmanager
def by_objects() -> Iterator[None]:
    """Rows go by SQLAlchemy's unit of work, as without us."""
    event.remove(Session, "before_flush", _insert_in_bulk)
    try:
        yield
    finally:
        event.listen(Session, "before_flush", _insert_in_bulk)


@contextmanager
def kept() -> Iterator[list[type]]:
    """The kinds of object that SQLAlchemy keeps after it has inserted them."""
    kinds: list[type] = []

    def note(session: Session, entry: object) -> None:
        kinds.append(type(entry))

    event.listen(Session, "pending_to_persistent", note)
    try:
        yield kinds
    finally:
        event.remove(Session, "pending_to_persistent", note)


def rows_of(store: Store, run_id: str) -> dict[str, list[Sequence[object]]]:
    """All that the tables hold of a run, but its id."""
    found = {}
    with closing(sqlite3.connect(store.uri.removeprefix("sqlite:///"))) as connection:
        for table in ("metrics", "latest_metrics", "params", "tags"):
            columns = [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})") if name != "run_uuid"]
            query = f"SELECT {', '.join(columns)} FROM {table} WHERE run_uuid = ?"
            found[table] = sorted(connection.execute(query, (run_id,)))
    return found


METRICS = [Metric(key, step / 7, 1000 + step, step) for key in ("train/loss", "val/auroc") for step in (2, 1, 0)]
# In the way of what is there already, later than it, undefined, of a new key, and the same twice.
LATER = [
    METRICS[1],
    Metric("train/loss", 0.5, 2000, 3),
    Metric("val/auroc", float("nan"), 2000, 3),
    Metric("test/auroc", 0.75, 2000, 0),
    Metric("test/auroc", 0.75, 2000, 0),
]


def record(store: Store, name: str) -> str:
    run_id: str = store.client.create_run(store.experiment_id, run_name="a").info.run_id
    params = [Param("loss", "focal"), Param("seed", "3")]
    store.client.log_batch(run_id, metrics=METRICS, params=params, tags=[RunTag("lossbench.name", name)])
    store.client.log_batch(run_id, metrics=LATER, params=[*params, Param("fold", "0")])
    with pytest.raises(MlflowException, match="Changing param values is not allowed"):
        store.client.log_batch(run_id, params=[Param("epochs", "5"), Param("loss", "hinge")])
    return run_id


def test_rows_in_bulk_are_those_of_objects(store: Store) -> None:
    with by_objects(), kept() as kinds:
        expected = rows_of(store, record(store, "one"))
    assert {SqlMetric, SqlLatestMetric, SqlParam} <= set(kinds)
    found = rows_of(store, record(store, "one"))
    assert [len(found[table]) for table in ("metrics", "latest_metrics", "params")] == [9, 3, 3]
    assert found == expected


def test_a_run_keeps_no_object_for_its_metrics_and_params(store: Store) -> None:
    with kept() as kinds, RunRecord.start(store, "s0", role="run", params={"loss": "focal"}) as run:
        run.log([(0, {"val/auroc": 0.9})])
        run.finish({"test/auroc": 0.8})
    assert [len(rows_of(store, run.id)[table]) for table in ("metrics", "params")] == [2, 1]
    assert SqlTag in kinds
    assert not {SqlMetric, SqlLatestMetric, SqlParam} & set(kinds)


def test_a_session_that_adds_something_else_is_left_alone(store: Store) -> None:
    """Its rows may depend on each other: here a metric on a run that is not there yet."""
    engine = create_engine(store.uri, poolclass=NullPool)
    with kept() as kinds, Session(engine) as session:
        session.add(SqlMetric(run_uuid="x", key="loss", value=1.0, timestamp=1, step=0, is_nan=False))
        session.add(SqlRun(run_uuid="x", experiment_id=int(store.experiment_id)))
        session.flush()
        session.rollback()
    assert set(kinds) == {SqlMetric, SqlRun}


@pytest.mark.parametrize("given", [{}, {"step": None, "timestamp": None, "is_nan": None}])
def test_a_row_that_lacks_a_column_gets_its_default_by_sqlalchemy(store: Store, given: dict[str, None]) -> None:
    with kept() as kinds, Session(create_engine(store.uri, poolclass=NullPool)) as session:
        metric = SqlMetric(run_uuid="x", key="loss", value=1.0, **given)
        session.add(metric)
        session.flush()
        assert metric.step == 0
        session.rollback()
    assert kinds == [SqlMetric]


def test_a_row_that_another_writes_meanwhile_costs_none(store: Store) -> None:
    """The latest metrics are inserted at the commit, where MLflow rolls back, and writes what is not there yet."""
    run_id = store.client.create_run(store.experiment_id, run_name="a").info.run_id
    once = iter([True])

    @event.listens_for(Session, "before_commit")
    def meanwhile(session: Session) -> None:
        if {type(entry) for entry in session.new} == {SqlLatestMetric} and next(once, False):
            # In the same transaction, since nobody else can write while it is open.
            values = {"run_uuid": run_id, "key": "val/auroc", "value": 0.1, "timestamp": 1, "step": 0, "is_nan": False}
            session.connection().execute(insert(SqlLatestMetric.__table__), values)  # and flush nothing

    try:
        store.client.log_batch(run_id, metrics=METRICS)
    finally:
        event.remove(Session, "before_commit", meanwhile)
    assert next(once, None) is None, "nothing was in the way"
    found = rows_of(store, run_id)
    assert len(found["metrics"]) == len(METRICS)
    assert [row[:2] for row in found["latest_metrics"]] == [("train/loss", 2 / 7), ("val/auroc", 2 / 7)]


class Base(DeclarativeBase):
    pass


class Note(Base):
    """Somebody else's."""

    __tablename__ = "notes"
    number: Mapped[int] = mapped_column(primary_key=True)


def test_what_mlflow_read_does_not_expire_and_all_else_does(store: Store) -> None:
    run_id = store.client.create_run(store.experiment_id, run_name="a").info.run_id
    with Session(create_engine(store.uri, poolclass=NullPool)) as session:
        run = session.get(SqlRun, run_id)
        assert run is not None
        session.commit()
        assert vars(run)["name"] == "a"
    with Session(create_engine(store.uri, poolclass=NullPool)) as session:
        run = session.get(SqlRun, run_id)
        assert run is not None
        run.name = "b"
        session.commit()
        assert "name" not in vars(run)
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.execute(text("SELECT 1"))
        session.commit()  # of a session with nothing in it
        note = Note(number=1)
        session.add(note)
        session.commit()
        assert "number" not in vars(note)
    engine.dispose()
