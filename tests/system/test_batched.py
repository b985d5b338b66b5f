"""A sweep in stacks records what the same sweep one by one does, in whole commands; what cannot be stacked says why."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from commands import Command
from lossbench.config.compose import compose
from lossbench.runs import engines
from lossbench.sweep import stacks
from lossbench.tracking import read
from lossbench.tracking.read import history_of
from lossbench.tracking.search import read_run
from lossbench.tracking.store.open import Store, open_store

QUICK = ("trainer.max_epochs=3", "data.test_rows=400", "data.negatives=600", "data.positives=60")
# Figures that depend on the clock.
TIMED = ("metrics.seconds",)


@pytest.fixture(scope="session")
def mlruns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("batched") / "mlruns"
    open_store(folder)
    return folder


@pytest.fixture
def command(command: Command, mlruns: Path) -> Command:
    """Run a sweep over the store of this file."""
    return lambda *arguments: command("-m", *arguments, f"paths.mlruns={mlruns}")


def swept(store: Store) -> pd.DataFrame:
    runs = read.runs(store, read.find_sweep(store, "last").id)
    return runs[runs["role"] == "run"].set_index("name").sort_index()


def tag(store: Store, run_id: str, name: str) -> str | None:
    tags: Mapping[str, str] = store.client.get_run(run_id).data.tags
    return tags.get(name)


def assert_same(store: Store, one: pd.DataFrame, two: pd.DataFrame) -> None:
    """Require equal runs: status, params, final metrics to 1e-8, histories."""
    assert list(one.index) == list(two.index)
    assert list(one["status"]) == list(two["status"])
    for prefix in ("params.", "metrics."):
        of_one, of_two = ({c for c in runs if c.startswith(prefix) and c not in TIMED} for runs in (one, two))
        assert of_one == of_two
        columns = sorted(of_one)
        if prefix == "metrics.":
            np.testing.assert_allclose(two[columns], one[columns], rtol=0, atol=1e-8)
        else:
            pd.testing.assert_frame_equal(two[columns], one[columns])
    for first, second in zip(one["run_id"], two["run_id"], strict=True):
        histories = [history_of(store, read_run(store, run)) for run in (first, second)]
        assert list(histories[0].columns) == list(histories[1].columns)
        np.testing.assert_allclose(histories[1], histories[0], rtol=0, atol=1e-8)


def test_a_sweep_in_stacks_records_what_one_by_one_does(command: Command, mlruns: Path) -> None:
    """With two losses of a kind each, one that cannot be stacked, and calibrators."""
    sweep = ("loss=cross_entropy,focal,soft_margin,hinge", "seed=0,3", "trainer.precision=64-true", *QUICK)
    frames = []
    store = open_store(mlruns)
    for launcher in ("basic", "batched"):
        status, out, err = command(*sweep, f"hydra/launcher={launcher}")
        assert status == 0, err
        assert "cross_entropy" in out
        frames.append(swept(store))
    assert_same(store, *frames)
    alone = {name: tag(store, run, "lossbench.alone") for name, run in frames[1]["run_id"].items()}
    reason = "SoftMarginLoss states that it cannot be stacked"
    assert alone == {name: reason if "soft_margin" in str(name) else None for name in alone}


@pytest.mark.slow
def test_a_large_sweep_uses_processes_and_records_the_same(command: Command, mlruns: Path) -> None:
    sweep = ("loss=cross_entropy,soft_f1", "seed=range(9)", "trainer.precision=64-true", *QUICK)
    frames = []
    store = open_store(mlruns)
    assert command(*sweep, "hydra/launcher=basic")[0] == 0
    frames.append(swept(store))
    # Workers start from a main module, which a test runner's is not.
    line = [sys.executable, "-m", "lossbench", "-m", *sweep, f"paths.mlruns={mlruns}", "hydra.launcher.processes=2"]
    ended = subprocess.run(line, capture_output=True, text=True, cwd=mlruns, timeout=400, check=False)
    assert ended.returncode == 0, ended.stderr
    frames.append(swept(store))
    assert len(frames[0]) == 18
    assert_same(store, *frames)


OWN = '''
import torch
from lossbench.objective.links import Softmax
from lossbench.objective.loss import Loss

class Broken(Loss):
    link = Softmax()
    def forward(self, prediction, target):
        if target.sum() > 0:
            raise RuntimeError("broken on purpose")
        return prediction.log_probs[:, 0]

class Vanishing(Loss):
    """Not a number for the data of one seed alone."""
    link = Softmax()
    def forward(self, prediction, target):
        return torch.where(prediction.scores.sum() > 0, prediction.log_probs[:, 0], float("nan"))
'''


def test_what_raises_what_turns_nan_and_what_cannot_be_stacked_end_as_they_should(
    command: Command, mlruns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = tmp_path / "conf" / "loss"
    conf.mkdir(parents=True)
    (tmp_path / "own_losses.py").write_text(OWN)
    monkeypatch.setattr(sys, "path", [*sys.path])  # the command finds the module itself
    for name in ("Broken", "Vanishing"):
        (conf / f"{name.lower()}.yaml").write_text(f"_target_: own_losses.{name}\n")
    sweep = ("loss=broken,cross_entropy,multi_margin,vanishing", "seed=range(3)", *QUICK)
    status, out, err = command(*sweep)
    assert status == 1, err
    store = open_store(mlruns)
    runs = swept(store)
    by_loss = runs.groupby("params.loss")["status"].apply(list).to_dict()
    assert by_loss["broken"] == ["FAILED"] * 3
    assert by_loss["cross_entropy"] == ["FINISHED"] * 3
    assert by_loss["multi_margin"] == ["FINISHED"] * 3
    assert "FAILED" in by_loss["vanishing"]
    for run in runs[runs["params.loss"] == "broken"]["run_id"]:
        assert tag(store, run, "lossbench.error") == "RuntimeError: broken on purpose"
        assert "broken on purpose" in str(tag(store, run, "lossbench.alone"))
    failed = runs[(runs["params.loss"] == "vanishing") & (runs["status"] == "FAILED")]["run_id"]
    assert all("became nan" in str(tag(store, run, "lossbench.error")) for run in failed)
    assert "jobs failed" in err
    assert "broken" in out


def test_what_diverges_leaves_the_history_that_a_run_alone_does(command: Command, mlruns: Path) -> None:
    # Each step makes the weights 1e30 times as large, until their squares overflow.
    grow = ("regularizer=l2", "regularizer.l2.strength=0.01,1e30", "optimizer=sgd", "optimizer.lr=1")
    sweep = ("loss=brier", *grow, "data.batch_size=null", *QUICK, "trainer.max_epochs=8", "trainer.precision=64-true")
    store = open_store(mlruns)
    histories = []
    for launcher in ("basic", "batched"):
        assert command(*sweep, f"hydra/launcher={launcher}")[0] == 1
        runs = swept(store)
        (failed,) = runs[runs["status"] == "FAILED"]["run_id"]
        histories.append(history_of(store, read_run(store, failed)))
    assert len(histories[0]) > 1
    pd.testing.assert_frame_equal(histories[1], histories[0], rtol=1e-8)


def test_what_raises_in_a_stack_fails_alone(command: Command, mlruns: Path) -> None:
    # The singular values of a weight that is not a number raise, for all replicates at once.
    status, _, err = command("regularizer=nuclear", "optimizer=sgd", "optimizer.lr=0.01,1e38", "seed=0,1,2", *QUICK)
    assert status == 1, err
    runs = swept(open_store(mlruns))
    by_rate = runs.groupby("params.optimizer.lr")["status"].apply(list).to_dict()
    assert by_rate == {0.01: ["FINISHED"] * 3, 1e38: ["FAILED"] * 3}


def test_an_interrupted_stack_is_killed_with_its_params(
    command: Command, mlruns: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engines, "train_as_stack", interrupted)
    status, out, err = command("loss=focal", "seed=0,1", *QUICK)
    assert (status, err.splitlines()[-1]) == (130, "lossbench: interrupted")
    assert "no job finished" in out
    runs = swept(open_store(mlruns))
    assert list(runs["status"]) == ["KILLED"] * 2
    assert list(runs["params.loss"]) == ["focal"] * 2


TUTORIAL = """
import torch


