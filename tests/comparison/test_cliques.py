"""Ranks over datasets, their cliques and the letters that say them."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

from lossbench.comparison.cliques import Cliques, cliques, ranks
from lossbench.comparison.leaderboard import build_leaderboard

NAMES = ("cross_entropy", "focal", "brier", "mse")


def runs(families: int, gaps: tuple[float, ...] = (0.0, 0.01, 0.3, 0.31)) -> pd.DataFrame:
    """Two seeds of each objective on each dataset; how far they differ varies, the sign of the small gap too."""
    rng = np.random.default_rng(1)
    rows = []
    for family in range(families):
        for name, gap in zip(NAMES, gaps, strict=True):
            noise = 0.02 * rng.normal()
            for seed in range(2):
                value = 0.5 + family / 100 - gap + noise + seed / 1000
                rows.append((name, f"data{family}", seed, value))
    frame = pd.DataFrame(rows, columns=["objective", "params.data", "params.seed", "metrics.test/auroc"])
    return frame.assign(role="run", status="FINISHED", seconds=1.0, run_id=[f"r{n}" for n in range(len(frame))])


def test_letters_are_the_cliques_of_the_leaderboard() -> None:
    board = build_leaderboard(runs(12), "test/auroc")
    table = board.table.set_index("objective")
    assert table["clique"].tolist() == ["a", "a", "b", "b"]
    best = table["mean_rank"].idxmin()
    assert table.loc[best, "mean_rank"] < 2
    assert table["mean_rank"].mean() == 2.5
    assert any(note.startswith("ranks over 12 datasets: Not separable: ") for note in board.notes)


def test_too_few_datasets_have_ranks_and_no_cliques() -> None:
    board = build_leaderboard(runs(5), "test/auroc")
    table = board.table
    assert table["mean_rank"].notna().all()
    assert set(table["clique"]) == {""}
    assert (
        "ranks over 5 datasets: 5 independent datasets decide nothing: it takes at least 8 for 4 objectives."
        in board.notes
    )


def test_cliques_hold_the_pairs_that_scipys_permutation_test_does_not_separate() -> None:
    rng = np.random.default_rng(5)
    values = pd.DataFrame(rng.normal(size=(14, 5)) + np.arange(5) * 0.7, columns=list("abcde"))
    pairs = list(itertools.combinations(range(5), 2))
    columns = values.to_numpy().T
    p = [
        stats.permutation_test(
            (columns[a] - columns[b],), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True
        ).pvalue
        for a, b in pairs
    ]
    theirs = dict(zip(pairs, multipletests(p, method="holm")[1], strict=True))
    together = {pair for first, last in cliques(values) for pair in itertools.combinations(range(first, last + 1), 2)}
    assert together
    assert all(theirs[pair] > 0.05 for pair in together)
    neighbours = {(place, place + 1) for place in range(4)}
    assert {pair for pair in neighbours if theirs[pair] > 0.05} == neighbours & together


def test_overlapping_groups_share_letters_and_one_alone_has_its_own() -> None:
    table = pd.DataFrame([[1.0, 2, 3, 4]], columns=list("pqrs"))
    assert Cliques(table, [(0, 1), (1, 2)], 1).letters() == {"p": "a", "q": "ab", "r": "b", "s": "c"}
    assert Cliques(table, [], 1).letters() == {"p": "a", "q": "b", "r": "c", "s": "d"}
    assert Cliques(table, [], 2).letters() == dict.fromkeys("pqrs", "")


def test_an_objective_without_a_value_on_every_dataset_has_no_rank() -> None:
    frame = runs(8)
    frame = frame.drop(index=frame.index[(frame["objective"] == "mse") & (frame["params.data"] == "data3")])
    table = build_leaderboard(frame, "test/auroc").table.set_index("objective")
    assert np.isnan(table.loc["mse", "mean_rank"])
    assert table["mean_rank"].notna().sum() == 3
    assert ranks(frame, "metrics.test/auroc", NAMES, True) is None  # without families there is nothing to rank over
