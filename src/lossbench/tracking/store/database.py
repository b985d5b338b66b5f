"""The database of a store: made whole or not at all, by one process at a time; a sqlite file is checked besides."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

import mlflow.store
from sqlalchemy import NullPool, create_engine, inspect, text

from lossbench.errors import UserError
from lossbench.tracking.store import address
from lossbench.tracking.store.client import VERSION

_BUSY_SECONDS = 20.0
_MIGRATIONS = Path("db_migrations", "versions")


def make_folder(folder: Path) -> None:
    """Make a folder that can be written, or raise a UserError that says why not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the folder {folder} cannot be made ({error.strerror}): choose another with paths.mlruns"
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"the folder {folder} cannot be written: choose another with paths.mlruns")


@contextmanager
def one_maker(uri: str) -> Iterator[None]:
    """Keep other machines from making MLflow's tables in a PostgreSQL database while the block may do it.

    Two that make them in an empty database at once break each other's migrations, and a lock on a file does not reach
    from one machine to the other. PostgreSQL's own lock ends with the connection, whatever ends us
    (https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS).

    Raises
    ------
    UserError
        Where the tables are those of an older or newer MLflow.
    sqlalchemy.exc.OperationalError
        Where another holds the lock for two minutes.
    """
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  # seconds, which the others need not wait for

    engine = create_engine(uri, poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("SET lock_timeout = '120s'"))
        connection.execute(text("SELECT pg_advisory_lock(hashtext('lossbench'))"))
        if inspect(connection).has_table("alembic_version"):
            version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
            if version is not None:
                _check_schema(
                    address.mask(uri), version, "`mlflow db upgrade` mends it, after a dump and with nobody recording"
                )
        yield


def prepare(file: Path, artifacts: Path) -> None:
    """Make the database if there is none, else check that this MLflow can use it; switch it to WAL mode.

    The caller holds the store's lock. WAL lets one process write while others read, and persists in the file.

    Raises
    ------
    UserError
        A file that is no sqlite database, holds something else than MLflow's tables, cannot be written, or
        has the schema of an older or newer MLflow. (Left to itself, MLflow migrates some older files
        unasked.)
    """
    if not file.exists() or file.stat().st_size == 0:
        _create(file, artifacts)
    if not os.access(file, os.W_OK):
        raise UserError(f"the database {file} cannot be written: change its permissions, or use another store")
    try:
        with closing(sqlite3.connect(file, timeout=_BUSY_SECONDS)) as connection:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.Error as error:
        raise UserError(f"the database {file} cannot be used: {error}") from error
    _check_schema(str(file), schema(file), "`lossbench doctor --mend` upgrades it and keeps a copy")


def schema(file: Path) -> str:
    """Return the version of MLflow's tables in a database, or raise a UserError where it has none."""
    try:
        with closing(sqlite3.connect(file, timeout=_BUSY_SECONDS)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")}
            rows = connection.execute("SELECT version_num FROM alembic_version") if "alembic_version" in tables else []
            version = next((str(row[0]) for row in rows), None)
    except sqlite3.Error as error:
        raise UserError(f"the database {file} cannot be used: {error}") from error
    if version is None:
        raise UserError(f"the database {file} is not MLflow's (no alembic_version in it): use another store")
    return version


def age(version: str) -> Literal["older", "same", "newer"]:
    """Say how a schema compares with that of the installed MLflow."""
    # Alembic's own reader imports all of MLflow's migrations, half a second of every run; their text says the same.
    migrations = [path.read_text() for path in (Path(mlflow.store.__path__[0]) / _MIGRATIONS).glob("*.py")]
    if not _declared("revision", version, migrations):
        return "newer"
    return "older" if _declared("down_revision", version, migrations) else "same"


def upgrade(file: Path, version: str) -> Path:
    """Bring an older schema up to that of the installed MLflow; return the copy of what was before."""
    from mlflow.store.db.utils import _upgrade_db

    kept = file.with_name(f"{file.name}.before-{VERSION}-{version}")
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(kept)) as copy:
        source.backup(copy)
    engine = create_engine(f"sqlite:///{file}")
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # a line that doctor's own says better
    try:
        _upgrade_db(engine)
    finally:
        engine.dispose()
    return kept


def _create(file: Path, artifacts: Path) -> None:
    # Late: .9 s of imports that a store on a server does without.
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    # Some sixty migrations run; a Ctrl-C among them must not leave half a schema under the real name.
    draft = file.with_name(file.name + ".new")
    for leftover in (draft, Path(f"{draft}-journal"), Path(f"{draft}-wal"), Path(f"{draft}-shm")):
        leftover.unlink(missing_ok=True)
    store = SqlAlchemyStore(f"sqlite:///{draft}", artifacts.as_uri())
    store.engine.dispose()
    os.replace(draft, file)


def _check_schema(database: str, version: str, upgrading: str) -> None:
    found = age(version)
    if found == "newer":
        raise UserError(
            f"the database {database} was written by a newer MLflow than {VERSION} (schema {version}): "
            "install that MLflow, or use another store"
        )
    if found == "older":
        raise UserError(
            f"the database {database} was written by an older MLflow than {VERSION} (schema {version}): "
            f"{upgrading}, or use another store"
        )


def _declared(name: str, version: str, migrations: Sequence[str]) -> bool:
    line = re.compile(rf"^{name} = [\"']{re.escape(version)}[\"']", re.MULTILINE)
    return any(line.search(text) for text in migrations)
