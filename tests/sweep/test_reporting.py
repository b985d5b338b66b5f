"""The report as a sweep keeps it and as `lossbench compare --format html` writes it."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lossbench.cli import compare
from lossbench.config.compose import compose
from lossbench.sweep import reporting
from lossbench.sweep.answer import Answer, answer
from lossbench.sweep.jobs import check_jobs, names_of_data
from lossbench.tracking import row_tables
from lossbench.tracking.artifacts import read_artifact
from lossbench.tracking.run import RunRecord
from lossbench.tracking.schema import Artifact
from lossbench.tracking.store.open import Store, open_store
from lossbench.tracking.sweep import SweepRecord

COMMAND = "lossbench comparison=demo"


@pytest.fixture(scope="module")
def mlruns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reporting") / "mlruns"


@pytest.fixture(scope="module")
def store(mlruns: Path) -> Store:
    return open_store(mlruns, None, None)


def rows(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    target = np.arange(40) % 2
    score = rng.normal(size=40) + target
    positive = 1 / (1 + np.exp(-score))
    probs = {f"{name}_{k}": p for name in ("prob", "posterior") for k, p in enumerate((1 - positive, positive))}
    return pd.DataFrame({"split": "test", "row": range(40), "target": target, "score_0": score, **probs})


@pytest.fixture(scope="module")
def sweep(store: Store) -> str:
    """A sweep of two objectives and three seeds, with epochs and predictions; it has kept its report."""
    tags = {"lossbench.metric": "test/auroc", "lossbench.command": COMMAND}
    with SweepRecord.open(store, "demo", objectives={"mse": {}, "focal": {}}, tags=tags) as record:
        folder = row_tables.shard_folder(store.mlruns, record.id)
        folder.mkdir(parents=True)
        counting = []
        for seed in range(3):
            for objective in ("mse", "focal"):
                run = RunRecord.start(
                    store,
                    f"s{seed} · {objective}",
                    role="run",
                    params={"loss": objective, "seed": seed, "data": "rings"},
                    tags={"lossbench.seeds": "draws", "version.torch": "9.9"},
                    parent=record.objectives[objective],
                    sweep=record.id,
                    objective=objective,
                )
                run.log([(epoch, {"val/auroc": 0.5 + epoch / 10}) for epoch in range(3)])
                run.finish({"test/auroc": 0.8 + seed / 100, "val/auroc": 0.7})
                rows(seed).to_feather(folder / f"{run.id}.feather")
                counting.append(run.id)
        row_tables.merge(store, record, counting)
        found = answer(store, record.id)
        assert found is not None
        planned, _ = check_jobs([("data=rings",)], [compose(["data=rings"])])
        record.artifacts.json(names_of_data(planned), Artifact.NAMES_OF_DATA)
        kept = reporting.keep_report(store, record, found, explain=False)
        assert kept.report is not None
        assert kept.report.parent == store.mlruns / "reports"
        return record.id


def artifact(store: Store, sweep: str, path: str) -> bytes | None:
    return read_artifact(store, sweep, store.client.get_run(sweep).info.artifact_uri, path)


def test_a_sweep_keeps_its_report_figures_and_names(store: Store, sweep: str) -> None:
    report = artifact(store, sweep, "report.html")
    assert report is not None
    text = report.decode()
    assert (store.mlruns / "reports" / f"demo-{sweep[:8]}-test-auroc.html").read_text() == text
    for expected in (
        "Which loss should I train with",
        COMMAND,
        "9.9",
        sweep,
        "ROC on test",
        "val/auroc over the epochs",
    ):
        assert expected in text, expected
    assert json.loads(artifact(store, sweep, "data.json") or b"") == {
        "rings": {"classes": ["negative", "positive"], "features": ["x1", "x2"]}
    }
    figures = {found.path for found in store.client.list_artifacts(sweep, "figures")}
    assert {"figures/ranking.svg", "figures/roc_rings.svg", "figures/training_curves_rings.svg"} <= figures
    assert (artifact(store, sweep, "figures/ranking.svg") or b"").startswith(b"<svg")


def test_a_report_that_cannot_be_made_costs_nothing_else(
    store: Store, sweep: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = answer(store, sweep)
    assert found is not None
    monkeypatch.setattr(reporting, "make_report", lambda *_: 1 / 0)
    with SweepRecord.open(store, "broken", objectives={}) as record, caplog.at_level(logging.WARNING):
        planned, _ = check_jobs([("data=rings",)], [compose(["data=rings"])])
        record.artifacts.json(names_of_data(planned), Artifact.NAMES_OF_DATA)
        kept = reporting.keep_report(store, record, found, explain=False)
    assert kept is found
    assert "the report could not be made (ZeroDivisionError: division by zero)" in caplog.text


def test_compare_writes_a_report_and_says_where(
    mlruns: Path, store: Store, sweep: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "new" / "mine.html"
    arguments = [sweep, "--mlruns", str(mlruns), "--format", "html", "--metric", "val/auroc"]
    assert compare.main([*arguments, "--output", str(there)]) == 0
    assert capsys.readouterr().out == f"report: {there}\n"
    assert "Leaderboard by val/auroc" in there.read_text()
    # What the sweep keeps is what it was told to judge.
    assert compare.main(arguments) == 0
    assert capsys.readouterr().out == f"report: {mlruns / 'reports' / f'demo-{sweep[:8]}-val-auroc.html'}\n"
    assert b"Leaderboard by test/auroc" in (artifact(store, sweep, "report.html") or b"")


def test_output_is_for_reports_alone(mlruns: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        compare.main(["last", "--mlruns", str(mlruns), "--output", "x.html"])
    assert "--output goes with --format html" in capsys.readouterr().err


def test_a_path_is_made_of_letters(store: Store, sweep: str) -> None:
    found = answer(store, sweep)
    assert isinstance(found, Answer)
    odd = replace(found, leaderboard=replace(found.leaderboard, metric="test/../../recall/<a b>"))
    assert reporting.report_path(store, [sweep], odd).name == f"demo-{sweep[:8]}-test-..-..-recall-a-b.html"
    assert reporting.report_path(store, [sweep], odd).parent == store.mlruns / "reports"


@pytest.mark.parametrize(
    ("command", "begins"),
    [
        ("lossbench comparison=demo loss=focal", "Which loss should I train with when 1 row in 31 is positive?"),
        ("lossbench -m loss=focal,mse", ""),
        ("lossbench comparison=unknown", ""),
        ("lossbench comparison=../comparison/demo", ""),
    ],
)
def test_the_question_is_the_comparisons_own(command: str, begins: str) -> None:
    question = reporting._question(command)
    assert question.startswith(begins)
    assert bool(question) == bool(begins)
