"""Tuned thresholds against trying everything."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from lossbench.evaluation import thresholds

REFERENCE = {
    "accuracy": sk.accuracy_score,
    "f1": lambda y, d: sk.f1_score(y, d, zero_division=0),
    "mcc": sk.matthews_corrcoef,
    "balanced_accuracy": sk.balanced_accuracy_score,
}

rows = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 10)), min_size=2, max_size=14).filter(
    lambda pairs: len({label for label, _ in pairs}) == 2
)


@settings(derandomize=True, deadline=None, max_examples=80)
@given(rows, st.sampled_from(thresholds.TUNED))
def test_no_threshold_is_better(pairs, metric):
    target = np.array([label for label, _ in pairs])
    prob = np.array([value for _, value in pairs]) / 10
    tuned = thresholds.tune(target, prob)[metric]
    every_cut = np.append(np.arange(0, 11) / 10 - 0.05, 1.0)
    best = max(REFERENCE[metric](target, (prob > cut).astype(int)) for cut in every_cut)
    reached = thresholds.score_at(target, prob, {metric: tuned})[metric]
    assert reached == pytest.approx(best, abs=1e-12)
    assert reached == pytest.approx(REFERENCE[metric](target, (prob > tuned).astype(int)), abs=1e-12)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(rows, st.integers(-1, 11))
def test_figures_at_a_threshold_equal_scikit_learn(pairs, cut):
    target = np.array([label for label, _ in pairs])
    prob = np.array([value for _, value in pairs]) / 10
    values = thresholds.score_at(target, prob, dict.fromkeys(thresholds.TUNED, cut / 10))
    assert set(values) == set(thresholds.TUNED)
    for metric, value in values.items():
        expected = REFERENCE[metric](target, (prob > cut / 10).astype(int))
        assert value == pytest.approx(expected, abs=1e-12), metric


def test_midway_between_the_neighbours_that_it_separates():
    assert thresholds.tune([0, 0, 1, 1], [0.1, 0.2, 0.5, 0.6])["mcc"] == pytest.approx(0.35)


def test_equally_good_cuts_go_to_the_one_nearest_to_a_half():
    # accuracy .5 whatever the cut is: .05, .25, .55, .85
    assert thresholds.tune([0, 1, 0, 1][::-1], [0.1, 0.4, 0.7, 1.0])["accuracy"] == pytest.approx(0.55)


def test_everything_positive_reaches_below_zero():
    assert thresholds.tune([1, 0, 1], [0.0, 0.0, 0.0])["f1"] == -1.0
    assert thresholds.tune([1, 0, 1], [0.2, 0.2, 0.2])["f1"] == pytest.approx(0.1)
    assert thresholds.tune([0, 0, 1], [1.0, 1.0, 1.0])["accuracy"] == 1.0


def test_neighbouring_floats_are_separated():
    low = 0.3
    high = float(np.nextafter(low, 1))
    for pair in ((low, high), (np.nextafter(0.1, 0), 0.1)):
        tuned = thresholds.tune([0, 1], pair)
        assert thresholds.score_at([0, 1], pair, tuned)["accuracy"] == 1
    assert thresholds.tune([0, 1], [0.0, 5e-324])["accuracy"] == 0


@pytest.mark.parametrize(
    ("target", "defined"),
    [([1, 1], {"accuracy", "f1"}), ([0, 0], {"accuracy"}), ([0, 1], set(thresholds.TUNED))],
)
def test_undefined_is_nan(target, defined):
    tuned = thresholds.tune(target, [0.2, 0.7])
    assert {metric for metric, value in tuned.items() if not math.isnan(value)} == defined
    values = thresholds.score_at(target, [0.2, 0.7], dict.fromkeys(thresholds.TUNED, 0.5))
    assert {metric for metric, value in values.items() if not math.isnan(value)} == defined
    untuned = thresholds.score_at(target, [0.2, 0.7], dict.fromkeys(thresholds.TUNED, math.nan))
    assert all(math.isnan(value) for value in untuned.values())


def test_errors_name_rule_and_value():
    with pytest.raises(ValueError, match=r"one of f1, .*, got 'auroc'"):
        thresholds.score_at([0, 1], [0.1, 0.2], {"auroc": 0.5})
    with pytest.raises(ValueError, match=r"with N >= 1, got \(0,\) and \(0,\)"):
        thresholds.tune([], [])
    with pytest.raises(ValueError, match=r"target of 0 and 1, got 0\.\.2"):
        thresholds.score_at([0, 2], [0.1, 0.2], {"f1": 0.5})
    with pytest.raises(ValueError, match=r"probabilities in \[0, 1\], got nan"):
        thresholds.score_at([0, 1], [0.1, math.nan], {"f1": 0.5})
