"""A sweep from Python is the sweep of the command."""

from __future__ import annotations

from pathlib import Path

import pytest

import lossbench
from lossbench.errors import UserError

SWEEP = ("data=iris", "seed=0,1", "trainer.max_epochs=1", "hydra.launcher.processes=1")


def test_a_sweep_returns_its_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = lossbench.run_sweep([*SWEEP, "loss=cross_entropy,brier", f"paths.mlruns={tmp_path}"])
    assert isinstance(answer, lossbench.Answer)
    jobs = answer.runs[answer.runs["role"] == "run"]
    assert sorted(jobs["objective"]) == ["brier", "brier", "cross_entropy", "cross_entropy"]
    assert answer.leaderboard.metric == "test/auroc"
    assert "brier" in capsys.readouterr().out


def test_jobs_that_fail_are_listed_in_the_answer(tmp_path: Path) -> None:
    answer = lossbench.run_sweep([*SWEEP, "loss=cross_entropy", "optimizer.lr=.01,1e30", f"paths.mlruns={tmp_path}"])
    assert len(answer.failures) == 2


def test_wrong_overrides_train_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gamma"):
        lossbench.run_sweep([*SWEEP, "loss=focal", "loss.gamma=-1", f"paths.mlruns={tmp_path}"])
    assert not (tmp_path / "mlflow.db").exists()
