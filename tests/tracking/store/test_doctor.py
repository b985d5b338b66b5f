"""The doctor finds what is wrong with a store, says it in a line, and mends it without losing anything."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from lossbench.cli.main import dispatch
from lossbench.errors import UserError
from lossbench.tracking.run import RunRecord
from lossbench.tracking.schema import Tag
from lossbench.tracking.store.open import Store, open_store
from lossbench.tracking.store.outbox import outbox_of
from lossbench.tracking.store.process import Process

Doctor = Callable[..., tuple[int, str]]


@pytest.fixture
def place(mlruns: Path, tmp_path: Path) -> Path:
    """A store of its own, copied since making one takes two seconds, whose database knows where it is."""
    open_store(mlruns)
    made = tmp_path / "here" / "mlruns"
    made.mkdir(parents=True)
    with (
        closing(sqlite3.connect(mlruns / "mlflow.db")) as source,
        closing(sqlite3.connect(made / "mlflow.db")) as copy,
        copy,
    ):
        source.backup(copy)
        copy.execute("DELETE FROM experiments WHERE name NOT IN ('Default', 'lossbench')")
        for table in ("runs", "tags", "params", "metrics", "latest_metrics", "inputs", "experiment_tags"):
            copy.execute(f"DELETE FROM {table}")
        copy.execute("UPDATE experiments SET artifact_location = ?", ((made / "artifacts").as_uri(),))
    return made


@pytest.fixture
def store(place: Path) -> Store:
    return open_store(place)


@pytest.fixture
def doctor(place: Path, capsys: pytest.CaptureFixture[str]) -> Doctor:
    def run(*arguments: str, mlruns: Path = place) -> tuple[int, str]:
        capsys.readouterr()
        status = dispatch(["doctor", *arguments, "--mlruns", str(mlruns)])
        out, err = capsys.readouterr()
        assert err == ""
        return status, out

    return run


def test_a_healthy_store(store: Store, doctor: Doctor) -> None:
    with RunRecord.start(store, "a", role="run") as run:
        run.artifacts.text("a", "a.txt")
    assert doctor() == (0, "nothing is wrong\n")


def test_stale_runs(store: Store, doctor: Doctor) -> None:
    gone, alive = RunRecord.start(store, "gone", role="run"), RunRecord.start(store, "alive", role="run")
    store.client.set_tag(gone.id, Tag.PROCESS, str(replace(Process.current(), started="1")))
    status, out = doctor()
    assert status == 1
    assert "found: 1 runs claim to run, and their process is gone (gone): --mend mends it" in out
    assert store.client.get_run(gone.id).info.status == "RUNNING"
    assert doctor("--mend") == (
        0,
        "mended: 1 runs claim to run, and their process is gone (gone): 1 ended as KILLED; a sweep goes on by its own "
        "command\n",
    )
    assert [store.client.get_run(run.id).info.status for run in (gone, alive)] == ["KILLED", "RUNNING"]
    alive.kill()
    assert doctor()[0] == 0


def test_files_that_no_run_owns_are_removed_only_when_asked_to(store: Store, place: Path, doctor: Doctor) -> None:
    with RunRecord.start(store, "a", role="sweep") as kept:
        kept.artifacts.text("a", "a.txt")
    going = RunRecord.start(store, "b", role="sweep")
    lost = [place / folder / ("0" * 32) for folder in ("artifacts", "checkpoints", "shards")]
    lost.append(place / "shards" / kept.id)
    owned = [place / "checkpoints" / kept.id, place / "shards" / going.id, place / "artifacts" / kept.id]
    for folder in (*lost, *owned):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "file").write_bytes(b"x" * 500_000)
    for arguments in ((), ("--mend",)):
        status, out = doctor(*arguments)
        assert status == 1
        for words in ("artifacts of 1 runs", "checkpoints of 1 runs", "shards of predictions of 2 sweeps", "1.0 MB"):
            assert words in out
        assert all(folder.exists() for folder in lost)
    assert doctor("--remove-orphans")[0] == 0
    assert not any(folder.exists() for folder in lost)
    assert all(folder.exists() for folder in owned)
    going.kill()


def test_files_of_another_store_in_the_same_folder_are_not_taken_for_nobodys(
    store: Store, place: Path, doctor: Doctor
) -> None:
    elsewhere = place.parent / "elsewhere.db"
    with (
        closing(sqlite3.connect(place / "mlflow.db")) as source,
        closing(sqlite3.connect(elsewhere)) as copy,
    ):
        source.backup(copy)
    uri = f"sqlite:///{elsewhere}"
    with RunRecord.start(open_store(place, uri), "a", role="run") as run:
        run.artifacts.text("a", "a.txt")
    assert doctor("--remove-orphans") == (0, "nothing is wrong\n")
    assert doctor("--remove-orphans", "--uri", uri) == (0, "nothing is wrong\n")
    assert (place / "artifacts" / run.id / "artifacts" / "a.txt").exists()
    store.client._tracking_client.store.engine.dispose()
    for file in place.glob("mlflow.db*"):
        file.unlink()
    (place / "artifacts" / ("0" * 32)).mkdir()
    status, out = doctor("--uri", uri)
    assert (status, "artifacts of 1 runs" in out) == (1, True)


def test_a_moved_store(store: Store, place: Path, doctor: Doctor) -> None:
    with RunRecord.start(store, "a", role="run") as run:
        run.artifacts.text("hello", "a.txt")
    other = place.parent.parent / "there with spaces" / "mlruns"
    other.parent.mkdir()
    store.client._tracking_client.store.engine.dispose()
    shutil.move(place, other)
    with pytest.raises(UserError, match="`lossbench doctor --mend` tells it where it is now"):
        open_store(other)
    status, out = doctor(mlruns=other)
    assert (status, f"its database says {place}, which is not there" in out) == (1, True)
    assert doctor("--mend", mlruns=other)[0] == 0
    moved = open_store(other)
    uri = moved.client.get_run(run.id).info.artifact_uri
    assert uri == f"{(other / 'artifacts').as_uri()}/{run.id}/artifacts"
    assert Path(moved.client.download_artifacts(run.id, "a.txt")).read_text() == "hello"
    assert doctor(mlruns=other) == (0, "nothing is wrong\n")


def test_a_locked_database(store: Store, place: Path, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lossbench.tracking.store.doctor._LOCK_SECONDS", 0.1)
    with closing(sqlite3.connect(place / "mlflow.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        status, out = doctor("--mend")
    assert status == 1
    assert "is locked: process" in out
    assert "has it open: wait for it, or end it" in out.replace("\n", " ")


def test_an_older_schema_is_upgraded_and_kept(tmp_path: Path, doctor: Doctor) -> None:
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base
    from sqlalchemy import create_engine

    folder = tmp_path / "old"
    folder.mkdir()
    file = folder / "mlflow.db"
    older = _before_the_last()
    engine = create_engine(f"sqlite:///{file}")
    Base.metadata.create_all(engine)
    engine.dispose()
    command.upgrade(_get_alembic_config(f"sqlite:///{file}"), older)
    status, out = doctor(mlruns=folder)
    assert (status, "written by an older MLflow" in out) == (1, True)
    with pytest.raises(UserError, match="`lossbench doctor --mend` upgrades it"):
        open_store(folder)
    status, out = doctor("--mend", mlruns=folder)
    assert (status, "what was before is kept as" in out) == (0, True)
    assert open_store(folder).experiment == "lossbench"
    (kept,) = folder.glob("mlflow.db.before-*")
    with closing(sqlite3.connect(kept)) as before:
        assert before.execute("SELECT version_num FROM alembic_version").fetchall() == [(older,)]


def _before_the_last() -> str:
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config

    scripts = ScriptDirectory.from_config(_get_alembic_config("sqlite://"))
    head = scripts.get_revision("head")
    assert head is not None
    return str(head.down_revision)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no database at all" * 100, "file is not a database"),
        (b"", "no alembic_version in it"),
    ],
)
def test_a_file_that_is_no_store(place: Path, doctor: Doctor, content: bytes, words: str) -> None:
    (place / "mlflow.db").write_bytes(content)
    status, out = doctor("--mend")
    assert (status, words in out) == (1, True)


def test_a_newer_schema_and_no_database(place: Path, doctor: Doctor) -> None:
    with closing(sqlite3.connect(place / "mlflow.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'of the future'")
    status, out = doctor("--mend")
    assert (status, "written by a newer MLflow (schema of the future)" in out) == (1, True)
    for file in place.glob("mlflow.db*"):
        file.unlink()
    status, out = doctor()
    assert (status, "there is no database" in out) == (1, True)


def test_a_damaged_database(place: Path, doctor: Doctor) -> None:
    file = place / "mlflow.db"
    whole = file.read_bytes()
    file.write_bytes(whole[:8192] + b"\xff" * (len(whole) - 8192))
    status, out = doctor("--mend")
    assert status == 1
    assert "damaged" in out or "cannot be used" in out


def test_waiting_records_are_delivered(store: Store, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

    def locked(*args: object, **more: object) -> None:
        raise MlflowException("database is locked", TEMPORARILY_UNAVAILABLE)

    run = RunRecord.start(store, "a", role="run")
    with monkeypatch.context() as outage:
        outage.setattr(store.bulk, "write", locked)
        run.log([(0, {"a": 1.0})])
        run.finish({"b": 2.0})
    assert store.client.get_run(run.id).info.status == "RUNNING"
    status, out = doctor()
    assert (status, "records wait in" in out) == (1, True)
    assert doctor("--mend")[0] == 0
    found = store.client.get_run(run.id)
    assert (found.info.status, found.data.metrics) == ("FINISHED", {"a": 1.0, "b": 2.0})
    assert outbox_of(store).waiting() == 0
