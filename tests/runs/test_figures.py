"""Curves for figures: areas agree with the metrics, micro-averaging with the tutorial's recipe."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.metrics import auc
from sklearn.preprocessing import LabelBinarizer

from lossbench.evaluation import metrics
from lossbench.runs import figures


@pytest.fixture
def ranked():
    draw = np.random.default_rng(0)
    return draw.integers(0, 2, size=200), draw.random(200).round(1)


def test_areas_equal_the_metrics(ranked):
    target, prob = ranked
    values = metrics.compute(target, np.stack([1 - prob, prob], axis=-1)[None])
    roc = figures.roc_points(target, prob)
    assert roc.area == pytest.approx(values["auroc"][0], abs=1e-12)
    assert auc(roc.x, roc.y) == pytest.approx(roc.area, abs=1e-12)


def test_curves_run_from_corner_to_corner(ranked):
    roc = figures.roc_points(*ranked)
    assert (roc.x[0], roc.y[0], roc.x[-1], roc.y[-1]) == (0, 0, 1, 1)
    assert (np.diff(roc.x) >= 0).all()


def test_raw_scores_are_welcome():
    assert figures.roc_points([0, 1, 1], [-300.0, -2.0, 900.0]).area == 1


def test_micro_roc_is_the_tutorials():
    inputs, target = load_iris(return_X_y=True)
    scores = inputs @ np.random.default_rng(1).normal(size=(4, 3))
    onehot = LabelBinarizer().fit(target).transform(target)
    cells, labels = scores.ravel(), onehot.ravel() == 1
    wins = cells[labels][:, None] - cells[~labels]
    curve = figures.micro_roc_points(target, scores)
    assert curve.area == pytest.approx(((wins > 0) + 0.5 * (wins == 0)).mean(), abs=1e-12)
    points = set(zip(curve.x.tolist(), curve.y.tolist(), strict=True))
    every_cut = {((cells[~labels] >= cut).mean(), (cells[labels] >= cut).mean()) for cut in cells}
    assert points <= every_cut | {(0.0, 0.0)}


def test_micro_roc_of_probabilities_is_the_metric():
    draw = np.random.default_rng(2)
    target, probs = draw.integers(0, 4, size=60), draw.dirichlet(np.ones(4), size=60)
    expected = metrics.compute(target, probs[None], ["auroc_micro"])["auroc_micro"][0]
    assert figures.micro_roc_points(target, probs).area == pytest.approx(expected, abs=1e-12)


def test_errors_name_rule_and_value():
    with pytest.raises(ValueError, match="both classes, got only class 1"):
        figures.roc_points([1, 1], [0.1, 0.2])
    with pytest.raises(ValueError, match="finite scores, got 1 that are not"):
        figures.roc_points([0, 1], [0.1, math.nan])
    with pytest.raises(ValueError, match=r"target \(N,\) of 0 and 1 and score \(N,\), got \(2,\) and \(3,\)"):
        figures.roc_points([0, 1], [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match=r"scores \(N, K\), got \(2,\) and \(2,\)"):
        figures.micro_roc_points([0, 1], [0.1, 0.2])
    with pytest.raises(ValueError, match=r"target in 0\.\.1, got 0\.\.2"):
        figures.micro_roc_points([0, 2], [[0.1, 0.2], [0.3, 0.4]])
