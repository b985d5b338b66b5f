"""The corrected resampled t-test against scipy's paired t-test and a calculation by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from lossbench.comparison.corrected_t import CorrectedT

D = np.array([0.011, -0.004, 0.02, 0.013, 0.0007, -0.0101, 0.018, 0.03])


def test_without_overlap_it_is_the_paired_t_test() -> None:
    theirs = stats.ttest_1samp(D, 0)
    assert CorrectedT(0.0).two_sided(D) == pytest.approx(theirs.pvalue, abs=1e-10)
    assert CorrectedT(0.0).interval(D) == pytest.approx(theirs.confidence_interval(), abs=1e-10)
    one_sided = stats.ttest_1samp(D, 0, alternative="greater").pvalue
    assert CorrectedT(0.0).greater(D) == pytest.approx(one_sided, abs=1e-10)


def test_overlap_shrinks_t_as_published() -> None:
    # Ten times ten folds, Bouckaert and Frank: the factor 1/k r + n2/n1 = 1/100 + 1/9.
    d = np.random.default_rng(0).normal(0.3, 1, size=100)
    t = stats.ttest_1samp(d, 0).statistic * math.sqrt((1 / 100) / (1 / 100 + 1 / 9))
    assert CorrectedT(1 / 9).two_sided(d) == pytest.approx(2 * stats.t.sf(abs(t), 99), abs=1e-10)


def test_the_interval_is_what_is_not_rejected() -> None:
    test = CorrectedT(0.25)
    for end in test.interval(D):
        assert test.two_sided(D - end) == pytest.approx(0.05, abs=1e-10)


def test_degenerate_differences() -> None:
    test = CorrectedT(0.25)
    assert test.two_sided(np.zeros(0)) == test.two_sided(np.ones(1)) == test.two_sided(np.zeros(4)) == 1.0
    assert test.two_sided(np.ones(4)) == 0.0
    assert test.greater(-np.ones(4)) == 1.0
    assert test.interval(np.ones(1)) == (-math.inf, math.inf)


def test_a_ratio_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"CorrectedT needs ratio >= 0, got ratio=-0\.1"):
        CorrectedT(-0.1)
