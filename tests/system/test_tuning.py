"""Tuned sweeps as whole commands: equal budgets, unseen seeds, failures in the open, and a kill that costs nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from commands import Command, Ended
from lossbench.cli.main import dispatch
from lossbench.tracking import read
from lossbench.tracking.artifacts import read_artifact
from lossbench.tracking.search import search_runs
from lossbench.tracking.store.open import Store, open_store

QUICK = ("trainer.max_epochs=2", "data.test_rows=100", "data.negatives=150", "data.positives=50")


@pytest.fixture(scope="session")
def mlruns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuning") / "mlruns"
    open_store(folder)
    return folder


@pytest.fixture
def command(command: Command, mlruns: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Tune over the store of this file, or compare what was tuned."""
    monkeypatch.setenv("COLUMNS", "140")

    def run(*arguments: str) -> Ended:
        if arguments[0] == "compare":
            return command(*arguments, "--mlruns", str(mlruns))
        return command("-m", "tuning=optuna", *QUICK, *arguments, f"paths.mlruns={mlruns}")

    return run


def trials(store: Store, sweep: str) -> pd.DataFrame:
    """What MLflow holds of a sweep's trials."""
    found = search_runs(store, f"tags.`lossbench.sweep` = '{sweep}' AND tags.`lossbench.role` = 'trial'")
    return pd.DataFrame(
        [
            {
                "objective": run.tags["lossbench.objective"],
                "number": int(run.tags["lossbench.trial"]),
                "status": run.status,
                "parent": run.tags["mlflow.parentRunId"],
                **run.params,
                **run.metrics,
            }
            for run in found
            if not run.superseded
        ]
    )


def document(store: Store, sweep: str) -> dict[str, Any]:
    data = read_artifact(store, sweep, store.client.get_run(sweep).info.artifact_uri, "tuning.json")
    assert data is not None
    found: dict[str, Any] = json.loads(data)
    return found


def test_a_tuned_sweep_from_end_to_end(command: Command, mlruns: Path) -> None:
    """Learning rates of up to 1e30 make trials diverge: those are counted, replaced, and none is compared."""
    status, _, err = command(
        "loss=focal,brier", "seed=range(3)", "tuning.trials=4", "tuning.batch=2", "tuning.seeds=2",
        "tuning.max_failed=9", "tuning.confirm=2", "tuning.confirm_seeds=6",
        "+tuning.space.optimizer.lr.high=1.0e+30", "compare.baseline=focal",
    )  # fmt: skip
    assert status == 0, err
    store = open_store(mlruns)
    sweep = read.find_sweep(store, "last")
    tried = trials(store, sweep.id)
    finished = tried[tried["status"] == "FINISHED"]

    # Equal budgets, counted in MLflow.
    assert finished["objective"].value_counts().to_dict() == {"focal": 4, "brier": 4}
    assert (tried["status"] == "FAILED").sum() > 0
    assert not tried.duplicated(["objective", "number"]).any()
    parents = {
        run.id: run
        for run in search_runs(store, f"tags.`lossbench.sweep` = '{sweep.id}' AND tags.`lossbench.role` = 'tuning'")
    }
    assert set(tried["parent"]) == set(parents)
    for parent in parents.values():
        own = tried[tried["objective"] == parent.tags["lossbench.objective"]]
        assert parent.tags["mlflow.parentRunId"] == sweep.id
        assert parent.status == "FINISHED"
        assert parent.metrics["failed"] == (own["status"] == "FAILED").sum()

    # The default comes first; what was compared is the best on further seeds of those that beat the default there.
    first = finished[finished["number"] == 0].set_index("objective")
    assert first.loc["focal", ["loss.gamma", "optimizer.lr", "optimizer.weight_decay"]].tolist() == [
        "2.0",
        "0.01",
        "0.0",
    ]
    said = {one["objective"]: one for one in document(store, sweep.id)["objectives"]}
    runs = read.runs(store, sweep.id)
    jobs = runs[runs["role"] == "run"]
    for objective, own in finished.groupby("objective"):
        one = said[str(objective)]
        again = {each["trial"]: each for each in one["confirmed"]}
        others = own[own["number"] != 0].sort_values(["val/auroc", "number"], ascending=[False, True])
        assert list(again) == [0, *others["number"][:2]]
        better = {n: each["value"] for n, each in again.items() if n == 0 or each["p"] <= 0.05}
        assert one["best_trial"] == max(better, key=lambda n: (better[n], -n))
        best = own[own["number"] == one["best_trial"]].iloc[0]
        assert set(jobs.loc[jobs["objective"] == objective, "params.optimizer.lr"]) == {float(best["optimizer.lr"])}

    # The comparison has its own seeds alone, and its jobs no trial among them.
    seen = document(store, sweep.id)["seeds"] + document(store, sweep.id)["further_seeds"]
    assert seen == [100000, 100001, 100002, 100003, 100004, 100005, 100006, 100007]
    assert sorted(jobs["params.seed"]) == [0, 0, 1, 1, 2, 2]
    assert jobs["status"].eq("FINISHED").all()
    assert sweep.tags["lossbench.jobs"] == "6"
    assert not jobs["params.data.split_seed"].isin(seen).any()


