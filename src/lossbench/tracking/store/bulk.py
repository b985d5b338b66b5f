"""MLflow's store for databases, which also writes what many runs recorded in one transaction.

MLflow's own makes an object of SQLAlchemy's for each row, and opens a session for each kind of row of each run. Here
the rows of all runs go into the same tables by one statement a table. MLflow's UI, its client over the plain address
and anything else that uses these tables find what they would have found (a test compares them row by row).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST, TEMPORARILY_UNAVAILABLE
from mlflow.store.db.base_sql_model import Base
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.uri import append_to_uri_path
from mlflow.utils.validation import _validate_batch_log_limits, _validate_param_keys_unique
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from lossbench.tracking.store.calls import Call
from lossbench.tracking.store.statements import write_rows
from lossbench.tracking.store.stored_runs import StoredRun, select_runs
from lossbench.tracking.store.table_rows import COLUMNS, TableRows


def knows_tables() -> bool:
    """Return whether the installed MLflow has its tables as they are written here."""
    found = {name: set(table.columns.keys()) for name, table in Base.metadata.tables.items()}
    return all(found.get(name) == set(columns.split()) for name, columns in COLUMNS.items())


class BulkStore(SqlAlchemyStore):
    """MLflow's store over the same tables, with :meth:`write` for many calls at once and a `log_batch` by it."""

    # Engines of our own: what is set on their connections concerns nobody else's.
    _engine_map: dict[str, Engine] = {}  # noqa: RUF012  # as MLflow declares it
    _engine_map_lock = threading.Lock()

    @classmethod
    def _get_or_create_engine(cls, db_uri: str) -> Engine:
        new = db_uri not in cls._engine_map
        engine: Engine = super()._get_or_create_engine(db_uri)
        if new and engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _set_up_sqlite)
            engine.dispose()  # a connection from before
        return engine

    def write(self, calls: Sequence[Call]) -> None:
        """Make these calls in one transaction: all of them, or none.

        Raises
        ------
        MlflowException
            As MLflow's own store for a call that is wrong, such as one about a run that has been deleted; with the code
            TEMPORARILY_UNAVAILABLE for a database that is locked, full or gone.
        """
        rows = TableRows.of(calls)
        with self._transaction() as connection:
            write_rows(connection, rows)

    def select_runs(
        self, experiment: str, filter: str, *, newest_first: bool = False, most: int | None = None
    ) -> Iterator[list[StoredRun]]:
        """Yield what MLflow's own `search_runs` finds, a thousand runs at a time, without its objects.

        Raises
        ------
        MlflowException
            As MLflow's own store.
        """
        with _mlflow_errors():
            yield from select_runs(self.engine, experiment, filter, newest_first=newest_first, most=most)

    @staticmethod
    def artifact_uri(location: str, run: str) -> str:
        """Return the address of a run's artifacts in an experiment that keeps them at a location."""
        return str(append_to_uri_path(location, run, SqlAlchemyStore.ARTIFACTS_FOLDER_NAME))

    def log_batch(self, run_id: str, metrics: Any, params: Any, tags: Any) -> None:
        """Log metrics, params and tags of a run in one transaction."""
        if any(metric.model_id for metric in metrics):  # they concern a table more
            super().log_batch(run_id, metrics, params, tags)
            return
        _validate_batch_log_limits(metrics, params, tags)
        _validate_param_keys_unique(params)
        self.write([Call(run_id, "log_batch", {"metrics": metrics, "params": params, "tags": tags})])

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """Begin a transaction that writes, and end it."""
        with _mlflow_errors(), self.engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                # At once: one that begins by reading is refused to write where another has written meanwhile.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection


@contextmanager
def _mlflow_errors() -> Iterator[None]:
    """Raise what a database raises as MLflow's store does."""
    try:
        yield
    except OperationalError as error:
        raise MlflowException(str(error), TEMPORARILY_UNAVAILABLE) from error
    except SQLAlchemyError as error:
        raise MlflowException(str(error), BAD_REQUEST) from error


def _set_up_sqlite(connection: Any, record: Any) -> None:
    """Set what MLflow sets in each of its sessions, and let a database in WAL mode wait for the disk less often.

    By default it waits at every commit, so only at checkpoints. A process that is killed loses nothing either way; a
    machine that loses power may lose the last commits, and its database stays whole
    (https://www.sqlite.org/pragma.html#pragma_synchronous).
    """
    for pragma in ("foreign_keys=ON", "busy_timeout=20000", "case_sensitive_like=true"):
        connection.execute(f"PRAGMA {pragma}")
    if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
        connection.execute("PRAGMA synchronous=NORMAL")
