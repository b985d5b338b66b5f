"""A transaction that writes into sqlite waits closely for another writer, and leaves everything else alone."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, NullPool, Table, create_engine, insert, select, text
from sqlalchemy.exc import OperationalError

import lossbench.tracking.database  # the listener

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
    monkeypatch.setattr(lossbench.tracking.database, "_CLOSELY_SECONDS", 0.05)
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
