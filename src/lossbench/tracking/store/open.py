"""The store: where MLflow keeps every run; opened once by the main process, found again by every worker."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from sqlalchemy.exc import SQLAlchemyError

from lossbench.errors import UserError
from lossbench.tracking.store import address, database, plugin
from lossbench.tracking.store.client import MlflowClient, MlflowException

if TYPE_CHECKING:
    from lossbench.tracking.store.bulk import BulkStore

_LOCK_SECONDS = 120.0
_GUESTS = "other-stores.txt"


@dataclass(frozen=True)
class Store:
    """An open store and the experiment in it: plain values, so that it travels to workers by pickle.

    Parameters
    ----------
    uri
        MLflow's tracking address, absolute.
    experiment, experiment_id
        The experiment that runs go to.
    artifacts
        Address under which that experiment's runs keep their artifacts.
    mlruns
        The project's folder for everything that runs write.
    """

    uri: str
    experiment: str
    experiment_id: str
    artifacts: str
    mlruns: Path

    @property
    def client(self) -> MlflowClient:
        """MLflow's client, one a process. Start workers by spawn: a connection does not survive a fork."""
        return _client(self.uri)

    @property
    def bulk(self) -> BulkStore | None:
        """The store behind the client, if it writes the calls of many runs at once: a database whose tables we know."""
        return _bulk(self.uri)

    @property
    def place(self) -> str:
        """The address as it may be shown: without a password."""
        return address.mask(self.uri)

    def __repr__(self) -> str:
        return f"Store({self.place!r}, experiment={self.experiment!r})"


@cache
def _client(uri: str) -> MlflowClient:
    if not address.in_bulk(uri):
        return MlflowClient(tracking_uri=uri)
    plugin.register()
    return MlflowClient(tracking_uri=plugin.PREFIX + uri, registry_uri=uri)


@cache
def _bulk(uri: str) -> BulkStore | None:
    if not address.in_bulk(uri):
        return None
    from mlflow.tracking._tracking_service.utils import _get_store

    from lossbench.tracking.store.bulk import BulkStore  # as late as MLflow's own store: a second of imports

    _client(uri)
    store = _get_store(plugin.PREFIX + uri)
    return store if isinstance(store, BulkStore) else None


def import_for(mlruns: Path, uri: str | None) -> None:
    """Import what `open_store` will need for a store, before the caller waits for something else."""
    if not address.on_server(address.resolve(uri, mlruns)):
        # With MLflow's own, SQLAlchemy's mappings and Alembic: else it is imported when the first client is made.
        import_module("lossbench.tracking.store.bulk")


def open_store(mlruns: Path, uri: str | None = None, experiment: str | None = None) -> Store:
    """Open a store, making folder, database and experiment where they are missing.

    Everything happens under a file lock, since two processes that create one database at once break it. Call
    it in the main process; workers receive the `Store`.

    Parameters
    ----------
    mlruns
        The project's folder; holds `mlflow.db` and `artifacts` unless `uri` says otherwise.
    uri
        sqlite, PostgreSQL, MySQL or SQL Server address, or that of an MLflow server. None: the environment's
        `MLFLOW_TRACKING_URI`, else sqlite in `mlruns`.
    experiment
        None: the environment's `MLFLOW_EXPERIMENT_NAME`, else `lossbench`.

    Raises
    ------
    UserError
        A folder that cannot be written, a file that is no database, a schema of another MLflow, a server that
        does not answer, a deleted experiment.
    """
    mlruns = Path(mlruns).expanduser().absolute()
    where = address.resolve(uri, mlruns)
    name = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "lossbench"
    file = address.database_file(where)
    with _one_line(where):
        database.make_folder(mlruns)
        if file is None:
            address.require_answer(where)
        else:
            database.make_folder(file.parent)
        with _lock(mlruns / "store.lock" if file is None else file.with_name(file.name + ".lock")):
            if file is not None:
                database.prepare(file, artifacts=mlruns / "artifacts")
            _note_guest(where, mlruns)
            with database.one_maker(where) if address.scheme_of(where) == "postgresql" else nullcontext():
                return _open_experiment(where, name, mlruns)


def guests(mlruns: Path) -> list[str]:
    """Return the addresses, without passwords, of stores that keep files in a folder and their database elsewhere."""
    try:
        return (mlruns / _GUESTS).read_text().splitlines()
    except FileNotFoundError:
        return []


def _note_guest(uri: str, mlruns: Path) -> None:
    # Else the doctor of the database that lies in the folder would take another store's files for nobody's.
    place = address.mask(uri)
    if address.database_file(uri) != mlruns / "mlflow.db" and place not in guests(mlruns):
        with open(mlruns / _GUESTS, "a") as file:
            file.write(f"{place}\n")


def _open_experiment(uri: str, name: str, mlruns: Path) -> Store:
    client = _client(uri)
    # A server decides where artifacts go; beside a database, they go to the project's folder.
    location = None if address.scheme_of(uri) in address.SERVERS else (mlruns / "artifacts").as_uri()
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            client.create_experiment(name, artifact_location=location)
        except MlflowException as error:
            # Another machine, which our lock does not reach, has just made it.
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        found = client.get_experiment_by_name(name)
    assert found is not None
    if found.lifecycle_stage != "active":
        raise UserError(
            f"the experiment {name!r} in {address.mask(uri)} is deleted: restore it (`mlflow experiments "
            f"restore --experiment-id {found.experiment_id}`), or choose another with tracking.experiment"
        )
    _require_place(found.artifact_location, mlruns)
    return Store(uri, name, found.experiment_id, found.artifact_location, mlruns)


def _require_place(location: str, mlruns: Path) -> None:
    """Refuse a store that has been moved: runs would write their files where it was."""
    place = address.local_path(location)
    if place is None or place == mlruns / "artifacts" or place.is_dir() or not (mlruns / "artifacts").is_dir():
        return
    raise UserError(
        f"the store lies in {mlruns}, and its database says {place.parent}, which is not there: "
        "`lossbench doctor --mend` tells it where it is now"
    )


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    try:
        with FileLock(path, timeout=_LOCK_SECONDS):
            yield
    except Timeout as error:
        raise UserError(
            f"another process has held the store for {_LOCK_SECONDS:.0f} s: end it, or remove {path}"
        ) from error


@contextmanager
def _one_line(uri: str) -> Iterator[None]:
    """Turn whatever a store raises while it opens into one line that names it, and keep logs silent."""
    logger = logging.getLogger("mlflow")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        shown = address.mask(uri)
        if isinstance(error, ImportError) and address.scheme_of(uri) == "postgresql":
            first += ": pip install 'lossbench[postgresql]' brings the driver of postgresql+psycopg://..."
        raise UserError(f"the store {shown} cannot be opened: {first.replace(uri, shown)}") from error
    finally:
        logger.setLevel(level)
