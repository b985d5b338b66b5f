"""Eight processes record a hundred runs each at once: every row is there, counted."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from lossbench.errors import UserError
from lossbench.tracking import read
from lossbench.tracking.search import search_runs
from lossbench.tracking.store.open import Store, open_store

# A text, since a worker cannot import a test's functions.
WORKER = """
import sys
from pathlib import Path
from lossbench.tracking.store.outbox import outbox_of
from lossbench.tracking.run import RunRecord
from lossbench.tracking.store.open import open_store

mlruns, uri, experiment, worker, runs, epochs = sys.argv[1:]
store = open_store(Path(mlruns), uri, experiment)
for number in range(int(runs)):
    with RunRecord.start(store, f"{worker}/{number}", role="run", params={"worker": worker}) as run:
        # All workers meet a dataset of one seed for the first time at once.
        run.dataset("rings", f"digest {number}", columns={"x": "double"}, rows=3, source="here")
        for epoch in range(int(epochs)):
            run.log([(epoch, {f"val/{name}": epoch / 7 + place for place, name in enumerate("abcdefgh")})])
        run.artifacts.text(run.id, "who.txt")
outbox_of(store).deliver_patiently()
"""
EPOCHS, KEYS = 10, "abcdefgh"


def record_at_once(folder: Path, uri: str, experiment: str, workers: int, runs: int, *, apart: bool = False) -> Store:
    """Let workers record at once, each in a folder of its own where they are on machines `apart`."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    places = [folder / f"mlruns{worker if apart else ''}" for worker in range(workers)]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(place), uri, experiment, str(worker), str(runs), str(EPOCHS)],
            env=environment,
        )
        for worker, place in enumerate(places)
    ]
    try:
        assert [process.wait(1200) for process in started] == [0] * workers
    finally:
        for process in started:
            process.kill()
            process.wait()
    return open_store(places[0], uri, experiment)


def require_every_row(store: Store, database: str, workers: int, runs: int) -> None:
    """Every run is there with its file, and the table of metrics holds exactly the rows that were recorded."""
    found = list(search_runs(store, "tags.`lossbench.role` = 'run'"))
    names = [f"{worker}/{number}" for worker in range(workers) for number in range(runs)]
    assert sorted(run.name for run in found) == sorted(names)
    assert {run.status for run in found} == {"FINISHED"}
    for run in found[:: max(1, len(found) // 8)]:
        data = read.read_artifact(store, run.id, run.artifact_uri, "who.txt")
        assert data == run.id.encode()
    engine = create_engine(database)
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT runs.name, key, step, value FROM metrics JOIN runs ON runs.run_uuid = metrics.run_uuid "
                "WHERE experiment_id = :experiment"
            ),
            {"experiment": int(store.experiment_id)},
        ).fetchall()
        experiments, datasets, inputs = (
            connection.execute(text(f"SELECT COUNT(*) FROM {which}"), {"experiment": int(store.experiment_id)}).scalar()
            for which in (
                f"experiments WHERE name = '{store.experiment}'",
                "datasets WHERE experiment_id = :experiment",
                "inputs JOIN runs ON destination_id = run_uuid WHERE experiment_id = :experiment",
            )
        )
    engine.dispose()
    assert sorted(map(tuple, rows)) == sorted(
        (name, f"val/{key}", epoch, epoch / 7 + place)
        for name in names
        for epoch in range(EPOCHS)
        for place, key in enumerate(KEYS)
    )
    assert (experiments, datasets, inputs) == (1, runs, workers * runs)


def test_four_processes_on_sqlite(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}"
    store = record_at_once(tmp_path, uri, "few", 4, 10)
    require_every_row(store, uri, 4, 10)


@pytest.mark.slow(sample=False)
def test_eight_times_a_hundred_on_sqlite(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}"
    store = record_at_once(tmp_path, uri, "many", 8, 100)
    require_every_row(store, uri, 8, 100)


# PostgreSQL and MLflow's server


