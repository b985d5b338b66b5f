"""What an objective's run shows in MLflow."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd
import pytest

from lossbench.comparison.leaderboard import build_leaderboard
from lossbench.comparison.summary import summarize

Table = Callable[..., pd.DataFrame]


def test_hand_values(runs: Table) -> None:
    frame = runs(
        ("cross_entropy", 0, 0.5),
        ("cross_entropy", 1, 0.75),
        ("focal", 0, 0.625),
        ("focal", 1, float("nan")),
        ("focal", 2, 0.875),
        ("focal", 3, 0.9, "FAILED"),
        ("mse", 0, 0.9, "FAILED"),
        references={"Bayes": 0.99},
    )
    found = summarize(frame)
    assert found["focal"] == pytest.approx(
        {
            "test/auroc": 0.75,
            "sd/test/auroc": 0.125 * math.sqrt(2),
            "difference/test/auroc": 0.125,
            "missing/test/auroc": 1.0,
            "n": 3.0,
            "failed": 1.0,
        }
    )
    assert found["cross_entropy"]["difference/test/auroc"] == 0.0
    assert found["mse"] == {"n": 0.0, "failed": 1.0}
    assert "Bayes" not in found


def test_it_agrees_with_the_leaderboard(runs: Table) -> None:
    frame = runs(
        *[(name, seed, (seed * 7 + len(name) * 3) % 11 / 11) for name in ("focal", "mse") for seed in range(9)]
    )
    found = summarize(frame, baseline="mse")
    for row in build_leaderboard(frame, "test/auroc", baseline="mse").table.to_dict("records"):
        summary = found[row["objective"]]
        assert summary["test/auroc"] == pytest.approx(row["mean"], abs=1e-15)
        assert summary["sd/test/auroc"] == pytest.approx(row["sd"], abs=1e-15)
        assert summary["difference/test/auroc"] == pytest.approx(row["difference"], abs=1e-15)


def test_a_single_objective_is_its_own_baseline(runs: Table) -> None:
    found = summarize(runs(("focal", 0, 0.5)))
    assert found == {"focal": {"test/auroc": 0.5, "difference/test/auroc": 0.0, "n": 1.0}}
