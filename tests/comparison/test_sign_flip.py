"""The sign-flip test agrees with scipy, and its intervals and tails with itself."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lossbench.comparison.sign_flip import SignFlip

CASES = {
    "plain": [0.011, -0.004, 0.02, 0.013, 0.0007, -0.0101, 0.018, 0.03, 0.0005, 0.0041],
    "ties": [0.1, 0.1, -0.1, 0.2, 0.2, -0.3, 0.1, 0.0, 0.4],
    "one sided": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
    "odd and negative": [-0.5, -0.25, -3.0, 0.125, -1.5],
}


def mean(sample: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.mean(sample, axis=axis)


@pytest.mark.parametrize("values", CASES.values(), ids=CASES)
@pytest.mark.parametrize("alternative", ["greater", "two-sided"])
def test_sign_flip_is_scipys(values: list[float], alternative: str) -> None:
    d = np.array(values)
    theirs = stats.permutation_test(
        (d,), mean, permutation_type="samples", n_resamples=np.inf, alternative=alternative, vectorized=True
    )
    ours = SignFlip().greater(d) if alternative == "greater" else SignFlip().two_sided(d)
    assert ours == pytest.approx(theirs.pvalue, abs=1e-10)


@pytest.mark.parametrize("n", [31, 45])
def test_many_differences_are_near_the_normal_limit(n: int) -> None:
    d = np.random.default_rng(n).normal(0.3, 1.0, size=n)
    test = SignFlip()
    limit = stats.norm.sf(d.sum() / math.sqrt((d**2).sum()))
    assert test.greater(d) == pytest.approx(limit, abs=0.01)
    assert test.greater(d + 10) == 2.0**-n
    low, high = test.interval(d)
    assert (low, high) == pytest.approx(stats.ttest_1samp(d, 0).confidence_interval(), abs=0.05)
    precision = 2e-4 * np.ptp(d)
    for end, outward in ((low, -precision), (high, precision)):
        assert test.two_sided(d - end - outward) <= 0.05
        assert test.two_sided(d - end + outward) > 0.05


@pytest.mark.parametrize("n", [13, 20, 30])
def test_exact_and_drawn_signs_agree(n: int) -> None:
    d = np.random.default_rng(n).normal(0.2, 1.0, size=n)
    signs = np.random.default_rng(1).choice([-1.0, 1.0], size=(200_000, n))
    assert SignFlip().greater(d) == pytest.approx((signs @ d >= d.sum()).mean(), abs=0.006)


@pytest.mark.parametrize("n", [21, 31, 40, 60])
@pytest.mark.parametrize("shift", [0.0, 3.0, 8.0, 30.0])
def test_the_tail_of_many_differences_is_bounded_closely_from_above(n: int, shift: float) -> None:
    d = np.round(np.random.default_rng(n).normal(shift, 10.0, size=n) + 0.5)
    counts = Counter({0: 1})
    for value in d.astype(int).tolist():
        counts += Counter({total + value: count for total, count in counts.items()})
    exact = sum(count for total, count in counts.items() if total <= 0) / 2**n
    # Sums of whole numbers tie, and a bound takes in whoever is within its grid: half a tie more at the most.
    assert exact <= SignFlip().greater(d) <= 1.05 * exact + 1e-15


def test_seventy_two_objectives_that_are_far_apart_are_separated_at_thirty_one_seeds() -> None:
    d = 100 + np.random.default_rng(0).normal(size=31)
    assert 2556 * SignFlip().two_sided(d) < 1e-5


@pytest.mark.parametrize("n", [6, 13, 14, 15, 24, 31])
def test_a_lower_bound_is_the_end_of_the_interval(n: int) -> None:
    d = np.random.default_rng(n).normal(0.2, 1.0, size=n)
    low, high = SignFlip().interval(d)
    precision = 1e-6 if n <= 14 else 2e-4 * np.ptp(d)
    assert SignFlip().lower(d, 0.025) == pytest.approx(low, abs=precision)
    assert SignFlip().lower(d, 0.05) >= low
    for end, inward in ((low, precision), (high, -precision)):
        assert SignFlip().two_sided(d - end - inward) > 0.05 >= SignFlip().two_sided(d - end + inward)
    assert SignFlip().lower(d[:4], 0.05) == -math.inf


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.integers(-40, 40), min_size=6, max_size=11))
def test_an_interval_holds_what_the_test_does_not_reject(values: list[int]) -> None:
    d = np.array(values) + np.sqrt(np.arange(2, len(values) + 2)) / 7
    test = SignFlip()
    low, high = test.interval(d)
    assert low < high
    precision = 2e-7 * np.ptp(d)
    for end, outward in ((low, -precision), (high, precision)):
        assert test.two_sided(d - end - outward) <= 0.05
        assert test.two_sided(d - end + outward) > 0.05


def test_too_few_differences_have_no_interval() -> None:
    assert SignFlip().interval(np.arange(5.0)) == (-math.inf, math.inf)
    assert SignFlip().two_sided(np.zeros(0)) == 1.0
    assert SignFlip().interval(np.zeros(0)) == (-math.inf, math.inf)


def test_decimals_that_tie_up_to_rounding_tie() -> None:
    # .3 - .2 and .2 - .1 differ in the last bit.
    d = np.array([0.3 - 0.2, 0.2 - 0.1, -0.1, 0.5, 0.7, 0.9])
    assert SignFlip().two_sided(d) == SignFlip().two_sided(np.array([1, 1, -1, 5, 7, 9.0]))


def test_differences_that_are_one_but_for_rounding_have_an_interval() -> None:
    d = np.array([0.33333333333333331] * 7 + [0.33333333333333337])
    assert SignFlip().interval(d) == pytest.approx((1 / 3, 1 / 3))
    assert SignFlip().interval(-d) == pytest.approx((-1 / 3, -1 / 3))