def _program(name: str) -> str | None:
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return shutil.which(name) or (str(places[0]) if places else None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """A PostgreSQL of its own on loopback; skipped, with the reason, where Debian's package or the driver is absent."""
    psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed: pip install lossbench[postgresql]")
    initdb, server = _program("initdb"), _program("postgres")
    if initdb is None or server is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    # It refuses to run as root.
    other = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.getuid() == 0 else []
    if other and shutil.which("setpriv") is None:
        pytest.skip("PostgreSQL does not run as root, and there is no setpriv to be another user")
    user = "nobody" if other else getpass.getuser()
    # Not below pytest's own folder, which no other user may enter.
    with tempfile.TemporaryDirectory(prefix="lossbench-postgresql-") as folder:
        if other:
            shutil.chown(folder, user)
        data = f"{folder}/data"
        subprocess.run([*other, initdb, "-D", data, "-A", "trust", "-U", user, "-N"], check=True, capture_output=True)
        port = _free_port()
        options = ["-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", "", "-c", "max_connections=200"]
        with open(f"{folder}/log", "wb") as log:
            process = subprocess.Popen([*other, server, *options], stderr=log, stdout=log)
        try:
            for _ in range(300):
                assert process.poll() is None, Path(folder, "log").read_text()
                try:
                    psycopg.connect(host="127.0.0.1", port=port, user=user, dbname="postgres").close()
                    break
                except psycopg.OperationalError:
                    time.sleep(0.1)
            yield f"postgresql://{user}@127.0.0.1:{port}/postgres"
        finally:
            # Its fast shutdown: at SIGTERM it waits until every client has gone, and the pool in this process stays.
            process.send_signal(signal.SIGINT)
            process.wait(60)


@pytest.fixture(scope="module")
def server(postgresql: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """MLflow's server over it, which keeps artifacts too."""
    folder = tmp_path_factory.mktemp("server")
    port = _free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "2"]
    environment = {
        **os.environ,
        "PYTHONWARNINGS": "ignore",
        "MLFLOW_BACKEND_STORE_URI": postgresql,
        "MLFLOW_ARTIFACTS_DESTINATION": str(folder / "kept"),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with open(folder / "server.log", "wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    at = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 180
        while True:
            try:
                urllib.request.urlopen(f"{at}/health", timeout=2).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "server.log").read_text()
                assert time.monotonic() < until, (folder / "server.log").read_text()
                time.sleep(0.2)
        yield at
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


@pytest.mark.slow(sample=False)
def test_eight_machines_times_a_hundred_on_an_empty_postgresql(postgresql: str, tmp_path: Path) -> None:
    store = record_at_once(tmp_path, postgresql, "machines", 8, 100, apart=True)
    require_every_row(store, postgresql, 8, 100)


@pytest.mark.slow(sample=False)
def test_eight_machines_times_a_hundred_on_postgresql_behind_a_server(
    postgresql: str, server: str, tmp_path: Path
) -> None:
    store = record_at_once(tmp_path, server, "clients", 8, 100, apart=True)
    require_every_row(store, postgresql, 8, 100)


@pytest.mark.slow(sample=False)
@pytest.mark.parametrize(
    ("launcher", "workers"), [("batched", "hydra.launcher.processes=2"), ("joblib", "hydra.launcher.n_jobs=8")]
)
def test_a_sweep_on_postgresql_behind_a_server(
    postgresql: str, server: str, tmp_path: Path, launcher: str, workers: str
) -> None:
    experiment = f"sweep-{launcher}"
    jobs = ["loss=cross_entropy,focal", "seed=range(8)", "trainer.max_epochs=2", "data.test_rows=200",
            "data.negatives=150", "data.positives=30", f"hydra/launcher={launcher}", workers]  # fmt: skip
    where = [f"paths.mlruns={tmp_path / 'mlruns'}", f"tracking.uri={server}", f"tracking.experiment={experiment}"]
    command = [sys.executable, "-m", "lossbench", "-m", *jobs, *where]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0, ended.stderr
    store = open_store(tmp_path / "mlruns", server, experiment)
    (sweep,) = read.sweeps(store)
    assert sweep.status == "FINISHED"
    runs = read.runs(store, sweep.id)
    jobs_of = runs[runs["role"] == "run"]
    assert len(jobs_of) == 16
    assert set(jobs_of["status"]) == {"FINISHED"}
    assert len(set(jobs_of["name"])) == 16
    for run_id in jobs_of["run_id"]:
        files = {file.path for file in store.client.list_artifacts(run_id)}
        assert {"model.pt", "config.yaml", "history.csv"} <= files
    engine = create_engine(postgresql)
    with engine.connect() as connection:
        statement = text("SELECT run_uuid, COUNT(*) FROM metrics WHERE key = 'val/auroc' GROUP BY run_uuid")
        rows = dict(connection.execute(statement).fetchall())
    engine.dispose()
    # Two epochs, and the selected one's value behind them.
    assert {rows[run_id] for run_id in jobs_of["run_id"]} == {3}


@pytest.mark.slow(sample=False)
def test_tables_of_another_mlflow_on_postgresql_are_refused(postgresql: str, tmp_path: Path) -> None:
    open_store(tmp_path, postgresql)
    engine = create_engine(postgresql)
    with engine.begin() as connection:
        version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        connection.execute(text("UPDATE alembic_version SET version_num = 'of the future'"))
    try:
        with pytest.raises(UserError, match=r"written by a newer MLflow than .* \(schema of the future\)"):
            open_store(tmp_path, postgresql)
    finally:
        with engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})
        engine.dispose()
    assert open_store(tmp_path, postgresql).experiment == "lossbench"
