"""Curves for figures: areas agree with the metrics, micro-averaging with the tutorial's recipe."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.metrics import auc
from sklearn.preprocessing import LabelBinarizer

from lossbench.evaluation import curves, metrics


@pytest.fixture
def ranked():
    draw = np.random.default_rng(0)
    return draw.integers(0, 2, size=200), draw.random(200).round(1)


def test_areas_equal_the_metrics(ranked):
    target, prob = ranked
    values = metrics.compute(target, np.stack([1 - prob, prob], axis=-1)[None])
    roc = curves.roc(target, prob)
    assert roc.area == pytest.approx(values["auroc"][0], abs=1e-12)
    assert auc(roc.x, roc.y) == pytest.approx(roc.area, abs=1e-12)
    precision_recall = curves.precision_recall(target, prob)
    assert precision_recall.area == pytest.approx(values["average_precision"][0], abs=1e-12)
    steps = np.diff(precision_recall.x) @ precision_recall.y[1:]
    assert steps == pytest.approx(precision_recall.area, abs=1e-12)


def test_curves_run_from_corner_to_corner(ranked):
    roc, precision_recall = curves.roc(*ranked), curves.precision_recall(*ranked)
    assert (roc.x[0], roc.y[0], roc.x[-1], roc.y[-1]) == (0, 0, 1, 1)
    assert (precision_recall.x[0], precision_recall.y[0], precision_recall.x[-1]) == (0, 1, 1)
    assert (np.diff(roc.x) >= 0).all()
    assert (np.diff(precision_recall.x) >= 0).all()


def test_raw_scores_are_welcome():
    assert curves.roc([0, 1, 1], [-300.0, -2.0, 900.0]).area == 1


def test_micro_roc_is_the_tutorials():
    inputs, target = load_iris(return_X_y=True)
    scores = inputs @ np.random.default_rng(1).normal(size=(4, 3))
    onehot = LabelBinarizer().fit(target).transform(target)
    cells, labels = scores.ravel(), onehot.ravel() == 1
    wins = cells[labels][:, None] - cells[~labels]
    curve = curves.micro_roc(target, scores)
    assert curve.area == pytest.approx(((wins > 0) + 0.5 * (wins == 0)).mean(), abs=1e-12)
    points = set(zip(curve.x.tolist(), curve.y.tolist(), strict=True))
    every_cut = {((cells[~labels] >= cut).mean(), (cells[labels] >= cut).mean()) for cut in cells}
    assert points <= every_cut | {(0.0, 0.0)}


def test_micro_roc_of_probabilities_is_the_metric():
    draw = np.random.default_rng(2)
    target, probs = draw.integers(0, 4, size=60), draw.dirichlet(np.ones(4), size=60)
    expected = metrics.compute(target, probs[None], ["auroc_micro"])["auroc_micro"][0]
    assert curves.micro_roc(target, probs).area == pytest.approx(expected, abs=1e-12)


def test_errors_name_rule_and_value():
    with pytest.raises(ValueError, match="both classes, got only class 1"):
        curves.roc([1, 1], [0.1, 0.2])
    with pytest.raises(ValueError, match="a row of the positive class, got none"):
        curves.precision_recall([0, 0], [0.1, 0.2])
    with pytest.raises(ValueError, match="finite scores, got 1 that are not"):
        curves.roc([0, 1], [0.1, math.nan])
    with pytest.raises(ValueError, match=r"target \(N,\) of 0 and 1 and score \(N,\), got \(2,\) and \(3,\)"):
        curves.roc([0, 1], [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match=r"scores \(N, K\), got \(2,\) and \(2,\)"):
        curves.micro_roc([0, 1], [0.1, 0.2])
    with pytest.raises(ValueError, match=r"target in 0\.\.1, got 0\.\.2"):
        curves.micro_roc([0, 2], [[0.1, 0.2], [0.3, 0.4]])
