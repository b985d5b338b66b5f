"""The answer in plain words says what the table says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from lossbench.comparison.leaderboard import leaderboard

Table = Callable[..., pd.DataFrame]


def sweep(runs: Table, seeds: int, **effects: float) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    common = rng.normal(0.9, 0.01, size=seeds)
    rows = [
        (name, seed, common[seed] + effect + rng.normal(0, 0.001))
        for name, effect in effects.items()
        for seed in range(seeds)
    ]
    return runs(*rows).assign(seeds="draws")


def test_a_winner(runs: Table) -> None:
    board = leaderboard(sweep(runs, 12, cross_entropy=0, focal=0.03, brier=0.0005, mse=-0.03), "test/auroc")
    table = board.table
    won, apart, more = board.conclusions
    assert won.startswith("focal won: test/auroc 0.93")
    assert "to cross_entropy, 95% interval +0.02" in won
    assert won.endswith("(better).")
    assert apart == "Equivalent to cross_entropy: brier; 1 better, 1 worse."
    assert more == "More seeds would not change who won, only narrow the intervals."
    assert table.loc[table["won"], "objective"].tolist() == ["focal"]


def test_a_set_that_cannot_be_separated(runs: Table) -> None:
    board = leaderboard(sweep(runs, 12, cross_entropy=0, focal=0.03, ldam=0.0295), "test/auroc", rope=0)
    won, _, more = board.conclusions
    assert won.startswith("What won is a set of 2 that cannot be separated: ")
    assert "seeds" in more
    assert "separate" in more


def test_too_few_seeds(runs: Table) -> None:
    board = leaderboard(sweep(runs, 5, cross_entropy=0, focal=0.03), "test/auroc")
    table = board.table
    assert board.conclusions[0].startswith("Nothing won yet: focal has the best mean")
    assert any("too few seeds: 5, and it takes at least 6 for better or worse" in x for x in board.protocol)
    assert table["verdict"].dropna().tolist() == ["not separable"]


def test_without_a_baseline(runs: Table) -> None:
    board = leaderboard(sweep(runs, 12, focal=0.03, mse=0), "test/auroc")
    table = board.table
    assert board.conclusions[:2] == (
        f"focal won: test/auroc {table['mean'][0]:.4g}.",
        "mse did worse than focal.",
    )
    assert "verdict" in table
    assert table["won"].tolist() == [True, False]


def test_nothing_to_compare(runs: Table) -> None:
    assert leaderboard(runs(("focal", 0, 0.5)), "test/auroc").conclusions == (
        "focal is the only objective with a value: there is nothing to compare.",
    )
    none = leaderboard(runs(("focal", 0, float("nan"))), "test/auroc")
    assert none.conclusions == ("No objective has a value.",)
