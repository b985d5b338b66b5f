"""The leaderboard: right numbers, right order, and nothing dropped in silence."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

import pandas as pd
import pytest

from lossbench.comparison.leaderboard import build_leaderboard
from lossbench.errors import UserError

Table = Callable[..., pd.DataFrame]
NAN = float("nan")


def row(table: pd.DataFrame, objective: str) -> dict[str, object]:
    (found,) = table[table["objective"] == objective].to_dict("records")
    return found


def test_hand_values(runs: Table) -> None:
    frame = runs(
        ("cross_entropy", 0, 0.5),
        ("cross_entropy", 1, 0.75),
        ("focal", 0, 0.625),
        ("focal", 1, 1.0),
        ("focal", 2, 0.25),
    )
    board = build_leaderboard(frame, "test/auroc")
    table = board.table
    # Focal is better by .1875 where both ran; its third seed is hard, and says nothing of either.
    assert table["objective"].tolist() == ["focal", "cross_entropy"]
    focal = row(table, "focal")
    assert focal["mean"] == pytest.approx((0.625 + 1.0 + 0.25) / 3)
    assert row(table, "cross_entropy")["mean"] == pytest.approx(0.625 - 0.1875)
    assert focal["sd"] == pytest.approx(statistics.stdev([0.625, 1.0, 0.25]))
    assert (focal["n"], focal["best"], focal["seconds"]) == (3, 1.0, 2.0)
    # Seed 2 has no partner: the difference is over seeds 0 and 1 alone, and says so.
    assert focal["difference"] == pytest.approx(((0.625 - 0.5) + (1.0 - 0.75)) / 2)
    assert focal["pairs"] == 2
    assert row(table, "cross_entropy")["difference"] == 0
    assert board.paired_by == ("seed",)


def test_failed_undefined_and_unfinished_runs_are_counted(runs: Table) -> None:
    frame = runs(
        ("focal", 0, 0.5),
        ("focal", 1, NAN),
        ("focal", 2, 0.9, "FAILED"),
        ("focal", 3, 0.9, "KILLED"),
        ("focal", 4, 0.9, "RUNNING"),
        ("mse", 0, NAN, "FAILED"),
    )
    table = build_leaderboard(frame, "test/auroc").table
    focal = row(table, "focal")
    assert [focal[key] for key in ("mean", "n", "undefined", "failed", "unfinished")] == [0.5, 1, 1, 1, 2]
    mse = row(table, "mse")
    assert math.isnan(mse["mean"])
    assert [mse[key] for key in ("n", "undefined", "failed", "unfinished")] == [0, 0, 1, 0]
    assert table["rank"].isna().tolist() == [False, True]
    total = table[["n", "undefined", "failed", "unfinished"]].to_numpy().sum()
    assert total == len(frame)


def test_lower_is_better_for_losses(runs: Table) -> None:
    frame = runs(("focal", 0, 0.5), ("focal", 1, 0.7), ("mse", 0, 0.25)).rename(
        columns={"metrics.test/auroc": "metrics.test/log_loss"}
    )
    board = build_leaderboard(frame, "test/log_loss")
    table = board.table
    assert table["objective"].tolist() == ["mse", "focal"]
    assert row(table, "focal")["best"] == 0.5
    assert board.direction == "min"
    assert build_leaderboard(frame, "test/log_loss", better="max").table["objective"].tolist() == ["focal", "mse"]


def test_references_stand_apart(runs: Table) -> None:
    frame = runs(("focal", 0, 0.5), ("mse", 0, 0.25), references={"class prior": 0.375, "Bayes": 0.9, "undefined": NAN})
    table = build_leaderboard(frame, "test/auroc", baseline="mse").table
    assert table["objective"].tolist() == ["Bayes", "focal", "mse", "class prior", "undefined"]
    assert table["rank"].astype(object).where(table["rank"].notna(), None).tolist() == [None, 1, 2, None, None]
    assert table["role"].tolist() == ["reference", "objective", "objective", "reference", "reference"]
    assert row(table, "focal")["difference"] == 0.25
    with pytest.raises(UserError, match="'Bayes' is not among the objectives: focal, mse"):
        build_leaderboard(frame, "test/auroc", baseline="Bayes")


def test_ties_share_a_rank_and_their_order_is_stable(runs: Table) -> None:
    frame = runs(("b", 0, 0.5), ("a", 0, 0.5), ("c", 0, 0.25))
    for shuffled in (frame, frame.iloc[::-1]):
        table = build_leaderboard(shuffled, "test/auroc").table
        assert table["objective"].tolist() == ["a", "b", "c"]
        assert table["rank"].tolist() == [1, 1, 3]


def test_by_params(runs: Table) -> None:
    frame = runs(("focal · l2", 0, 0.5), ("focal", 0, 0.25), ("mse", 0, 0.125), references={"Bayes": 0.9})
    frame["params.weighting"] = ["balanced", "none", "none", None]
    board = build_leaderboard(frame, "test/auroc", by=["loss"], baseline="mse")
    table = board.table
    assert table["objective"].tolist() == ["Bayes", "focal", "mse"]
    assert row(table, "focal")["mean"] == pytest.approx(0.375)
    assert row(table, "focal")["n"] == 2
    assert row(table, "focal")["difference"] == pytest.approx(0.25)
    assert row(table, "focal")["pairs"] == 1
    assert any("averaged before pairing" in note for note in board.notes)
    board = build_leaderboard(frame, "test/auroc", by=["loss", "weighting"])
    table = board.table
    assert table["objective"].tolist() == ["Bayes", "focal · balanced", "focal · none", "mse · none"]
    with pytest.raises(UserError, match=r"no param 'optimizer': compare by objective, seed, loss, weighting"):
        build_leaderboard(frame, "test/auroc", by=["optimizer"])


def test_pairs_need_the_same_fold_and_data(runs: Table) -> None:
    frame = runs(("cross_entropy", 0, 0.5), ("cross_entropy", 0, 0.25), ("mse", 0, 0.75), ("mse", 0, 1.0))
    frame["params.fold"] = [0, 1, 0, 2]
    mse = row(build_leaderboard(frame, "test/auroc").table, "mse")
    assert (mse["difference"], mse["pairs"]) == (0.25, 1)
    frame["params.data"] = ["iris", "iris", "rings", "rings"]
    mse = row(build_leaderboard(frame, "test/auroc").table, "mse")
    assert math.isnan(mse["difference"])
    assert mse["pairs"] == 0


def test_a_missing_fold_is_a_fold_like_any_other(runs: Table) -> None:
    frame = runs(("cross_entropy", 0, 0.5), ("mse", 0, 0.75))
    frame["params.fold"] = [None, None]
    assert row(build_leaderboard(frame, "test/auroc").table, "mse")["difference"] == 0.25


def test_runs_without_seeds_are_ranked_and_not_paired(runs: Table) -> None:
    frame = runs(("cross_entropy", 0, 0.5), ("mse", 0, 0.75)).drop(columns="params.seed")
    board = build_leaderboard(frame, "test/auroc")
    table = board.table
    assert table["objective"].tolist() == ["mse", "cross_entropy"]
    assert table["difference"].isna().all()
    assert board.notes == ("the runs carry no param seed: nothing can be paired",)


def test_other_metrics_and_unknown_ones(runs: Table) -> None:
    frame = runs(("focal", 0, 0.5), ("focal", 1, 0.5), ("focal", 2, 0.5, "FAILED")).assign(
        **{"metrics.test/f1": [0.25, 0.75, 9.0]}
    )
    table = build_leaderboard(frame, "test/auroc", show=["test/f1", "test/nothing", "test/auroc"]).table
    assert table["test/f1"].tolist() == [0.5]
    assert "test/nothing" not in table
    with pytest.raises(UserError, match="no run has the metric 'test/mcc': there are test/auroc, test/f1"):
        build_leaderboard(frame, "test/mcc")


def test_only_failures_still_make_a_table(runs: Table) -> None:
    table = build_leaderboard(
        runs(("focal", 0, NAN, "FAILED"), ("cross_entropy", 0, NAN, "FAILED")), "test/auroc"
    ).table
    assert table["failed"].tolist() == [1, 1]
    assert table["rank"].isna().all()