def squares(y_pred, y_true):
    return (y_pred - y_true).square()


def shared(y_pred, y_true):
    return (y_pred - y_true).square() / len(y_pred)


def centred(y_pred, y_true):
    return (y_pred - y_true).square() * y_pred.mean()
"""


def test_a_persons_own_function_stacks_where_it_is_functional_and_says_why_not(
    command: Command, mlruns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = tmp_path / "conf" / "loss"
    conf.mkdir(parents=True)
    (tmp_path / "tutorial_losses.py").write_text(TUTORIAL)
    monkeypatch.setattr(sys, "path", [*sys.path])  # the command finds the module itself
    for name in ("squares", "shared", "centred"):
        (conf / f"{name}.yaml").write_text(
            "_target_: lossbench.objective.losses.external.External\n"
            f"function: {{_target_: tutorial_losses.{name}, _partial_: true}}\n"
            "reads: positive_prob\ntarget: indicator\n"
        )
    status, _, err = command("loss=brier,squares,shared,centred", "seed=0,1", *QUICK)
    assert status == 0, err
    store = open_store(mlruns)
    runs = swept(store)
    alone = {str(name): tag(store, run, "lossbench.alone") for name, run in runs["run_id"].items()}
    assert alone["s0 · squares"] is None
    assert alone["s0 · brier"] is None
    for mixing in ("shared", "centred"):
        assert alone[f"s0 · {mixing}"] == "it ends elsewhere in a stack than alone: a part mixes the rows of runs"
    equal = runs["metrics.test/auroc"]
    assert equal["s1 · squares"] == pytest.approx(equal["s1 · brier"], abs=1e-5)  # for two classes they are one loss


def test_a_stack_is_cut_for_every_process_and_kinds_stay_together() -> None:
    base = compose(["trainer.max_epochs=2", "data.test_rows=50"])
    configs = []
    for seed in range(6):
        for gamma in (1.0, 2.0):
            made = compose(["loss=focal", f"loss.gamma={gamma}", f"seed={seed}", "data.test_rows=50"])
            made["trainer"] = base["trainer"]
            configs.append(made)
    assert [len(places) for _, places in stacks.plan_stacks(configs, processes=1, replicates=256)] == [12]
    assert [len(places) for _, places in stacks.plan_stacks(configs, processes=2, replicates=256)] == [6, 6]
    assert [len(places) for _, places in stacks.plan_stacks(configs, processes=2, replicates=5)] == [3, 3, 3, 3]
    chunks = stacks.plan_stacks(configs, processes=2, replicates=256)
    assert sorted(place for _, places in chunks for place in places) == list(range(12))


def test_chunks_go_from_seeds_to_seeds_with_all_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that data are drawn once, and not once a kind."""
    monkeypatch.setattr(stacks, "_SEEDS_TOGETHER", 2)
    short = ("trainer.max_epochs=2", "data.test_rows=50")
    configs = [compose([f"loss={loss}", f"seed={seed}", *short]) for loss in ("focal", "brier") for seed in range(6)]
    chunks = stacks.plan_stacks(configs, processes=1, replicates=4)
    found = [[(configs[place]["choices"]["loss"], configs[place]["seed"]) for place in places] for _, places in chunks]
    assert found == [[(loss, seed) for loss in ("focal", "brier") for seed in two] for two in ((0, 1), (2, 3), (4, 5))]


def test_history_can_be_thinner(command: Command, mlruns: Path) -> None:
    store = open_store(mlruns)
    for density, steps in (("every", 3), ("2", 2), ("none", 0)):
        status, _, err = command("loss=focal", "seed=0,1", f"tracking.history={density}", *QUICK)
        assert status == 0, err
        for run in swept(store)["run_id"]:
            history = store.client.get_metric_history(run, "val/auroc")
            # The selected epoch's value stands behind the curve.
            assert len(history) == steps + 1
    status, _, err = command("loss=focal", "tracking.history=often", *QUICK)
    assert status == 2
    assert "tracking.history" in err
