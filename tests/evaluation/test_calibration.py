"""Calibrators against scikit-learn's own, and where they must not break."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from lossbench.evaluation import calibration


def two_classes(n, seed=0):
    """Scores whose true posterior is sigmoid(3 s - 2)."""
    draw = np.random.default_rng(seed)
    scores = draw.normal(size=(n, 1))
    return scores, (draw.random(n) < expit(3 * scores[:, 0] - 2)).astype(int)


@pytest.mark.parametrize(("kind", "theirs"), [("platt", "sigmoid"), ("isotonic", "isotonic")])
def test_equals_scikit_learns_calibration(kind, theirs):
    scores, target = two_classes(400)
    # a frozen classifier whose decision function is the score itself
    classifier = LogisticRegression().fit([[-1.0], [1.0]], [0, 1])
    classifier.coef_, classifier.intercept_ = np.ones((1, 1)), np.zeros(1)
    reference = CalibratedClassifierCV(FrozenEstimator(classifier), method=theirs).fit(scores, target)
    expected = reference.predict_proba(scores)[:, 1]
    if kind == "isotonic":
        expected = expected.clip(1 / 402, 401 / 402)
    found = calibration.fit(kind, scores, target).probs(scores)
    np.testing.assert_allclose(found[:, 1], expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1)


@pytest.mark.parametrize("kind", ["platt", "isotonic"])
def test_recovers_a_skewed_truth(kind):
    calibrator = calibration.fit(kind, *two_classes(20_000))
    found = calibrator.probs([[-1.0], [0.0], [0.5], [1.5]])[:, 1]
    np.testing.assert_allclose(found, expit([-5.0, -2.0, -0.5, 2.5]), atol=0.03)


def test_platt_of_many_classes_is_one_against_the_rest_normalised():
    draw = np.random.default_rng(1)
    scores, target = draw.normal(size=(300, 3)), draw.integers(0, 3, size=300)
    each = [
        calibration.fit("platt", scores[:, [k]], (target == k).astype(int)).probs(scores[:, [k]])[:, 1]
        for k in range(3)
    ]
    expected = np.stack(each, axis=1)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(calibration.fit("platt", scores, target).probs(scores), expected, atol=1e-9)


@pytest.mark.parametrize("kind", ["platt", "isotonic"])
def test_separable_rows_stay_away_from_certainty(kind):
    scores = np.linspace(-1, 1, 40)[:, None]
    target = (scores[:, 0] > 0).astype(int)
    calibrator = calibration.fit(kind, scores, target)
    probs = calibrator.probs([[-0.9], [0.9], [-1e6], [1e6]])
    assert log_loss([0, 1], probs[:2]) < 0.2
    if kind == "isotonic":
        assert probs.min() == pytest.approx(1 / 42)


@pytest.mark.parametrize("target", [[0, 0, 1, 0], [0, 0, 0, 0]])
def test_a_constant_score_says_the_smoothed_class_rate(target):
    positives = sum(target)
    soft = [(positives + 1) / (positives + 2) if y else 1 / (4 - positives + 2) for y in target]
    probs = calibration.fit("platt", np.full((4, 1), 7.0), target).probs([[7.0], [-50.0]])
    np.testing.assert_allclose(probs[:, 1], np.mean(soft), atol=1e-6)


def test_huge_scores_are_no_trouble():
    scores, target = two_classes(300)
    expected = calibration.fit("platt", scores, target).probs(scores)
    found = calibration.fit("platt", 1e6 * scores + 1e8, target).probs(1e6 * scores + 1e8)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_columns_that_all_underflow_are_uniform():
    platt = calibration.Platt(np.ones(3), np.zeros(3))
    np.testing.assert_allclose(platt.probs([[-1e4, -1e4, -1e4]]), 1 / 3)


@pytest.mark.parametrize("kind", ["platt", "isotonic"])
def test_state_round_trip(kind):
    scores, target = two_classes(100)
    fitted = calibration.fit(kind, scores, target)
    again = calibration.from_state(kind, {k: v.tolist() for k, v in calibration.state_of(fitted).items()})
    np.testing.assert_array_equal(again.probs(scores), fitted.probs(scores))


def test_choice_by_the_rarer_class():
    scores = np.zeros((3000, 1))
    assert calibration.choose(scores, np.arange(3000) < 500) == "isotonic"
    assert calibration.choose(scores, (np.arange(3000) < 499).astype(int)) == "platt"
    assert calibration.choose(scores, np.ones(3000, dtype=int)) == "platt"
    assert calibration.choose(np.zeros((3000, 3)), np.arange(3000) % 3) == "platt"


def test_errors_name_rule_and_value():
    with pytest.raises(ValueError, match="isotonic or platt, got 'beta'"):
        calibration.fit("beta", [[0.0]], [0])
    with pytest.raises(ValueError, match="isotonic needs two classes, got scores of 3 classes"):
        calibration.fit("isotonic", np.zeros((2, 3)), [0, 1])
    with pytest.raises(ValueError, match=r"finite scores.*got \(2, 1\) \(1 not finite\)"):
        calibration.fit("platt", [[0.0], [np.inf]], [0, 1])
    with pytest.raises(ValueError, match=r"N >= 1.*got \(0, 1\)"):
        calibration.fit("platt", np.zeros((0, 1)), [])
    with pytest.raises(ValueError, match=r"scores \(N, 1\), got \(1, 2\)"):
        calibration.fit("platt", [[0.0], [1.0]], [0, 1]).probs([[0.0, 1.0]])
    with pytest.raises(ValueError, match="isotonic or platt, got 'gradient'"):
        calibration.from_state("gradient", {})


def test_scores_that_say_nothing_give_the_share_of_the_class_without_a_warning() -> None:
    scores = np.tile([[-5.0], [5.0]], (20, 1))
    found = calibration.fit("platt", scores, np.repeat([0, 1], 20)).probs(scores)
    np.testing.assert_allclose(found, 0.5, rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_platt_is_scikit_learns_logistic_regression_on_smoothed_targets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(20, 2000))
    target = (rng.random(n) < rng.choice([0.03, 0.5])).astype(int)
    target[:2] = 0, 1
    # Some separate the classes, some are far from standardised.
    scores = rng.choice([1e-3, 1.0, 300.0]) * (rng.normal(size=(n, 1)) + rng.choice([0, 2, 20]) * target[:, None]) + 7
    positive = target.sum()
    soft = np.where(target == 1, (positive + 1) / (positive + 2), 1 / (n - positive + 2))
    standard = (scores - scores.mean()) / scores.std()
    model = LogisticRegression(C=1e10, solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(
        np.concatenate([standard, standard]),
        np.repeat([1, 0], n),
        sample_weight=np.concatenate([soft, 1 - soft]),
    )
    np.testing.assert_allclose(
        calibration.fit("platt", scores, target).probs(scores), model.predict_proba(standard), rtol=0, atol=1e-7
    )


def test_a_posterior_that_rules_out_what_occurs_is_refuted_by_one_row():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(400, 1))
    probs = calibration.Platt(np.array([1.0]), np.array([0.0])).probs(scores)
    target = (rng.random(400) < probs[:, 1]).astype(int)
    assert calibration.fit_if_better(scores, target, probs) is None  # the truth
    for sure in (0.0, 1e-320):
        wrong = probs.copy()
        wrong[0, target[0]], wrong[0, 1 - target[0]] = sure, 1.0
        fitted = calibration.fit_if_better(scores, target, wrong)
        assert fitted is not None
        np.testing.assert_array_equal(fitted.probs(scores), calibration.fit("platt", scores, target).probs(scores))


def test_folds_that_start_near_end_where_they_would_from_afar():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(300, 3)) * 4 - 1
    target = (scores + rng.normal(size=scores.shape) * 3).argmax(axis=1)
    turn = np.empty(300, dtype=int)
    for label in range(3):
        rows = np.flatnonzero(target == label)
        turn[rows] = np.arange(len(rows)) % calibration.FOLDS
    found = calibration.cross_fit(scores, target, calibration.fit("platt", scores, target))
    for fold in range(calibration.FOLDS):
        unseen = turn == fold
        expected = calibration.fit("platt", scores[~unseen], target[~unseen]).probs(scores[unseen])
        np.testing.assert_allclose(found[unseen], expected, rtol=0, atol=1e-9)
