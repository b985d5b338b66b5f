"""A store opens whole, once, for everybody, or says in one line why not."""

from __future__ import annotations

import pickle
import socket
import sqlite3
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import mlflow.store
import pytest
from alembic.script import ScriptDirectory

from lossbench.errors import UserError
from lossbench.tracking.store import address, database
from lossbench.tracking.store.open import Store, open_store


def message(raised: pytest.ExceptionInfo[UserError]) -> str:
    text = str(raised.value)
    assert "\n" not in text
    return text


def test_everything_lies_in_mlruns_and_absolute(store: Store, mlruns: Path) -> None:
    assert store.uri == f"sqlite:///{mlruns}/mlflow.db"
    assert address.local_path(store.artifacts) == mlruns / "artifacts"
    with closing(sqlite3.connect(mlruns / "mlflow.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert not list(mlruns.glob("*.new*"))


def test_a_second_opening_finds_the_same_experiment(store: Store, mlruns: Path) -> None:
    assert open_store(mlruns, experiment=store.experiment) == store


def test_a_store_travels_by_pickle(store: Store) -> None:
    copy = pickle.loads(pickle.dumps(store))
    assert copy == store
    assert copy.client is store.client


def test_environment_counts_below_arguments(mlruns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{mlruns}/mlflow.db")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "from the environment")
    elsewhere = open_store(tmp_path)
    assert (elsewhere.uri, elsewhere.experiment) == (f"sqlite:///{mlruns}/mlflow.db", "from the environment")
    assert open_store(tmp_path, experiment="said").experiment == "said"
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    assert open_store(tmp_path).experiment == "lossbench"
    assert address.resolve("http://said:1", tmp_path) == "http://said:1"


def _open_and_record(mlruns: str) -> tuple[str, str]:
    import warnings

    warnings.simplefilter("ignore")
    store = open_store(Path(mlruns))
    run = store.client.create_run(store.experiment_id)
    return store.experiment_id, run.info.run_id


def test_four_processes_open_one_fresh_store_at_once(tmp_path: Path) -> None:
    mlruns = tmp_path / "with space, ü, 100% and #"
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(_open_and_record, [str(mlruns)] * 4))
    experiments, runs = {experiment for experiment, _ in found}, {run for _, run in found}
    assert len(experiments) == 1
    store = open_store(mlruns)
    assert {run.info.run_id for run in store.client.search_runs([store.experiment_id])} == runs
    assert len(runs) == 4
    # The lock, the draft and the database alone: no folder made of a misread path.
    assert {path.name for path in tmp_path.iterdir()} == {mlruns.name}


def test_an_interrupted_creation_leaves_no_half_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(file: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(database.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        open_store(tmp_path)
    assert not (tmp_path / "mlflow.db").exists()
    monkeypatch.undo()
    assert open_store(tmp_path).experiment == "lossbench"
    assert not (tmp_path / "mlflow.db.new").exists()


def test_a_deleted_experiment_is_named(store: Store, mlruns: Path) -> None:
    store.client.delete_experiment(store.experiment_id)
    with pytest.raises(UserError) as raised:
        open_store(mlruns, experiment=store.experiment)
    assert f"{store.experiment!r}" in message(raised)
    assert "is deleted" in message(raised)


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "mlruns").write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        open_store(tmp_path / "mlruns")


@pytest.mark.parametrize("denied", ["folder", "mlflow.db"])
def test_what_cannot_be_written(store: Store, mlruns: Path, denied: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = mlruns if denied == "folder" else mlruns / denied
    allowed = database.os.access
    # Asked of the operating system, and root may write everything: so its answer is replaced.
    monkeypatch.setattr(database.os, "access", lambda path, mode: path != place and allowed(path, mode))
    with pytest.raises(UserError) as raised:
        open_store(mlruns)
    assert f"{place} cannot be written" in message(raised)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database " * 100)
    with pytest.raises(UserError) as raised:
        open_store(tmp_path)
    assert "mlflow.db cannot be used: file is not a database" in message(raised)


def test_a_database_of_something_else(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(UserError, match="is not MLflow's"):
        open_store(tmp_path)


@pytest.mark.parametrize(("version", "age"), [("451aebb31d03", "older"), ("ffffffffffff", "newer")])
def test_a_schema_of_another_mlflow(mlruns: Path, store: Store, tmp_path: Path, version: str, age: str) -> None:
    file = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(mlruns / "mlflow.db")) as source, closing(sqlite3.connect(file)) as copy:
        source.backup(copy)
        copy.execute("UPDATE alembic_version SET version_num = ?", [version])
        copy.commit()
    with pytest.raises(UserError) as raised:
        open_store(tmp_path)
    assert f"written by an {age}" in message(raised).replace("a newer", "an newer")
    assert version in message(raised)


def test_every_schema_that_this_mlflow_knows_is_told_by_its_text_as_alembic_tells_it(tmp_path: Path) -> None:
    scripts = ScriptDirectory(str(Path(mlflow.store.__path__[0]) / "db_migrations"))
    head = scripts.get_current_head()
    versions = [script.revision for script in scripts.walk_revisions()]
    assert head in versions
    for version in versions:
        if version == head:
            database._check_schema(str(tmp_path / "mlflow.db"), version, "do it")
            continue
        with pytest.raises(UserError, match="an older MLflow"):
            database._check_schema(str(tmp_path / "mlflow.db"), version, "do it")


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("mlruns", "refuses its file store"),
        ("file:///tmp/mlruns", "refuses its file store"),
        ("mongodb://localhost", "knows no mongodb store"),
        ("sqlite://", "needs a file after sqlite:///"),
        ("sqlite:///:memory:", "needs a file after sqlite:///"),
        ("sqlite:////tmp/what?.db", "free of"),
        ("http://127.0.0.1:99999", "port from 0 to 65535"),
    ],
)
def test_addresses_that_mlflow_cannot_serve(uri: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        open_store(tmp_path, uri)
    assert why in message(raised)


@pytest.mark.parametrize("scheme", ["http", "postgresql+psycopg2"])
def test_a_server_that_does_not_answer_and_a_password(scheme: str, tmp_path: Path) -> None:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with pytest.raises(UserError) as raised:
        open_store(tmp_path, f"{scheme}://ann:secret@127.0.0.1:{port}/mlflow")
    assert f"{scheme}://ann:***@127.0.0.1:{port}" in message(raised)
    assert "does not answer" in message(raised)
    assert "secret" not in message(raised)


def test_a_store_shows_no_password() -> None:
    store = Store("postgresql://ann:secret@db/mlflow", "lossbench", "1", "s3://bucket", Path("/project/mlruns"))
    assert "secret" not in repr(store)
    assert "secret" not in store.place


def test_a_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert address.resolve("sqlite:///other.db", tmp_path / "mlruns") == f"sqlite:///{tmp_path}/other.db"
