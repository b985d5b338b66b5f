"""The answer in plain words says what the table says: what to do, what failed, what is unsure, what would settle it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from lossbench.comparison.leaderboard import Leaderboard, build_leaderboard

Table = Callable[..., pd.DataFrame]


def sweep(runs: Table, seeds: int, sd: float = 0.001, lost: tuple[str, ...] = (), **effects: float) -> pd.DataFrame:
    """Runs whose seeds 0 and 1 are .2 harder than the others; who is lost failed on them."""
    rng = np.random.default_rng(0)
    common = rng.normal(0.9, 0.01, size=seeds) - 0.2 * (np.arange(seeds) < 2)
    rows = [
        (name, seed, common[seed] + effect + rng.normal(0, sd), "FAILED" if name in lost and seed < 2 else "FINISHED")
        for name, effect in effects.items()
        for seed in range(seeds)
    ]
    frame = runs(*rows, references={"class prior": 0.5}).assign(seeds="draws", rows_test=20_000.0)
    return frame.assign(**{"metrics.test/auroc": frame["metrics.test/auroc"].where(frame["status"] == "FINISHED")})


def words(board: Leaderboard) -> dict[str, str]:
    table = board.table[board.table["role"] == "objective"]
    return dict(zip(table["objective"], table["verdict"], strict=True))


def test_a_winner(runs: Table) -> None:
    board = build_leaderboard(
        sweep(runs, 12, cross_entropy=0, focal=0.03, brier=-0.0002, mse=-0.03), "test/auroc", rope=0.005
    )
    assert board.conclusions == (
        "Train with focal: all 3 others are worse (95%).",
        "Compared with cross_entropy: better: focal; worse: mse; equivalent: brier.",
    )
    assert words(board) == {"focal": "better", "brier": "equivalent", "cross_entropy": "baseline", "mse": "worse"}
    assert board.table.loc[board.table["may_be_best"], "objective"].tolist() == ["focal"]


def test_what_is_unsure_and_what_would_settle_it(runs: Table) -> None:
    board = build_leaderboard(sweep(runs, 12, 0.002, cross_entropy=0, focal=0.03, ldam=0.0290), "test/auroc")
    do, unsure, against = board.conclusions
    assert do.startswith("Train with ldam. None of the other 2 is better by more than 0.0")
    assert do.endswith("test/auroc (95%); cross_entropy is not the best.")
    assert unsure == "The best is among 2 (95%): ldam, focal."
    assert against == "Compared with cross_entropy: better: ldam, focal."
    board = build_leaderboard(sweep(runs, 12, 0.01, cross_entropy=0, focal=0.001), "test/auroc")
    assert board.conclusions[1] == "Any of the 2 may be the best."
    assert board.conclusions[-1].startswith("With 12 seeds, differences of 0.01")
    assert "matters: repeat the command with 'seed=range(" in board.conclusions[-1]


def test_too_few_seeds(runs: Table) -> None:
    board = build_leaderboard(sweep(runs, 5, cross_entropy=0, focal=0.03), "test/auroc")
    assert board.conclusions[0].startswith("Nothing is decided yet: focal has the best mean")
    assert "too few seeds: 5, and fewer than 6 decide nothing" in board.protocol
    assert words(board) == {"focal": "undecided", "cross_entropy": "baseline"}
    assert board.table["low"].min() == -np.inf


# Issue 19, item 1: a loss that failed on the hard seeds led by it, and a better one "did worse".


@pytest.mark.parametrize("baseline", ["cross_entropy", "risky"])
def test_failing_on_hard_seeds_wins_nothing(runs: Table, baseline: str) -> None:
    frame = sweep(runs, 12, lost=("risky",), cross_entropy=0, focal=-0.001, risky=-0.02)
    bare = frame[frame["role"] == "run"].groupby("objective")["metrics.test/auroc"].mean()
    assert bare.idxmax() == "risky"
    board = build_leaderboard(frame, "test/auroc", baseline=baseline)
    assert board.table.loc[board.table["rank"] == 1, "objective"].tolist() == ["cross_entropy"]
    assert board.conclusions[0].startswith("Train with cross_entropy")
    assert board.conclusions[1] == "risky lacks 2 of 12 runs (2 failed), so it can neither lead nor be called better."
    assert words(board)["risky"] == ("worse" if baseline == "cross_entropy" else "baseline")
    assert "worse" not in [word for label, word in words(board).items() if label != "risky"]


def test_a_better_one_that_failed_is_not_recommended(runs: Table) -> None:
    board = build_leaderboard(sweep(runs, 12, lost=("risky",), cross_entropy=0, risky=0.02), "test/auroc")
    assert board.conclusions[0].startswith("Train with cross_entropy. risky is not better by more than 0.0")
    assert words(board)["risky"] == "undecided"
    table = board.table.set_index("objective")
    assert (table.loc["risky", "missing"], table.loc["risky", "failed"], table.loc["risky", "rank"]) == (2, 2, 1)


# Item 3: equivalent where nothing is known.


def test_identical_runs_are_not_equivalent_before_that_is_known(runs: Table) -> None:
    rows = [(name, seed, 1.0) for name in ("cross_entropy", "focal") for seed in range(9)]
    frame = runs(*rows, references={"class prior": 0.5}).assign(seeds="draws", rows_test=20_000.0)
    assert words(build_leaderboard(frame, "test/auroc"))["focal"] == "equivalent"
    few = frame[(frame["params.seed"] < 3) | (frame["role"] != "run")]
    board = build_leaderboard(few, "test/auroc")
    assert words(board)["focal"] == "identical so far"
    assert board.conclusions[0] == "Nothing is decided yet: all objectives have the same test/auroc so far."
    small = build_leaderboard(frame.assign(rows_test=30.0), "test/auroc")
    assert words(small)["focal"] == "identical so far"
    row = small.table.set_index("objective").loc["focal"]
    assert row["withheld"] == "one judged row of 30 moves the metric by more"


def test_the_region_is_a_share_of_what_can_be_gained(runs: Table) -> None:
    frame = sweep(runs, 12, cross_entropy=0, focal=0.0)
    board = build_leaderboard(frame, "test/auroc")
    assert board.rope == pytest.approx(0.01 * (board.table["mean"].max() - 0.5))
    assert any("1% of what can be gained over the class prior, count as equal" in line for line in board.protocol)
    bayes = pd.concat(
        [frame, frame[frame["role"] != "run"].assign(objective="Bayes rule", **{"metrics.test/auroc": 0.87})]
    )
    near = build_leaderboard(bayes, "test/auroc")
    left = 0.87 - near.table.set_index("objective").loc["cross_entropy", "mean"]
    assert near.rope == pytest.approx(left / 2)


# Item 6: a collapse beside a better median.


def test_a_collapse_is_named_and_keeps_from_equivalent(runs: Table) -> None:
    frame = sweep(runs, 20, cross_entropy=0, focal=0.0)
    at = (frame["objective"] == "focal") & (frame["params.seed"] == 7)
    frame.loc[at, "metrics.test/auroc"] = 0.5
    board = build_leaderboard(frame, "test/auroc")
    assert "Far worse than usual on some seeds: focal (1 of 20)." in board.conclusions
    row = board.table.set_index("objective").loc["focal"]
    assert (row["collapses"], row["worst"]) == (1, 0.5)
    assert row["collapses_at_most"] == pytest.approx(0.216, abs=0.001)
    assert row["verdict"] == "undecided"


# Item 7: words that fight.


def test_the_baseline_is_no_winner_and_no_word_fights(runs: Table) -> None:
    board = build_leaderboard(sweep(runs, 12, 0.005, cross_entropy=0, focal=0.003, brier=-0.01), "test/auroc")
    table = board.table[board.table["role"] == "objective"].set_index("objective")
    for label, row in table.drop(index="cross_entropy").iterrows():
        apart = row["low"] > 0 or row["high"] < 0
        assert apart == (row["verdict"] in ("better", "worse")), label
        if row["verdict"] == "worse":
            assert not row["may_be_best"]
    assert table.loc["cross_entropy", "verdict"] == "baseline"


# Item 8: a cliff above 30 seeds.


def test_many_objectives_far_apart_are_separated_at_thirty_one_seeds(runs: Table) -> None:
    frame = sweep(runs, 31, **{f"l{k:02d}": -k for k in range(12)})
    board = build_leaderboard(frame, "test/auroc")
    assert board.conclusions[0] == "Train with l00: all 11 others are worse (95%)."


# Item 9: advice that starts from the seen mean.


def test_advice_on_seeds_does_not_depend_on_the_difference_seen(runs: Table) -> None:
    def advice(gap: float) -> str:
        frame = sweep(runs, 12, 0.01, cross_entropy=0.0, focal=gap)
        return build_leaderboard(frame, "test/auroc", rope=0.005).conclusions[-1]

    assert advice(0.0) == advice(0.004)


# Item 12: a grid has a baseline.


def test_there_is_always_a_baseline(runs: Table) -> None:
    board = build_leaderboard(sweep(runs, 12, **{"focal gamma=2": 0, "focal": 0.03, "focal · l2": -0.01}), "test/auroc")
    assert board.baseline == "focal"
    assert words(board)["focal gamma=2"] == "worse"
    assert board.notes[0] == (
        "compared with focal, the nearest to the defaults; --baseline or compare.baseline names another"
    )
    grid = sweep(runs, 12, **{"cross_entropy · l2": 0, "cross_entropy · l2 · balanced": 0.03, "focal · l2": 0})
    assert build_leaderboard(grid, "test/auroc").baseline == "cross_entropy · l2"


def test_nothing_to_compare(runs: Table) -> None:
    board = build_leaderboard(runs(("focal", 0, 0.5)), "test/auroc")
    assert board.conclusions == ("focal is the only objective with a value: there is nothing to compare.",)
    none = build_leaderboard(runs(("focal", 0, float("nan"))), "test/auroc")
    assert none.conclusions == ("No objective has a value.",)


def test_nobody_without_missing_runs(runs: Table) -> None:
    rows = [("a", 0, 0.5), ("a", 1, 0.6), ("b", 1, 0.7), ("b", 2, 0.8)]
    board = build_leaderboard(runs(*rows), "test/auroc")
    assert board.conclusions[0] == (
        "Nothing can be recommended: every objective lacks runs that another has (b 1 of 3, a 1 of 3)."
    )
