"""Effects are least squares over the cells that are there, and means where all are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from lossbench.comparison.bounds import PairedBounds
from lossbench.comparison.collapse import find_collapses
from lossbench.comparison.dataset_agreement import disagreement
from lossbench.comparison.effects import estimate_effects
from lossbench.comparison.sign_flip import SignFlip


def series(cells: np.ndarray, keys: str = "seed") -> pd.Series:
    """Return cells (keys, labels) as a series by label (a, b, c ...) and key."""
    names = [chr(ord("a") + k) for k in range(cells.shape[1])]
    return pd.DataFrame(cells, columns=pd.Index(names, name="label")).rename_axis(keys).stack()


def drawn(rng: np.random.Generator, seeds: int, labels: int, missing: float) -> np.ndarray:
    cells = rng.normal(size=(seeds, 1)) + rng.normal(size=labels) + 0.1 * rng.normal(size=(seeds, labels))
    return np.where(rng.random(cells.shape) < missing, np.nan, cells)


@pytest.mark.parametrize("seed", range(5))
def test_effects_are_scikit_learns_least_squares(seed: int) -> None:
    cells = drawn(np.random.default_rng(seed), 9, 4, 0.3)
    cells[0] = 1.0  # connected
    effects = estimate_effects(series(cells), ["seed"])
    there = ~np.isnan(cells)
    key, label = np.nonzero(there)
    columns = np.concatenate([np.eye(9)[key], np.eye(4)[label]], axis=1)
    fit = LinearRegression(fit_intercept=False).fit(columns, cells[there])
    theirs = fit.coef_[9:] + fit.coef_[:9].mean()
    assert effects.means - effects.means[0] == pytest.approx(theirs - theirs[0], abs=1e-9)
    assert effects.means == pytest.approx(theirs, abs=1e-9)


def test_effects_of_a_complete_table_are_means_to_the_last_bit() -> None:
    cells = drawn(np.random.default_rng(1), 12, 5, 0.0)
    effects = estimate_effects(series(cells), ["seed"])
    assert effects.means.tolist() == [float(np.mean(column)) for column in cells.T]
    assert effects.complete.all()
    assert effects.pair("a", "b").shift == 0


def test_each_unit_weighs_the_same_however_many_keys_it_has() -> None:
    index = pd.MultiIndex.from_tuples(
        [(label, family, key) for label in "ab" for family, key in (("x", 0), ("x", 1), ("x", 2), ("y", 0))],
        names=["label", "family", "seed"],
    )
    effects = estimate_effects(pd.Series([1.0, 2, 3, 10, 0, 0, 0, 0], index=index), ["family"])
    assert dict(zip(effects.labels, effects.means, strict=True)) == {"a": 6.0, "b": 0.0}
    assert effects.pair("a", "b").differences.tolist() == [2.0, 10.0]
    assert effects.unit_names == ("x", "y")


def test_failing_on_hard_seeds_gains_nothing() -> None:
    # Risky is worse everywhere, and fails where it is hard: its bare mean is the best.
    hard = np.repeat([0.0, -0.4], 6)
    cells = np.stack([0.9 + hard, 0.85 + hard], axis=1)
    cells[6:, 1] = np.nan
    effects = estimate_effects(series(cells), ["seed"])
    assert np.nanmean(cells, axis=0)[1] > np.nanmean(cells, axis=0)[0]
    assert effects.ranking(higher_is_better=True) == [(1, "a"), (2, "b")]
    assert effects.mean("a") - effects.mean("b") == pytest.approx(0.05)
    assert effects.missing("b") == [(seed,) for seed in range(6, 12)]


def test_labels_that_nothing_connects_are_not_compared() -> None:
    cells = np.array([[1.0, 2.0, np.nan], [1.5, 2.5, np.nan], [np.nan, np.nan, 9.0]])
    effects = estimate_effects(series(cells), ["seed"])
    assert not effects.connected
    assert np.isnan(effects.pair("a", "c").contrast)
    assert effects.pair("a", "b").contrast == pytest.approx(-1)
    bounds = PairedBounds(effects, SignFlip())
    assert (bounds.p("c", "a"), bounds.lower("c", "a", 0.4)) == (1.0, -np.inf)
    # Through a third they are: a is .5 below b, and b .25 below c.
    chain = np.array([[1.0, 1.5, np.nan], [np.nan, 2.0, 2.25]])
    effects = estimate_effects(series(chain), ["seed"])
    assert effects.connected
    assert effects.pair("a", "c").contrast == pytest.approx(-0.75)
    assert len(effects.pair("a", "c").differences) == 0


def test_keys_of_several_kinds_and_none_missing() -> None:
    index = pd.MultiIndex.from_tuples(
        [("a", 0, ""), ("a", 1, ""), ("b", 0, ""), ("b", 1, 3)], names=["label", "seed", "fold"]
    )
    effects = estimate_effects(pd.Series([1.0, 2, 3, 4], index=index), ["seed"])
    assert effects.missing("a") == [(1, 3)]


def test_equal_effects_share_a_rank_in_alphabetical_order() -> None:
    cells = np.array([[0.1, 0.3, 0.2, 0.2], [0.3, 0.1, 0.2, 0.9]])
    effects = estimate_effects(series(cells), ["seed"])
    assert effects.ranking(higher_is_better=True) == [(1, "d"), (2, "a"), (2, "b"), (2, "c")]
    assert effects.ranking(higher_is_better=False) == [(1, "a"), (1, "b"), (1, "c"), (4, "d")]


def test_one_test_says_what_the_search_for_a_bound_would() -> None:
    rng = np.random.default_rng(0)
    for n in (6, 9, 14, 20, 31):
        cells = rng.normal(size=(n, 2)) + np.array([0, 0.5])
        bounds = PairedBounds(estimate_effects(series(cells), ["seed"]), SignFlip())
        for tail in (0.05, 0.02, 0.001):
            most = -bounds.lower("b", "a", tail)
            near = 1e-3 if np.isfinite(most) else 0
            assert bounds.may_exceed("a", "b", min(most, 9) - near, tail)
            assert bounds.may_exceed("a", "b", min(most, 9) + near, tail) == (most == np.inf)


def test_collapses() -> None:
    rng = np.random.default_rng(2)
    cells = 0.9 + 0.001 * rng.normal(size=(20, 3))
    cells[3, 1] = 0.5
    cells[7] -= 0.3  # hard for all
    effects = estimate_effects(series(cells), ["seed"])
    found = {label: find_collapses(effects, label, higher_is_better=True, region=0.005) for label in "abc"}
    assert {label: (one.count, one.outliers) for label, one in found.items()} == {"a": (0, 0), "b": (1, 1), "c": (0, 0)}
    assert found["b"].worst_key == (3,)
    assert found["a"].share_at_most == pytest.approx(1 - 0.05 ** (1 / 20))
    # What would be a collapse of an error is none of a score, though it is as gross.
    up = find_collapses(effects, "b", higher_is_better=False, region=0.005)
    assert (up.count, up.outliers) == (0, 1)
    assert find_collapses(effects, "a", higher_is_better=True, region=0.005, failed=2).count == 2
    # Two objectives: one's collapse is not the other's triumph.
    pair = estimate_effects(series(cells[:, :2]), ["seed"])
    assert [find_collapses(pair, label, higher_is_better=True, region=0.005).outliers for label in "ab"] == [0, 1]


def test_datasets_that_disagree_are_named() -> None:
    cells = np.zeros((14, 2))
    cells[:, 0] = 0.01
    cells[5, 0] = -0.3
    effects = estimate_effects(series(cells, "data"), ["data"])
    assert disagreement(effects, "a", "b", higher_is_better=True) == "better than b on 13 of 14, much worse on 5"
    assert disagreement(effects, "a", "b", higher_is_better=False) == "worse than b on 13 of 14, much better on 5"
    cells[5, 0] = -0.03
    assert disagreement(estimate_effects(series(cells), ["seed"]), "a", "b", higher_is_better=True) == ""
