"""Which setting is kept: the default unless another is better on seeds that did not choose it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lossbench.sweep.tuning.confirm import Confirmed, choose, confirm, pick_candidates
from lossbench.sweep.tuning.study import EndedTrial


def ended(number: int) -> EndedTrial:
    return EndedTrial(number, {}, "finished", 0.0)


def test_the_default_and_the_best_of_the_others_are_scored_again() -> None:
    ranked = [ended(number) for number in (7, 0, 3, 9)]
    assert [trial.number for trial in pick_candidates(ranked, 2)] == [0, 7, 3]
    assert [trial.number for trial in pick_candidates(ranked, 9)] == [0, 7, 3, 9]
    assert [trial.number for trial in pick_candidates(ranked[2:], 1)] == [3]  # the default failed


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_setting_is_kept_where_it_beats_the_default(sign: float) -> None:
    noise = np.random.default_rng(0).normal(size=(3, 12)) / 100
    scores = {0: sign * noise[0], 3: sign * (noise[1] + 1.0), 5: sign * (noise[2] + 2.0)}
    found = confirm({number: list(values) for number, values in scores.items()}, sign > 0)
    # Holm over two, and every sign-flip but one has a smaller sum.
    assert [each.p for each in found] == [None, 2 / 2**12, 2 / 2**12]
    assert choose(found, sign > 0) == 5
    assert choose(found[:2], sign > 0) == 3
    assert choose(found[:1], sign > 0) == 0


def test_luck_is_not_enough() -> None:
    """A little better in the mean: as often as not by chance."""
    rng = np.random.default_rng(1)
    default = rng.normal(size=20)
    scores = {0: list(default), **{n: list(default + rng.normal(scale=0.5, size=20)) for n in range(1, 6)}}
    found = confirm(scores, True)
    assert max(each.value or 0 for each in found[1:]) > (found[0].value or 0)
    assert choose(found, True) == 0
    one = stats.permutation_test(
        (np.array(scores[1]) - default,), np.mean, permutation_type="samples", alternative="greater", n_resamples=9999,
        rng=0,
    )  # fmt: skip
    assert confirm({0: scores[0], 1: scores[1]}, True)[1].p == pytest.approx(one.pvalue, abs=0.02)


def test_equal_settings_are_the_default_and_failed_ones_are_out() -> None:
    assert choose(confirm({0: [0.5] * 9, 4: [0.5] * 9}, True), True) == 0
    assert choose(confirm({0: [0.5] * 9, 4: []}, True), True) == 0
    assert choose(confirm({0: [], 4: [0.5] * 9, 6: [0.75] * 9}, True), True) == 6  # without a default, the best
    assert choose([Confirmed(0, None, None)], True) is None
    assert choose([], True) is None
