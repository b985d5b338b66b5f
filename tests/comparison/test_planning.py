"""The region of equivalence, how many seeds it takes to see it, and what looking again costs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from lossbench.comparison.looks import level_after, spend
from lossbench.comparison.planning import least_seeds, seeds_for, visible_difference
from lossbench.comparison.region import find_region, one_row_moves
from lossbench.comparison.sign_flip import SignFlip
from lossbench.errors import UserError

NAN = math.nan


def region(**known: float | None) -> float | None:
    what = {
        "given": None,
        "usual": 0.005,
        "prior": NAN,
        "top": NAN,
        "bayes": NAN,
        "baseline": NAN,
        "higher_is_better": True,
    }
    return find_region(**(what | known)).half  # type: ignore[arg-type]


def test_the_region_is_a_share_of_what_can_be_gained() -> None:
    assert region(prior=0.5, top=1.0) == pytest.approx(0.005)
    # One positive in 200: a Brier score of the class prior is no region's width away from perfect.
    half = region(prior=0.005, top=0.002, higher_is_better=False)
    assert half == pytest.approx(0.00003)
    assert region() == 0.005
    assert region(prior=0.5, top=0.45) == 0.005
    assert region(given=0.1, prior=0.5, top=1.0) == 0.1
    assert region(given=0.0, prior=0.5, top=1.0) == 0.0
    assert region(usual=None, prior=0.5, top=1.0) is None


def test_an_objective_that_reaches_bayes_is_not_equivalent_to_one_that_does_not() -> None:
    rings = {"prior": 0.5, "bayes": 0.983, "top": 0.982}
    left = 0.983 - 0.9808
    assert region(**rings, baseline=0.9808) == pytest.approx(left / 2)
    assert region(**rings, baseline=0.983 - 1e-6) == pytest.approx(0.1 * 0.00483)
    assert region(**rings, baseline=0.99) == pytest.approx(0.1 * 0.00483)
    assert region(**rings, baseline=0.8) == pytest.approx(0.00483)


def test_one_row() -> None:
    assert one_row_moves(50) == 0.02
    assert one_row_moves(0) == math.inf


def test_a_visible_difference_is_found_as_often_as_promised() -> None:
    n, m = 12, 5
    difference = visible_difference(1.0, n, m)
    rng = np.random.default_rng(0)
    found = [SignFlip().two_sided(rng.normal(difference, 1.0, n)) <= 0.05 / m for _ in range(400)]
    assert 0.72 < np.mean(found) < 0.88
    assert seeds_for(difference, 1.0, m) == n
    # Nothing is planned below what signs can decide.
    for comparisons in (1, 11, 91):
        least = least_seeds(0.05 / comparisons)
        assert 2.0 ** (1 - least) <= 0.05 / comparisons < 2.0 ** (2 - least)
        assert visible_difference(0.0, least - 1, comparisons) == math.inf
        assert seeds_for(1.0, 0.0, comparisons) == least
    assert seeds_for(0.0, 1.0, 3) == math.inf


def test_planned_looks_spend_alpha_once() -> None:
    for looks in ([10], [10, 20, 40], [5, 6, 7, 50]):
        levels = spend(looks)
        assert sum(levels) == pytest.approx(0.05)
        assert all(level > 0 for level in levels)
    assert spend([10]) == [0.05]
    # After half the seeds the two-sided z is that of O'Brien and Fleming's spending function.
    assert spend([20, 40])[0] == pytest.approx(2 * stats.norm.sf(stats.norm.isf(0.025) * 2**0.5))
    for wrong in ([], [10, 10], [20, 10], [0, 5]):
        with pytest.raises(UserError, match=r"sweep\.looks are numbers of seeds that rise, got"):
            spend(wrong)
    assert sum(level_after(k) for k in range(20)) < 0.1
