"""What SQLAlchemy does besides for MLflow's store: rows in bulk, reads that end at once, and short waits in sqlite.

Importing this module is enough: the functions below listen to every session and engine of the process, and leave alone
what is not MLflow's or not sqlite's.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Any

from sqlalchemy import Engine, event, insert
from sqlalchemy.orm import Session, make_transient

# MLflow holds sqlite's lock for some milliseconds at a time.
_LOOK_SECONDS, _CLOSELY_SECONDS = 0.0002, 1.0
_MODELS = "mlflow.store.tracking.dbmodels.models"
_IN_BULK = frozenset({"metrics", "latest_metrics", "params"})


@event.listens_for(Session, "before_flush")
def _insert_in_bulk(session: Session, context: Any, instances: Any) -> None:
    """Insert a run's metrics and params without SQLAlchemy's unit of work, a fifth of what a run's record costs.

    MLflow makes an object for each row, adds it to a session and forgets it. SQLAlchemy would sort the objects, follow
    their relations and keep them until the commit. Here they are let go, so that a change of one after a flush would
    be lost: MLflow makes none (a test compares the rows). A row that is there already raises the same IntegrityError,
    after which MLflow rolls back and adds its objects again. A session that adds anything else, and an object that
    lacks a column, are left to SQLAlchemy
    (https://docs.sqlalchemy.org/en/20/orm/session_events.html#before-flush).
    """
    if instances:
        return
    entries = list(session.new)
    statements = []
    kind: Any
    for kind in dict.fromkeys(map(type, entries)):
        if kind.__module__ != _MODELS or kind.__tablename__ not in _IN_BULK:
            return
        names = kind.__table__.columns.keys()
        given = [vars(entry) for entry in entries if type(entry) is kind]
        # Of None SQLAlchemy makes a column's default.
        rows = [{name: values[name] for name in names if values.get(name) is not None} for values in given]
        if any(len(row) < len(names) for row in rows):
            return
        statements.append((insert(kind.__table__), rows))
    for entry in entries:
        make_transient(entry)
    for statement, rows in statements:
        session.execute(statement, rows)


@event.listens_for(Session, "before_commit")
def _expire_nothing_that_was_read(session: Session) -> None:
    """Let sessions in which MLflow only reads end without expiring what they read, a fifth of reading a sweep's runs.

    A commit marks every object as out of date. Such a session has made its answer of them, and closes.
    """
    if session.new or session.dirty or session.deleted:
        return
    entries = list(session)
    if entries and all(type(entry).__module__ == _MODELS for entry in entries):
        session.expire_on_commit = False


@event.listens_for(Engine, "connect")
def _sync_at_checkpoints(connection: Any, record: Any) -> None:
    """Let sqlite in WAL mode wait for the disk at checkpoints alone, and make these forty times rarer.

    By default it waits at every commit, of which a run has ten. A process that is killed loses nothing either way; a
    machine that loses power may lose the last commits, and the database stays whole
    (https://www.sqlite.org/pragma.html#pragma_synchronous). A checkpoint (https://www.sqlite.org/wal.html) writes
    the pages that runs touched since the last one, and the same pages again each time: a sweep of 360 runs, which
    writes 600 MB of log for 40 MB of database, waits a second less for four checkpoints than for fifteen.
    """
    if isinstance(connection, sqlite3.Connection):
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
        if mode == "wal":
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA wal_autocheckpoint=40000")


@event.listens_for(Engine, "before_cursor_execute")
def _wait_closely(
    connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
) -> None:
    """Take sqlite's lock before the first row that a transaction writes, as soon as another writer lets go of it.

    Left to itself sqlite sleeps 1, 2, 5, 10, 15, 20, 25 ms between two looks (`sqliteDefaultBusyCallback`,
    https://www.sqlite.org/src/file/src/main.c), longer than the lock is held. Two writers that wait for each other so
    lose a fifth of their time, and an eighth this way. A lock that is held for longer is sqlite's affair again.
    """
    raw = getattr(cursor, "connection", None)
    writes = context is not None and (context.isinsert or context.isupdate or context.isdelete)
    if not writes or not isinstance(raw, sqlite3.Connection) or raw.in_transaction:
        return
    # One that commits by itself would never end what begins here.
    if raw.isolation_level is None or getattr(raw, "autocommit", -1) is True:
        return
    patience = cursor.execute("PRAGMA busy_timeout").fetchone()[0]
    cursor.execute("PRAGMA busy_timeout=0")
    until = time.monotonic() + _CLOSELY_SECONDS
    try:
        while True:
            try:
                cursor.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError:
                if time.monotonic() > until:
                    return
            time.sleep(_LOOK_SECONDS)
    finally:
        cursor.execute(f"PRAGMA busy_timeout={patience}")
