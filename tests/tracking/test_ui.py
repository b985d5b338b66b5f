"""The UI's ui, and the server behind them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from lossbench.errors import UserError
from lossbench.tracking import read, ui
from lossbench.tracking.read import history_of
from lossbench.tracking.run import RunRecord
from lossbench.tracking.search import read_run, search_runs
from lossbench.tracking.store.open import Store, open_store
from lossbench.tracking.sweep import SweepRecord
from lossbench.tracking.ui import serve


def test_the_chart_link_says_what_the_ui_reads(store: Store) -> None:
    link = ui.chart_url(store, "abc", "test/auroc")
    assert link.startswith(f"http://127.0.0.1:5000/#/experiments/{store.experiment_id}/runs?")
    query = {key: value for key, (value,) in parse_qs(urlsplit(urlsplit(link).fragment).query).items()}
    assert query == {
        "workflowType": "machine_learning",
        "compareRunsMode": "CHART",
        "searchFilter": "tags.`lossbench.sweep` = 'abc' AND tags.`lossbench.role` = 'objective'",
        "orderByKey": "metrics.`test/auroc`",
        "orderByAsc": "false",
    }
    assert "orderByAsc=true" in ui.chart_url(store, "abc", "test/log_loss", "min")
    assert " " not in link


def test_the_link_selects_the_objectives(store: Store) -> None:
    with SweepRecord.open(store, "losses", objectives={"focal": {}, "mse": {}}) as sweep:
        pass
    query = parse_qs(urlsplit(urlsplit(ui.chart_url(store, sweep.id, "test/auroc")).fragment).query)
    found = search_runs(store, query["searchFilter"][0])
    assert {run.id for run in found} == set(sweep.objectives.values())


def test_links_to_a_run_and_to_other_places(store: Store) -> None:
    tail = f"/#/experiments/{store.experiment_id}/runs/abc"
    assert ui.run_url(store, "abc") == f"http://127.0.0.1:5000{tail}"
    assert ui.run_url(store, "abc", base=ui.base_url(store, 80, "::1")) == f"http://[::1]:80{tail}"
    there = Store("https://ann:secret@mlflow.example.org/", "e", "1", "mlflow-artifacts:/1", store.mlruns)
    assert ui.run_url(there, "abc") == "https://mlflow.example.org/#/experiments/1/runs/abc"


def test_a_port_in_use_names_a_free_one(store: Store) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port} on 127.0.0.1 is in use: port \d+ is free"):
            serve(store, port=port)


@pytest.mark.parametrize("port", [0, 70000, "5000", True])
def test_ports_out_of_range(store: Store, port: int) -> None:
    with pytest.raises(UserError, match="from 1 to 65535"):
        serve(store, port=port)


def test_a_host_that_is_not_ours(store: Store) -> None:
    with pytest.raises(UserError, match=r"cannot listen on 192\.0\.2\.1:5000"):
        serve(store, host="192.0.2.1")


SERVE = """
import sys, warnings
from pathlib import Path
from lossbench.tracking.store.open import open_store
from lossbench.tracking.ui import serve
serve(open_store(Path(sys.argv[1])), port=int(sys.argv[2]), sweep="abc", show=lambda line: print(line, flush=True))
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", SERVE, str(tmp_path / "mlruns"), str(port)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    yield child, port
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    assert child.stdout is not None
    child.stdout.close()


@pytest.mark.slow
def test_a_real_server_takes_runs_and_ends_with_ctrl_c(
    server: tuple[subprocess.Popen[str], int], tmp_path: Path
) -> None:
    child, port = server
    assert child.stdout is not None
    at = f"http://127.0.0.1:{port}"
    assert child.stdout.readline().strip() == f"MLflow's UI: {at} (Ctrl-C ends it)"
    assert child.stdout.readline().startswith(f"This sweep's objectives: {at}/#/experiments/1/runs?")
    with urllib.request.urlopen(at) as page:
        assert b"<title>MLflow</title>" in page.read()

    store = open_store(tmp_path / "elsewhere", at, "over http")
    assert ui.base_url(store) == at
    with SweepRecord.open(store, "remote", objectives={"focal": {}}) as sweep:
        run = RunRecord.start(
            store,
            "s0",
            role="run",
            params={"seed": 0},
            parent=sweep.objectives["focal"],
            sweep=sweep.id,
            objective="focal",
        )
        run.log([(0, {"val/auroc": 0.5})])
        run.artifacts.text("kept", "notes/a.txt")
        run.finish({"test/auroc": 0.75})
    assert read.runs(store, sweep.id)["metrics.test/auroc"].tolist() == [0.75]
    assert history_of(store, read_run(store, run.id)).to_dict("list") == {"epoch": [0], "val/auroc": [0.5]}
    assert [found.path for found in store.client.list_artifacts(run.id)] == ["history.csv", "notes"]

    os.kill(child.pid, signal.SIGINT)
    assert child.wait(timeout=20) == 0
    with closing(socket.socket()) as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