def test_other_launchers_train_trials_one_by_one(command: Command, mlruns: Path) -> None:
    status, _, err = command(
        "loss=focal", "seed=0,1", "hydra/launcher=basic", "tuning.trials=2", "tuning.seeds=1", "trainer.max_epochs=1",
        "tuning.confirm_seeds=2", "+tuning.space.loss.alpha={choices: [null, 0.25]}", "compare.baseline=null",
    )  # fmt: skip
    assert status == 0, err
    store = open_store(mlruns)
    sweep = read.find_sweep(store, "last")
    tried = trials(store, sweep.id)
    assert tried["status"].tolist() == ["FINISHED", "FINISHED"]
    assert tried["loss.alpha"].iloc[0] == "None"
    runs = read.runs(store, sweep.id)
    assert (runs["role"] == "run").sum() == 2  # and no trial has left a run of a job's kind


def test_too_many_failures_give_an_objective_up_and_the_others_are_compared(command: Command, mlruns: Path) -> None:
    status, _, err = command(
        "loss=exponential,brier", "seed=0,1", "tuning.trials=2", "tuning.seeds=1", "tuning.max_failed=1",
        "tuning.confirm_seeds=2",
        "optimizer=sgd", "optimizer.weight_decay=0.0",
        "+tuning.space.optimizer.lr={low: 0.01, high: 1.0e+35, log: true}",
        "compare.baseline=brier", "tuning.batch=6", "trainer.max_epochs=6",
    )  # fmt: skip
    store = open_store(mlruns)
    sweep = read.find_sweep(store, "last")
    runs = read.runs(store, sweep.id)
    compared = set(runs.loc[runs["role"] == "run", "objective"])
    lost = {one["objective"] for one in document(store, sweep.id)["objectives"] if one["best"] is None}
    assert lost, "nothing failed: the space is too tame"
    assert compared == {"exponential", "brier"} - lost
    assert status == 1
    assert "tuning gave up" in err
    assert "became" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["select.metric=null"], ["select.metric is null", "tuning.metric=val/auroc"]),
        (["tuning.metric=test/auroc"], ["tuning.metric", "validation metric", "test/auroc"]),
        (["tuning.metric=val/auroc_micro"], ["tuning.metric", "rings", "auroc_micro"]),
        (["tuning.trials=0"], ["tuning.trials", ">= 1", "0"]),
        (["tuning.first_seed=1", "tuning.seeds=2"], ["seeds 1 to 22 are tuning's", "1", "tuning.first_seed"]),
        (["data.source_seed=0", "data.split_seed=0"], ["the comparison's own split", "data.split_seed"]),
        (["+tuning.space.loss.gama={low: 0, high: 1}"], ["tuning.space.loss.gama"]),
        (["+tuning.space.loss.gamma.low=-1"], ["focal with loss.gamma=-1", "gamma >= 0"]),
        (["+tuning.space.loss.gamma.high=1"], ["loss.gamma=2.0", "outside", "0 to 1"]),
        (["optimizer.lr=0.1", "optimizer.weight_decay=0", "loss.gamma=1"], ["nothing is left to tune", "focal"]),
        (["tuning.sampler._target_=optuna.samplers.NoSampler"], ["tuning.sampler", "NoSampler"]),
        (["+tuning.sampler.startup=3"], ["tuning.sampler", "TPESampler", "startup"]),
        (["+tuning.trails=3"], ["tuning takes", "trials", "got trails"]),
        (["~tuning.batch"], ["tuning takes", "has no batch"]),
    ],
    ids=lambda value: "+".join(value)[:40] if isinstance(value, list) else "",
)
def test_a_persons_error_is_one_line_before_anything_is_tried(
    command: Command, mlruns: Path, arguments: list[str], words: list[str]
) -> None:
    store = open_store(mlruns)
    before = len(list(search_runs(store)))
    status, _, err = command("loss=focal", "seed=0,1", *arguments)
    assert status == 2, err
    assert len(err.strip().splitlines()) == 1
    for word in words:
        assert word in err
    assert len(list(search_runs(store))) == before


def test_a_single_run_cannot_be_tuned(command: Command, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["lossbench", "tuning=optuna"])
    assert dispatch(["tuning=optuna"]) == 2
    assert "add -m" in capsys.readouterr().err


def test_a_tuning_that_was_killed_continues_and_ends_as_it_would_have(tmp_path: Path) -> None:
    arguments = [
        "-m", "tuning=optuna", *QUICK, "loss=focal,brier", "seed=0,1", "tuning.trials=12", "tuning.batch=3",
        "tuning.seeds=1", "trainer.max_epochs=1", "tracking.predictions=0", "tuning.confirm=0",
    ]  # fmt: skip

    def start(folder: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "lossbench", *arguments, f"paths.mlruns={folder}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    killed = start(tmp_path / "killed")
    until = time.monotonic() + 120
    journals = tmp_path / "killed" / "tuning"

    def told() -> int:
        # The values of trials that have ended.
        return sum(len(re.findall(r'"values":\s*\[', file.read_text())) for file in journals.glob("*.journal"))

    while told() < 5 and killed.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL, "it ended before it could be killed"
    assert 5 <= told() < 24

    ends = [start(tmp_path / name) for name in ("killed", "whole")]
    for ended in ends:
        _, err = ended.communicate(timeout=300)
        assert ended.returncode == 0, err
    found = []
    for name in ("killed", "whole"):
        store = open_store(tmp_path / name)
        sweep = read.find_sweep(store, "last")
        tried = trials(store, sweep.id)
        assert tried["objective"].value_counts().to_dict() == {"focal": 12, "brier": 12}
        assert not tried.duplicated(["objective", "number"]).any()
        assert tried["parent"].nunique() == 2
        assert not list(search_runs(store, "attributes.status = 'RUNNING' AND tags.`lossbench.role` LIKE 't%'"))
        found.append([one["setting"] for one in document(store, sweep.id)["objectives"]])
    assert found[0] == found[1]
