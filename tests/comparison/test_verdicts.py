"""Verdicts come in their order, corrected for all comparisons, and never below the floor."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from lossbench.comparison import judging
from lossbench.comparison.corrected_t import CorrectedT
from lossbench.comparison.sign_flip import SignFlip
from lossbench.comparison.verdicts import all_pairs, equivalence_p, holm, judge, seeds_needed, winners
from lossbench.errors import UserError
from lossbench.evaluation.catalogue import rope_of

STEPS = np.linspace(-0.5, 0.5, 12)


@pytest.mark.parametrize("p", [[0.3], [0.01, 0.04, 0.03], [0.02, 0.02, 1.0, 0.0], [0.004, 0.011, 0.039, 0.012, 0.9]])
def test_holm_is_statsmodels(p: list[float]) -> None:
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1].tolist(), abs=1e-10)
    assert holm([]) == []


def test_two_one_sided_tests_are_scipys() -> None:
    d = np.array([0.011, -0.004, 0.002, 0.013, 0.0007, -0.0101, 0.008])
    theirs = max(
        stats.ttest_1samp(d, -0.01, alternative="greater").pvalue, stats.ttest_1samp(d, 0.01, alternative="less").pvalue
    )
    assert equivalence_p(CorrectedT(0.0), d, 0.01) == pytest.approx(theirs, abs=1e-10)


def test_equivalence_comes_first() -> None:
    (found,) = judge({"a": 0.001 + STEPS / 1000}, SignFlip(), rope=0.005).values()
    assert found.p < 0.05
    assert found.verdict == "equivalent"
    (found,) = judge({"a": 0.001 + STEPS / 1000}, SignFlip(), rope=0.0005).values()
    assert found.verdict == "better"
    (found,) = judge({"a": 0.001 + STEPS / 1000}, SignFlip(), rope=0.0005, higher_is_better=False).values()
    assert found.verdict == "worse"


def test_wide_differences_are_not_separable_whatever_their_mean() -> None:
    (found,) = judge({"a": 0.01 + STEPS}, SignFlip(), rope=0.005).values()
    assert found.verdict == "not separable"


def test_nothing_is_judged_without_a_pair_and_zeros_are_equivalent_without_a_rope() -> None:
    found = judge({"none": np.zeros(0), "same": np.zeros(3)}, SignFlip(), rope=None)
    assert found["none"].verdict is None
    assert math.isnan(found["none"].p)
    assert found["same"].verdict == "equivalent"
    assert judge({}, SignFlip(), rope=0.005) == {}


@pytest.mark.parametrize("m", [1, 2, 11, 35, 91])
def test_below_the_floor_nothing_is_better_or_worse(m: int) -> None:
    least = seeds_needed(m)
    assert m * 2.0 ** (1 - least) <= 0.05 < m * 2.0 ** (2 - least)
    for n, verdict in ((least - 1, "not separable"), (least, "better")):
        for test in (SignFlip(), CorrectedT(0.0)):
            found = judge({str(k): 1 + np.arange(n) / 100 for k in range(m)}, test, rope=0.005)
            assert {one.verdict for one in found.values()} == {verdict}


def test_seeds_that_the_design_names() -> None:
    assert seeds_needed(1) == 6
    assert seeds_needed(len(all_pairs([str(k) for k in range(14)]))) == 12


def test_what_won_is_corrected_for_all_pairs() -> None:
    names = [str(k) for k in range(5)]
    base = np.random.default_rng(0).normal(size=8)

    def found(n: int) -> list[str]:
        scores = {name: base[:n] + (int(name) < 2) + np.arange(n) * (int(name) + 1) / 1e4 for name in names}
        return list(winners({(a, b): scores[a] - scores[b] for a, b in all_pairs(names)}, "1", SignFlip()))

    # 10 pairs need 9 seeds: 8 would do for the four pairs with the best alone, not for all.
    assert seeds_needed(4) == 8
    assert seeds_needed(10) == 9
    assert found(8) == ["1", "0", "2", "3", "4"]


def test_rope_by_metric() -> None:
    assert rope_of("test/posterior/log_loss") == 0.005
    assert rope_of("test/recall/a") == 0.01
    assert rope_of("test/mine") is None
    assert rope_of("test/mine", 0) == 0.0
    for wrong in (-0.1, math.nan, math.inf, True, "a"):
        with pytest.raises(UserError, match=r"compare\.rope is null or a number >= 0, got"):
            rope_of("test/auroc", wrong)


def test_companions() -> None:
    d = np.random.default_rng(1).normal(0.3, 1, size=20)
    theirs = stats.bootstrap((d,), np.mean, method="BCa", rng=np.random.default_rng(0)).confidence_interval
    assert judging.bca(d) == pytest.approx((theirs.low, theirs.high), abs=1e-10)
    assert np.isnan(judging.bca(d[:19])).all()
    assert np.isnan(judging.bca(np.ones(20))).all()
    assert judging.interquartile_mean(d) == pytest.approx(np.sort(d)[5:15].mean())
    assert judging.probability_of_improvement(d, False) == pytest.approx((d < 0).mean())


def test_how_many_seeds() -> None:
    d = np.array([0.5, 1.5] * 10)
    low, high = judging.seeds_to_separate(d / 10 - 0.09, SignFlip(), 1)
    sd = d.std(ddof=1) / 10
    # What the normal approximation asks for lies within the range.
    assert low < ((1.959964 + 0.841621) * sd / 0.01) ** 2 < high
    assert judging.seeds_to_separate(np.zeros(5), SignFlip(), 3) == (math.inf, math.inf)
    # Splits of one table: the part of the variance that they share does not shrink.
    assert judging.seeds_to_separate(d / 10 - 0.09, CorrectedT(0.25), 1) == (math.inf, math.inf)
    assert judging.seeds_to_separate(np.array([1.0, 1.1, 1.2]), CorrectedT(0.25), 1) == (6, 6)
