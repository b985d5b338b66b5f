"""What kills, crashes, outages and moves leave in a store: found, said in a line, mended where that loses nothing."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import NullPool, create_engine, text

from lossbench.errors import UserError
from lossbench.tracking import unfinished
from lossbench.tracking.store import address, database
from lossbench.tracking.store.open import Store, guests, open_store
from lossbench.tracking.store.outbox import outbox_of

_LOCK_SECONDS = 3.0
# Every column of MLflow's tables that holds the address of a folder.
_PLACES = (("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location"))


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Parameters
    ----------
    text
        What it is, in a line.
    mend
        Mends it, and says how; None where a person has to.
    advice
        What that person should do.
    removes
        Whether mending removes files, which is asked for by itself.
    """

    text: str
    mend: Callable[[], str] | None = None
    advice: str = ""
    removes: bool = False


def examine(mlruns: Path, uri: str | None = None, experiment: str | None = None) -> list[Finding]:
    """Return what is wrong with a store, the most fundamental first.

    A database that cannot be opened ends the search: all else is read from it.
    """
    mlruns = Path(mlruns).expanduser().absolute()
    where = address.resolve(uri, mlruns)
    file = address.database_file(where)
    if file is not None:
        if not file.exists():
            return [Finding(f"there is no database {file}", advice="the first run makes it; is --mlruns right?")]
        broken = _locked(file) or _other_schema(file) or _damaged(file)
        if broken is not None:
            return [broken]
        moved = _moved(file, mlruns / "artifacts")
        if moved is not None:
            return [moved]
    try:
        store = open_store(mlruns, uri, experiment)
    except UserError as error:
        return [Finding(str(error), advice="nothing more can be examined until then")]
    return [*_waiting(store), *_stale(store), *(_orphans(store) if _alone(store) else ())]


def _locked(file: Path) -> Finding | None:
    try:
        with closing(sqlite3.connect(file, timeout=_LOCK_SECONDS, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            return None
        holders = ", ".join(map(str, _holders(file)))
        who = f"process {holders} has it open" if holders else "no process of this machine that may be seen has it open"
        return Finding(f"the database {file} is locked", advice=f"{who}: wait for it, or end it")
    except sqlite3.DatabaseError:
        return None
    return None


def _holders(file: Path) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(link.resolve() == file for link in (process / "fd").iterdir()):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def _damaged(file: Path) -> Finding | None:
    try:
        with closing(sqlite3.connect(file)) as connection:
            said = connection.execute("PRAGMA quick_check").fetchone()[0]
    except sqlite3.DatabaseError as error:
        said = str(error)
    if said == "ok":
        return None
    return Finding(
        f"the database {file} is damaged ({said.splitlines()[0]})",
        advice=f"copy it, and try `sqlite3 {file} .recover`; runs' files in artifacts are not touched by it",
    )


def _other_schema(file: Path) -> Finding | None:
    try:
        version = database.schema(file)
    except (UserError, sqlite3.Error) as error:
        return Finding(str(error), advice="use another store")
    age = database.age(version)
    if age == "newer":
        return Finding(
            f"the database {file} was written by a newer MLflow (schema {version})",
            advice="install that MLflow, or use another store: a schema goes back no more",
        )
    if age == "older":
        return Finding(
            f"the database {file} was written by an older MLflow (schema {version})",
            lambda: f"upgraded; what was before is kept as {database.upgrade(file, version)}",
        )
    return None


def _moved(file: Path, artifacts: Path) -> Finding | None:
    """Find addresses of a folder that is no more, though the store's own folder is there."""
    with closing(sqlite3.connect(file)) as connection:
        said = connection.execute("SELECT artifact_location FROM experiments WHERE name != 'Default'").fetchall()
    for (location,) in said:
        before = address.local_path(location or "")
        if before is not None and before != artifacts and not before.exists() and artifacts.is_dir():
            return Finding(
                f"the store lies in {artifacts.parent}, and its database says {before.parent}, which is not there",
                partial(_move, file, location, artifacts),
            )
    return None


def _move(file: Path, before: str, artifacts: Path) -> str:
    changed, after = 0, artifacts.as_uri()
    with closing(sqlite3.connect(file, timeout=_LOCK_SECONDS)) as connection, connection:
        for table, column in _PLACES:
            changed += connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {column} = ? OR {column} LIKE ?",
                (after, len(before) + 1, before, f"{before}/%"),
            ).rowcount
    return f"{changed} addresses now say {artifacts.parent}"


def _waiting(store: Store) -> Iterator[Finding]:
    outbox = outbox_of(store)
    waiting = outbox.waiting()
    if waiting:

        def deliver() -> str:
            left = outbox.deliver()
            if left:
                raise UserError(f"{store.place} does not answer: {left} records still wait in {outbox.folder}")
            return "delivered"

        yield Finding(f"{waiting} records wait in {outbox.folder} for {store.place}", deliver)


def _stale(store: Store) -> Iterator[Finding]:
    gone = unfinished.find_stale(store)
    if gone:
        names = ", ".join(run.name for run in gone[:3])
        more = f" and {len(gone) - 3} more" if len(gone) > 3 else ""
        yield Finding(
            f"{len(gone)} runs claim to run, and their process is gone ({names}{more})",
            lambda: f"{len(unfinished.repair(store))} ended as KILLED; a sweep goes on by its own command",
        )


def _alone(store: Store) -> bool:
    """Whether the runs of one database are all that can own files in the store's folder."""
    if address.scheme_of(store.uri) not in {"sqlite", *address.DATABASES}:
        return False
    own = address.database_file(store.uri) == store.mlruns / "mlflow.db"
    others = set(guests(store.mlruns)) - {store.place}
    return not others and (own or not (store.mlruns / "mlflow.db").exists())


def _orphans(store: Store) -> Iterator[Finding]:
    """Find files that belong to no run, or to the making of what has been made."""
    mlruns, engine = store.mlruns, create_engine(store.uri, poolclass=NullPool)
    with engine.connect() as connection:
        known = {row.run_uuid: row.status for row in connection.execute(text("SELECT run_uuid, status FROM runs"))}
    kinds = (
        ("artifacts", "artifacts", lambda name: name in known or not _is_id(name)),
        ("checkpoints", "checkpoints", lambda name: name in known),
        # Until a sweep has finished its command may go on with them.
        ("shards of predictions", "shards", lambda name: known.get(name, "FINISHED") != "FINISHED"),
    )
    for kind, folder, owned in kinds:
        place = mlruns / folder
        lost = sorted(each for each in place.iterdir() if not owned(each.name)) if place.is_dir() else []
        if lost:
            size = sum(each.stat().st_size for folder in lost for each in folder.rglob("*") if each.is_file())
            yield Finding(
                f"{kind} of {len(lost)} runs that are not in the database, {size / 1e6:.1f} MB in {place}"
                if folder != "shards"
                else f"{kind} of {len(lost)} sweeps that have finished or are gone, {size / 1e6:.1f} MB in {place}",
                partial(_remove, lost),
                removes=True,
            )


def _is_id(name: str) -> bool:
    return len(name) == 32 and set(name) <= set("0123456789abcdef")


def _remove(lost: list[Path]) -> str:
    for each in lost:
        shutil.rmtree(each)
    return f"{len(lost)} removed"
