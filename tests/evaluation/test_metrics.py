"""The built-in metrics against scikit-learn, plain loops and hand values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from lossbench.evaluation import metrics
from lossbench.evaluation.catalogue import names_for
from lossbench.evaluation.ranking import areas, sorted_keys


@st.composite
def cases(draw, max_classes=5, max_replicates=3):
    """Probabilities on a coarse grid, so with many ties, zeros and ones; targets that may miss a class."""
    n_classes = draw(st.integers(2, max_classes))
    n = draw(st.integers(1, 12))
    replicates = draw(st.integers(1, max_replicates))
    cells = replicates * n * n_classes
    weights = np.reshape(draw(st.lists(st.integers(0, 3), min_size=cells, max_size=cells)), (replicates, n, n_classes))
    weights = weights + (weights.sum(axis=-1, keepdims=True) == 0)
    shared = draw(st.booleans())
    labels = st.integers(0, n_classes - 1)
    size = n if shared else n * replicates
    target = np.asarray(draw(st.lists(labels, min_size=size, max_size=size)))
    return target if shared else target.reshape(replicates, n), weights / weights.sum(axis=-1, keepdims=True)


def loop_log_loss(target, probs):
    return -sum(math.log(max(p[y], 2.2250738585072014e-308)) for y, p in zip(target, probs, strict=True)) / len(target)


def loop_brier(target, probs):
    if probs.shape[1] == 2:
        return sum((p[1] - y) ** 2 for y, p in zip(target, probs, strict=True)) / len(target)
    return sum((value - (k == y)) ** 2 for y, p in zip(target, probs, strict=True) for k, value in enumerate(p)) / len(
        target
    )


def loop_ece(target, probs):
    gaps = [0.0] * 15
    for y, p in zip(target, probs, strict=True):
        top = 1 if len(p) == 2 else max(range(len(p)), key=lambda k: p[k])
        inside = [b for b in range(15) if p[top] >= b / 15]
        gaps[inside[-1]] += (y == top) - p[top]
    return sum(abs(gap) for gap in gaps) / len(target)


def reference(target, probs):
    """One replicate, NaN where the target leaves the metric undefined."""
    n_classes = probs.shape[1]
    classes = list(range(n_classes))
    decided = [0 if n_classes == 2 and p[1] <= 0.5 else max(classes, key=lambda k: p[k]) for p in probs]
    present = set(target.tolist())
    complete = len(present) == n_classes
    values = {
        "accuracy": sk.accuracy_score(target, decided),
        "balanced_accuracy": sk.recall_score(target, decided, labels=classes, average="macro")
        if complete
        else math.nan,
        "mcc": sk.matthews_corrcoef(target, decided) if len(present) > 1 else math.nan,
        "log_loss": loop_log_loss(target, probs),
        "brier": loop_brier(target, probs),
        "ece": loop_ece(target, probs),
    }
    if n_classes == 2:
        values["auroc"] = sk.roc_auc_score(target, probs[:, 1]) if complete else math.nan
        has_positive = 1 in present
        values["average_precision"] = sk.average_precision_score(target, probs[:, 1]) if has_positive else math.nan
        values["f1"] = sk.f1_score(target, decided, zero_division=0) if has_positive else math.nan
        return values
    onehot = np.eye(n_classes, dtype=int)[target]
    values["auroc_micro"] = sk.roc_auc_score(onehot.ravel(), probs.ravel())
    values["auroc"] = sk.roc_auc_score(onehot, probs, average="macro") if complete else math.nan
    values["average_precision"] = sk.average_precision_score(onehot, probs, average="macro") if complete else math.nan
    values["f1"] = (
        sk.f1_score(target, decided, labels=classes, average="macro", zero_division=0) if complete else math.nan
    )
    return values


def assert_equals_reference(target, probs):
    values = metrics.compute(target, probs)
    for r in range(len(probs)):
        expected = reference(target if target.ndim == 1 else target[r], probs[r])
        assert values.keys() == expected.keys()
        for name, value in expected.items():
            assert values[name][r] == pytest.approx(value, abs=1e-10, rel=0, nan_ok=True), name


@settings(derandomize=True, deadline=None, max_examples=80)
@given(cases())
def test_equals_scikit_learn_with_ties_and_missing_classes(case):
    assert_equals_reference(*case)


@pytest.mark.parametrize("n_classes", [2, 3, 4])
def test_equals_scikit_learn_without_ties_on_many_rows(n_classes):
    draw = np.random.default_rng(n_classes)
    assert_equals_reference(draw.integers(0, n_classes, size=500), draw.dirichlet(np.ones(n_classes), size=(2, 500)))


def test_equals_scikit_learn_on_rare_positives_with_partial_ties():
    draw = np.random.default_rng(0)
    positive = draw.random((2, 1000)).round(2)
    positive[1] = draw.random(1000)
    target = (draw.random(1000) < 0.03).astype(int)
    assert_equals_reference(target, np.stack([1 - positive, positive], axis=-1))


def test_log_loss_and_brier_equal_scikit_learn():
    draw = np.random.default_rng(1)
    target, probs = draw.integers(0, 3, size=50), draw.dirichlet(np.ones(3), size=(1, 50))
    values = metrics.compute(target, probs)
    assert values["log_loss"][0] == pytest.approx(sk.log_loss(target, probs[0]), abs=1e-12)
    two = probs[:, :, :2] / probs[:, :, :2].sum(axis=-1, keepdims=True)
    indicator = np.minimum(target, 1)
    values = metrics.compute(indicator, two)
    assert values["brier"][0] == pytest.approx(sk.brier_score_loss(indicator, two[0, :, 1]), abs=1e-12)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(cases(), st.data())
def test_replicates_do_not_mix(case, data):
    target, probs = case
    r = data.draw(st.integers(0, len(probs) - 1))
    alone = metrics.compute(target if target.ndim == 1 else target[r], probs[r : r + 1])
    together = metrics.compute(target, probs)
    for name, value in alone.items():
        np.testing.assert_allclose(together[name][r], value[0], rtol=0, atol=1e-15, err_msg=name)


@pytest.mark.parametrize("per_replicate", [False, True])
def test_blocks_change_nothing(monkeypatch, per_replicate):
    draw = np.random.default_rng(2)
    probs = draw.dirichlet(np.ones(3), size=(7, 20))
    target = draw.integers(0, 3, size=(7, 20) if per_replicate else 20)
    whole = metrics.compute(target, probs)
    monkeypatch.setattr(metrics, "BLOCK", 130)  # two replicates at a time, one in the last block
    parts = metrics.compute(target, probs)
    for name, value in whole.items():
        np.testing.assert_array_equal(parts[name], value)


def test_a_subset_is_what_was_asked_for_in_that_order():
    draw = np.random.default_rng(3)
    target, probs = np.arange(20) % 3, draw.dirichlet(np.ones(3), size=(1, 20))
    everything = metrics.compute(target, probs)
    assert tuple(everything) == names_for(3)
    for name in names_for(3):
        assert metrics.compute(target, probs, [name]) == {name: everything[name]}
    assert list(metrics.compute(target, probs, ["log_loss", "auroc"])) == ["log_loss", "auroc"]


def test_names_of_a_task():
    assert set(names_for(3)) - set(names_for(2)) == {"auroc_micro"}
    assert names_for() == names_for(3)
    assert set(names_for(3)) - set(names_for(3, per_epoch=True)) == {"ece"}


@settings(derandomize=True, deadline=None, max_examples=100)
@given(cases(max_replicates=1))
def test_nan_exactly_where_a_reason_is_given(case):
    target, probs = case
    values = metrics.compute(target, probs)
    reasons = metrics.explain_undefined(target.ravel(), probs.shape[2])
    assert {name for name, value in values.items() if np.isnan(value[0])} == set(reasons)


def test_reasons_name_the_class():
    assert metrics.explain_undefined([0, 1, 0], 3, ("a", "b", "c")) == dict.fromkeys(
        ("auroc", "balanced_accuracy", "average_precision", "f1"), "no row of class 'c'"
    )
    assert metrics.explain_undefined([2, 2], 3, ("a", "b", "c"))["mcc"] == "only one class"
    assert metrics.explain_undefined([0, 1], 2) == {}


def test_one_decided_class_has_mcc_zero():
    values = metrics.compute([0, 0, 1], [[[0.9, 0.1]] * 3])
    assert values["mcc"][0] == 0
    assert values["auroc"][0] == 0.5
    assert values["average_precision"][0] == pytest.approx(1 / 3)


def test_a_replicate_with_nan_is_nan_and_alone():
    draw = np.random.default_rng(4)
    target, probs = np.arange(12) % 3, draw.dirichlet(np.ones(3), size=(3, 12))
    clean = metrics.compute(target, probs)
    probs[1, 4] = np.nan
    values = metrics.compute(target, probs)
    for name, value in values.items():
        assert np.isnan(value[1]), name
        np.testing.assert_array_equal(value[[0, 2]], clean[name][[0, 2]])
    recalls = metrics.compute(target, probs, ["recall"])["recall"]
    assert np.isnan(recalls).all(axis=1).tolist() == [False, True, False]


def test_log_loss_of_an_impossible_row():
    values = metrics.compute([1, 0], [[[1.0, 0.0], [1.0, 0.0]]], ["log_loss"])
    assert values["log_loss"][0] == pytest.approx(708.3964185322641 / 2)


def test_log_loss_keeps_the_digits_of_a_small_negative_probability():
    values = metrics.compute([0], [[[1e-30, 1.0]]], ["log_loss"])
    assert values["log_loss"][0] == pytest.approx(30 * math.log(10))


def test_ece_by_hand():
    # 1 and .95 share the last bin: |(1 - 1) + (0 - .95)|; .1 has its own: |0 - .1|
    values = metrics.compute([1, 0, 0], [[[0.0, 1.0], [0.05, 0.95], [0.9, 0.1]]], ["ece"])
    assert values["ece"][0] == pytest.approx((0.95 + 0.1) / 3)


def test_bins_of_ece_are_closed_below_to_the_last_bit():
    edges = np.arange(1, metrics.BINS) / metrics.BINS
    for edge in edges:
        for value in (np.nextafter(edge, 0), edge, np.nextafter(edge, 1)):
            low = np.searchsorted(edges, value, side="right") / metrics.BINS
            # Its like, of the other label, in the same bin: what they observe and expect cancels.
            like = min(low + 1e-3, 1.0)
            probs = np.array([[[1 - value, value], [1 - like, like]]])
            together = abs(1 - value - like) / 2
            assert metrics.compute([1, 0], probs, ["ece"])["ece"][0] == pytest.approx(together, abs=1e-12)


def test_negative_zero_ties_with_zero():
    probs = np.array([[[1.0, -0.0], [1.0, 0.0], [0.5, 0.5]]])
    assert metrics.compute([1, 0, 1], probs, ["auroc"])["auroc"][0] == 0.75


def test_neighbouring_floats_are_no_ties():
    low = 0.3
    high = np.nextafter(low, 1)
    auroc, precision = areas(sorted_keys(np.array([[low, high]]), np.array([False, True])))
    assert (auroc[0], precision[0]) == (1, 1)
    auroc, precision = areas(sorted_keys(np.array([[low, high]]), np.array([True, False])))
    assert (auroc[0], precision[0]) == (0, 0.5)


def test_recall_of_each_class():
    draw = np.random.default_rng(5)
    target, probs = draw.integers(0, 3, size=40), draw.dirichlet(np.ones(3), size=(2, 40))
    expected = [sk.recall_score(target, p.argmax(axis=1), average=None) for p in probs]
    found = metrics.compute(target, probs, ["recall"])["recall"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-15)


GOOD = np.full((1, 2, 2), 0.5)


@pytest.mark.parametrize(
    ("target", "probs", "names", "message"),
    [
        ([0, 1], GOOD[0], None, r"need probs \(R, N, K\).*got \(2, 2\)"),
        ([], np.zeros((1, 0, 2)), None, r"R, N >= 1.*got \(1, 0, 2\)"),
        ([0, 0], np.ones((1, 2, 1)), None, r"K >= 2, got \(1, 2, 1\)"),
        ([0, 1, 1], GOOD, None, r"need target \(N,\) or \(R, N\).*got \(3,\)"),
        ([0.0, 1.0], GOOD, None, "integer class indices as target, got float64"),
        ([0, 2], GOOD, None, r"target in 0\.\.1, got 0\.\.2"),
        ([0, -1], GOOD, None, r"target in 0\.\.1, got -1\.\.0"),
        ([0, 1], GOOD * 3, None, r"probabilities in \[0, 1\], got 1.5"),
        ([0, 1], [[[-0.1, 1.1], [np.nan, np.nan]]], None, r"probabilities in \[0, 1\], got -0.1"),
        ([0, 1], GOOD, ["auc"], "one of accuracy, .*, got 'auc'"),
        ([0, 1], GOOD, ["auroc_micro"], "metric for 2 classes is one of .*, got 'auroc_micro'"),
    ],
)
def test_errors_name_rule_and_value(target, probs, names, message):
    with pytest.raises(ValueError, match=message):
        metrics.compute(target, probs, names)
