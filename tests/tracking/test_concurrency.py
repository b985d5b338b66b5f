"""Eight processes record a hundred runs each at once: every row is there, counted."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from lossbench.tracking import read
from lossbench.tracking.store import open_store

# A text, since a worker cannot import a test's functions.
WORKER = """
import sys
from pathlib import Path
from lossbench.tracking.outbox import outbox_of
from lossbench.tracking.run import RunRecord
from lossbench.tracking.store import open_store

mlruns, uri, worker, runs, epochs = sys.argv[1:]
store = open_store(Path(mlruns), uri)
for number in range(int(runs)):
    with RunRecord.start(store, f"{worker}/{number}", role="run", params={"worker": worker}) as run:
        for epoch in range(int(epochs)):
            run.log([(epoch, {f"val/{name}": epoch / 7 + place for place, name in enumerate("abcdefgh")})])
        run.artifacts.text(run.id, "who.txt")
outbox_of(store).deliver_patiently()
"""
EPOCHS, KEYS = 10, 8


def record_at_once(mlruns: Path, uri: str, workers: int, runs: int) -> None:
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(mlruns), uri, str(worker), str(runs), str(EPOCHS)], env=environment
        )
        for worker in range(workers)
    ]
    assert [process.wait(1200) for process in started] == [0] * workers


def require_every_row(mlruns: Path, uri: str, workers: int, runs: int) -> None:
    store = open_store(mlruns, uri)
    found = list(read.search(store, "tags.`lossbench.role` = 'run'"))
    names = sorted(run.info.run_name for run in found)
    assert names == sorted(f"{worker}/{number}" for worker in range(workers) for number in range(runs))
    assert {run.info.status for run in found} == {"FINISHED"}
    rows = 0
    for run in found[:: max(1, len(found) // 40)] if uri.startswith("http") else found:
        for name in "abcdefgh":
            points = store.client.get_metric_history(run.info.run_id, f"val/{name}")
            assert [point.step for point in points] == list(range(EPOCHS))
            rows += len(points)
    assert rows > 0
    assert [experiment.name for experiment in store.client.search_experiments()].count("lossbench") == 1


def test_four_processes_on_sqlite(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}"
    record_at_once(tmp_path / "mlruns", uri, 4, 10)
    require_every_row(tmp_path / "mlruns", uri, 4, 10)


@pytest.mark.slow(sample=False)
def test_eight_times_a_hundred_on_sqlite(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}"
    record_at_once(tmp_path / "mlruns", uri, 8, 100)
    require_every_row(tmp_path / "mlruns", uri, 8, 100)


# PostgreSQL and MLflow's server


def _program(name: str) -> str | None:
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return shutil.which(name) or (str(places[0]) if places else None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL of its own on loopback; skipped, with the reason, where Debian's package or the driver is absent."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install lossbench[postgresql]")
    initdb, server = _program("initdb"), _program("postgres")
    if initdb is None or server is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    folder = tmp_path_factory.mktemp("pg") / "data"
    # It refuses to run as root.
    other = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.getuid() == 0 else []
    if other and shutil.which("setpriv") is None:
        pytest.skip("PostgreSQL does not run as root, and there is no setpriv to be another user")
    folder.mkdir()
    if other:
        shutil.chown(folder, "nobody")
        for parent in folder.parents:
            if parent.stat().st_uid == os.getuid() and "pytest-" in str(parent):
                parent.chmod(0o755)
    user = "nobody" if other else getpass.getuser()
    subprocess.run([*other, initdb, "-D", str(folder), "-A", "trust", "-U", user, "-N"], check=True,
                   capture_output=True)  # fmt: skip
    port = _free_port()
    options = ["-D", str(folder), "-p", str(port), "-h", "127.0.0.1", "-k", str(folder), "-c", "max_connections=200"]
    process = subprocess.Popen([*other, server, *options], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        import psycopg

        for _ in range(300):
            try:
                psycopg.connect(host="127.0.0.1", port=port, user=user, dbname="postgres").close()
                break
            except psycopg.OperationalError:
                time.sleep(0.1)
        yield f"postgresql://{user}@127.0.0.1:{port}/postgres"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def server(postgresql: str, tmp_path: Path) -> Iterator[str]:
    """MLflow's server over it, which keeps artifacts too."""
    port = _free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "2"]
    environment = {
        **os.environ,
        "PYTHONWARNINGS": "ignore",
        "MLFLOW_BACKEND_STORE_URI": postgresql,
        "MLFLOW_ARTIFACTS_DESTINATION": str(tmp_path / "kept"),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with open(tmp_path / "server.log", "wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    at = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 180
        while True:
            try:
                urllib.request.urlopen(f"{at}/health", timeout=2).close()
                break
            except OSError:
                assert process.poll() is None, (tmp_path / "server.log").read_text()
                assert time.monotonic() < until, (tmp_path / "server.log").read_text()
                time.sleep(0.2)
        yield at
    finally:
        os.killpg(process.pid, 15)
        process.wait()


@pytest.mark.slow
def test_eight_times_a_hundred_on_postgresql_behind_a_server(server: str, tmp_path: Path) -> None:
    record_at_once(tmp_path / "mlruns", server, 8, 100)
    require_every_row(tmp_path / "mlruns", server, 8, 100)


@pytest.mark.slow
def test_a_sweep_on_postgresql_itself(postgresql: str, tmp_path: Path) -> None:
    record_at_once(tmp_path / "mlruns", postgresql, 4, 25)
    require_every_row(tmp_path / "mlruns", postgresql, 4, 25)
