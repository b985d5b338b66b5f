"""Datasets and their families, and what each dataset says on its own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lossbench.comparison.leaderboard import build_leaderboard


def runs(data: str, seeds: int = 8, *, claim: str = "draws", gap: float = 0.1, **params: object) -> pd.DataFrame:
    rng = np.random.default_rng([seeds, len(data)])
    rows = [
        {
            "objective": f"{name} · {data}",
            "params.data": data,
            "params.seed": seed,
            "metrics.test/auroc": 0.5 + (gap if name == "focal" else 0.0) + 0.01 * rng.random(),
            "test_digest": f"{data} {seed}",
            **{f"params.data.{key}": value for key, value in params.items()},
        }
        for name in ("cross_entropy", "focal")
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows).assign(
        role="run", status="FINISHED", seconds=1.0, seeds=claim, rows_train=60.0, rows_val=20.0, rows_test=20.0
    )


def together(*parts: pd.DataFrame) -> pd.DataFrame:
    whole = pd.concat(parts, ignore_index=True)
    return whole.assign(run_id=[f"r{n}" for n in range(len(whole))])


def test_each_dataset_is_judged_by_its_own_population() -> None:
    frame = together(runs("rings"), runs("wine", claim="splits", gap=-0.1))
    alone = build_leaderboard(frame, "test/auroc", baseline="cross_entropy").by_dataset
    assert list(alone) == ["rings", "wine"]
    verdicts = {name: board.table.set_index("objective")["verdict"]["focal"] for name, board in alone.items()}
    assert verdicts == {"rings": "better", "wine": "worse"}
    assert any(line.startswith("sign-flip test") for line in alone["rings"].protocol)
    assert any(line.startswith("corrected resampled t-test") for line in alone["wine"].protocol)
    only = build_leaderboard(runs("rings").assign(run_id="r"), "test/auroc", baseline="cross_entropy")
    pd.testing.assert_series_equal(alone["rings"].table["p"], only.table["p"])
    assert only.by_dataset == {}


def test_a_dataset_without_the_baseline_has_one_of_its_own() -> None:
    wine = runs("wine")
    frame = together(runs("rings"), wine[wine["objective"].str.startswith("focal")])
    alone = build_leaderboard(frame, "test/auroc", baseline="cross_entropy").by_dataset
    assert alone["wine"].baseline == "focal · wine"
    assert alone["rings"].baseline == "cross_entropy"


def test_variants_of_one_source_are_one_family() -> None:
    parts = [runs(name) for name in ("iris", "wine", "rings", "digits")]
    ovr = [runs("digits_ovr", table="digits", positive_rate=rate, gap=0.2) for rate in (0.1, 0.02)]
    board = build_leaderboard(together(*parts, *ovr), "test/auroc")
    table = board.table.set_index("objective")
    assert board.protocol[0].startswith("4 families of 5 datasets, one value each")
    # The family of digits is the mean over its runs: one of three gains .1, two gain .2.
    assert table.loc["focal", "difference"] == pytest.approx((3 * 0.1 + 0.5 / 3) / 4, abs=0.01)
    assert table.loc["focal", "pairs"] == 6 * 8


def test_files_are_datasets_of_their_own() -> None:
    parts = [runs("table", 3, path=f"folder/{name}.csv") for name in "abcdef"]
    board = build_leaderboard(together(*parts), "test/auroc")
    table = board.table.set_index("objective")
    assert board.units == "datasets"
    assert table.loc["focal", "p"] == pytest.approx(2 / 2**6)
    assert list(board.by_dataset) == list("abcdef")


def test_the_interval_of_a_mean_knows_that_splits_share_rows() -> None:
    for claim, ratio in (("draws", 0.0), ("splits", 0.25)):
        frame = runs("rings", 10, claim=claim).assign(run_id="r")
        row = build_leaderboard(frame, "test/auroc").table.iloc[0]
        values = frame.loc[frame["objective"] == f"{row['objective']} · rings", "metrics.test/auroc"]
        expected = stats.t.ppf(0.975, 9) * values.std() * (1 / 10 + ratio) ** 0.5
        assert row["half"] == pytest.approx(expected, abs=1e-12)
    assert np.isnan(build_leaderboard(together(runs("rings"), runs("wine")), "test/auroc").table["half"]).all()


def test_a_run_costs_what_its_training_took() -> None:
    frame = runs("rings").assign(run_id="r", seconds=40.0, **{"metrics.seconds": 0.5})
    assert build_leaderboard(frame, "test/auroc").table["seconds"].tolist() == [0.5, 0.5]
    frame.loc[frame["objective"] == "focal · rings", "metrics.seconds"] = float("nan")
    assert sorted(build_leaderboard(frame, "test/auroc").table["seconds"]) == [0.5, 40.0]


def test_a_reference_of_one_dataset_stands_beside_that_dataset_alone() -> None:
    frame = together(runs("rings"), runs("wine"))
    known = [("class prior", "rings"), ("class prior", "wine"), ("Bayes rule", "rings")]
    extra = pd.DataFrame(
        [{"objective": name, "params.data": data, "params.seed": 0, "metrics.test/auroc": 0.9} for name, data in known]
    ).assign(role="reference", status="FINISHED", seconds=0.0, run_id="b")
    whole = pd.concat([frame, extra], ignore_index=True)
    board = build_leaderboard(whole, "test/auroc")
    assert board.table.loc[board.table["role"] == "reference", "objective"].tolist() == ["class prior"]
    bayes = {name: (alone.table["objective"] == "Bayes rule").sum() for name, alone in board.by_dataset.items()}
    assert bayes == {"rings": 1, "wine": 0}
