"""MLflow's interface over a sweep, in a real headless browser: what a person finds behind the link that is printed.

The screenshots stay in the test's folder (`pytest --basetemp=somewhere`).
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

pytestmark = pytest.mark.slow

RUNS = """
const ids = [...document.querySelectorAll('a')].map(link => link.href.match(/runs\\/([0-9a-f]{32})/));
return [...new Set(ids.filter(Boolean).map(found => found[1]))];
"""
# The button that unfolds a run stands in front of its name.
UNFOLD = """
const link = [...document.querySelectorAll('a')].find(link => link.innerText.trim() === arguments[0]);
const row = link && link.closest('[role=row]');
const button = row && row.querySelector('button[data-component-id*=runnamecellrenderer]');
if (button) button.click();
return Boolean(button);
"""


@pytest.fixture(scope="module")
def sweep(window: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A sweep of two losses and three seeds, and all that its command printed."""
    folder = tmp_path_factory.mktemp("ui")
    command = [
        sys.executable, "-m", "lossbench", "-m", "data=iris", "loss=cross_entropy,focal", "seed=range(3)",
        "trainer.max_epochs=2", f"paths.mlruns={folder / 'mlruns'}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=300, check=True)
    return folder / "mlruns", done.stdout


@pytest.fixture(scope="module")
def served(sweep: tuple[Path, str], port: int) -> Iterator[dict[str, str]]:
    """The links that `lossbench ui` prints, while it serves them."""
    mlruns, _ = sweep
    command = [sys.executable, "-m", "lossbench", "ui", "--mlruns", str(mlruns), "--port", str(port)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert child.stdout is not None
    try:
        links = {}
        for name in ("home", "chart", "sweep"):
            found = re.search(r"http://\S+", child.stdout.readline())
            assert found is not None
            links[name] = found[0]
        yield links
    finally:
        os.kill(child.pid, signal.SIGINT)
        child.wait(30)
        child.stdout.close()


def test_a_person_finds_the_answer(
    sweep: tuple[Path, str], served: dict[str, str], window: Any, tmp_path: Path
) -> None:
    # The sweep has printed the same link, for the port that `lossbench ui` takes unless told otherwise.
    assert served["chart"].replace(served["home"], "http://127.0.0.1:5000") in sweep[1]

    window.open(served["chart"])
    window.wait_for_text("cross_entropy", "focal", "2 matching runs", "difference/test/auroc")
    window.wait_for("return document.querySelectorAll('.barlayer .point path').length >= 4")
    assert "Bayes" not in window.text()
    shots = [window.keep(tmp_path / "chart.png")]
    objectives = window.run(RUNS)
    assert len(objectives) == 2

    # Unfolded, an objective shows its seeds.
    own = served["sweep"].rsplit("/", 1)[1]
    chosen = quote(f"tags.`lossbench.sweep` = '{own}' AND tags.`lossbench.role` != 'reference'")
    runs = served["sweep"].rsplit("/", 1)[0]
    window.open(f"{runs}?workflowType=machine_learning&compareRunsMode=TABLE&searchFilter={chosen}")
    window.wait_for(UNFOLD, "loss on iris")
    assert "s1 · focal" not in window.text()
    window.wait_for(UNFOLD, "focal")
    window.wait_for_text("s0 · focal", "s1 · focal", "s2 · focal")
    assert "s0 · cross_entropy" not in window.text()
    shots.append(window.keep(tmp_path / "unfolded.png"))

    both = f"runs={quote(json.dumps(objectives))}&experiments={quote(json.dumps(['1']))}"
    window.open(f"{served['home']}/#/compare-runs?{both}")
    window.wait_for_text("Comparing 2 Runs", "cross_entropy", "focal", "difference/test/auroc")
    shots.append(window.keep(tmp_path / "compare.png"))

    window.open(served["sweep"])
    window.wait_for_text("test/auroc (higher is better)", "difference: mean paired difference to cross_entropy")
    shots.append(window.keep(tmp_path / "sweep.png"))

    window.open(f"{served['sweep']}/artifacts/report.html")
    window.wait_for_text("leaderboard.json", "report.html")
    window.wait_for("return document.querySelector('iframe[src^=\"blob:\"]') !== null")
    window.enter_frame()
    window.wait_for_text("Leaderboard by test/auroc", "Paired differences to cross_entropy")
    shots.append(window.keep(tmp_path / "report.png"))
    assert all(len(shot) > 10_000 for shot in shots)
