"""lossbench as a person has it: from its wheel, in an empty folder, with one part of each kind of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from lossbench.tracking import read
from lossbench.tracking.store.open import open_store

ROOT = Path(__file__).parents[2]
PARTS = {"loss": "loss", "regularizer": "regularizer", "model": "model", "data": "data", "metric": "metrics"}


def ran(*command: object, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120", **more},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a fresh environment with the wheel; the packages that it needs are borrowed from ours."""
    folder = tmp_path_factory.mktemp("installed")
    built = ran(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "dist", cwd=ROOT)
    assert built.returncode == 0, built.stderr
    (wheel,) = (folder / "dist").glob("*.whl")
    made = ran(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    assert made.returncode == 0, made.stderr
    python = folder / "venv" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    done = ran(*pip, cwd=folder)
    assert done.returncode == 0, done.stderr
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = ran(python, "-c", "import lossbench.cli.main; print(lossbench.cli.main.__file__)", cwd=folder).stdout
    assert where.startswith(str(packages))
    return python.parent


@pytest.mark.slow
def test_parts_of_ones_own_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    lossbench = installed / "lossbench"
    for kind in PARTS:
        made = ran(lossbench, "new", kind, f"my_{kind}", cwd=tmp_path)
        assert made.returncode == 0, made.stderr

    shown = ran(lossbench, "--help", cwd=tmp_path).stdout
    for kind, group in PARTS.items():
        (choices,) = [line for line in shown.splitlines() if line.startswith(f"{group}: ") and "," in line]
        assert f"my_{kind}" in choices
        line = f"lossbench {group}=my_"
        offered = ran(lossbench, "-sc", "query=bash", cwd=tmp_path, COMP_LINE=line, COMP_POINT=str(len(line)))
        assert f"{group}=my_{kind}" in offered.stdout

    # more jobs than stay in the main process, so that workers import the parts too
    swept = ran(
        *(lossbench, "-m", "loss=cross_entropy,my_loss", "regularizer=none,my_regularizer", "model=my_model"),
        *("data=my_data", "metrics=my_metric", "compare.metric=test/my_metric", "seed=range(5)"),
        *("trainer.max_epochs=2", "hydra.launcher.processes=2"),
        cwd=tmp_path,
    )
    assert swept.returncode == 0, swept.stdout + swept.stderr
    assert "test/my_metric (lower is better)" in swept.stdout
    assert "my_loss" in swept.stdout
    store = open_store(tmp_path / "mlruns")
    runs = read.runs(store, read.find_sweep(store, "last").id)
    runs = runs[runs["role"] == "run"]
    assert list(runs["status"]) == ["FINISHED"] * 20
    alone = {store.client.get_run(run).data.tags.get("lossbench.alone") for run in runs["run_id"]}
    assert alone == {None}  # all of them stacked

    loss = tmp_path / "my_loss.py"
    loss.write_text(loss.read_text().replace("** gamma", "** gamma / len(y_pred)"))
    judged = ran(installed / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", cwd=tmp_path)
    assert judged.returncode == 1, judged.stdout
    failed = [line for line in judged.stdout.splitlines() if line.startswith("FAILED")]
    assert failed
    assert all("tests/test_my_loss.py" in line for line in failed), failed
    assert "loss/my_loss for 2 classes breaks the law `rows do not mix`: value in a batch" in judged.stdout
