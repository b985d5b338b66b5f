"""A metric of a person's own: computed by every run, shown after ours, and known to `lossbench compare`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lossbench.cli.main import dispatch
from lossbench.tracking import read
from lossbench.tracking.store.open import open_store

METRICS = """
defaults: [default]
kappa: {_target_: torchmetrics.CohenKappa, _partial_: true, rope: 0.4}
hamming: {_target_: torchmetrics.HammingDistance, _partial_: true}
"""
QUICK = ("trainer.max_epochs=2", "data.test_rows=200", "data.negatives=300", "data.positives=60")


def swept(folder: Path, *arguments: str) -> Path:
    """Run a sweep with the folder's metrics and return its store."""
    (folder / "conf" / "metrics").mkdir(parents=True, exist_ok=True)
    (folder / "conf" / "metrics" / "mine.yaml").write_text(METRICS)
    mlruns = folder / "mlruns"
    command = ["-m", "loss=cross_entropy,mse", "metrics=mine", *arguments, *QUICK, f"paths.mlruns={mlruns}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("COLUMNS", "200")
        patch.setattr(sys, "argv", ["lossbench", *command])
        assert dispatch(command) == 0
    return mlruns


@pytest.fixture(scope="module")
def mlruns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return swept(tmp_path_factory.mktemp("own_metric"), "seed=range(7)")


@pytest.fixture
def compare(mlruns: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> str:
        status = dispatch(["compare", "last", "--mlruns", str(mlruns), *arguments])
        out, err = capsys.readouterr()
        assert status == 0, err
        return out

    return run


def test_the_sweep_records_what_is_known_of_it(mlruns: Path) -> None:
    tags = read.find_sweep(open_store(mlruns), "last").tags
    facts = json.loads(tags["lossbench.added_metrics"])
    assert facts["kappa"] == {"better": "max", "rope": 0.4}
    assert facts["hamming"] == {"better": "min", "rope": None}
    assert "lossbench.direction" not in tags


def test_the_leaderboard_shows_it_after_ours(compare: Callable[..., str]) -> None:
    headers = next(line.split() for line in compare().splitlines() if line.split()[:2] == ["objective", "seconds"])
    assert headers[-3:] == ["ece", "kappa", "hamming"]
    assert " ece | kappa | hamming |\n" in compare("--format", "markdown")


def test_compare_knows_which_way_it_is_better_and_its_region(compare: Callable[..., str]) -> None:
    assert "test/kappa (higher is better)" in compare("--metric", "test/kappa")
    rows = json.loads(compare("--metric", "test/hamming", "--format", "json"))
    means = [row["mean"] for row in rows if row["role"] == "objective"]
    assert means == sorted(means)
    assert "differences below 0.4 test/kappa, as asked for, count as equal" in compare("--metric", "test/kappa")
    assert "differences below 0.01 test/kappa, as asked for, count as equal" in compare(
        "--metric", "test/kappa", "--rope", "0.01"
    )


def test_the_report_shows_it_with_the_best_in_bold(compare: Callable[..., str], tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    compare("--format", "html", "--output", str(page))
    table = page.read_text().split("<caption>Mean (standard deviation) of the metrics on test</caption>")[1]
    headers = table.partition("</thead>")[0]
    assert headers.index(">tuned/mcc<") < headers.index(">kappa<") < headers.index(">hamming<")
    assert re.search(r'<td class="best">[^<]*</td>\s*</tr>', table.partition("</tbody>")[0])


def test_what_a_sweep_was_told_holds_for_its_metric_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The direction and the region of one metric would turn another upside down."""
    mlruns = swept(tmp_path, "seed=range(2)", "compare.metric=test/hamming", "compare.rope=0.3")
    assert "test/hamming (lower is better)" in capsys.readouterr().out
    assert read.find_sweep(open_store(mlruns), "last").tags["lossbench.direction"] == "min"
    assert dispatch(["compare", "last", "--mlruns", str(mlruns), "--metric", "test/auroc"]) == 0
    out = capsys.readouterr().out
    assert "test/auroc (higher is better)" in out
    assert "count as equal" in out
    assert "as asked for" not in out
