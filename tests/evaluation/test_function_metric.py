"""A plain function as a metric: scikit-learn's own are the reference."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, cohen_kappa_score, roc_auc_score, top_k_accuracy_score

from lossbench.evaluation.collection import build, measure
from lossbench.evaluation.function_metric import FunctionMetric
from lossbench.task import Task

TWO = Task(2, ("a", "b"), (3, 1))
THREE = Task(2, ("a", "b", "c"), (3, 2, 1))


@pytest.mark.parametrize(
    ("task", "function", "reads", "seen"),
    [
        (TWO, cohen_kappa_score, "labels", lambda probs: probs.argmax(axis=1)),
        (THREE, cohen_kappa_score, "labels", lambda probs: probs.argmax(axis=1)),
        (TWO, brier_score_loss, "positive", lambda probs: probs[:, 1]),
        (THREE, partial(roc_auc_score, multi_class="ovr"), "positive", lambda probs: probs),
        (THREE, partial(top_k_accuracy_score, k=2), "probs", lambda probs: probs),
    ],
)
def test_sees_what_it_reads(task, function, reads, seen):
    draw = np.random.default_rng(3)
    target, probs = np.arange(50) % task.n_classes, draw.dirichlet(np.ones(task.n_classes), size=50)
    collection = build({"mine": FunctionMetric(function, reads, True)}, task)
    assert measure(collection, target, probs, task)["mine"] == pytest.approx(function(target, seen(probs)), rel=1e-12)


def test_says_which_way_is_better():
    assert FunctionMetric(len, "labels", True).higher_is_better is True
    assert FunctionMetric(len, "labels", False).higher_is_better is False


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((3, "labels", True), "needs a function, got function=3"),
        ((len, "scores", True), "needs reads to be one of labels, positive, probs, got reads='scores'"),
        ((len, "labels", 1), "needs higher_is_better true or false, got 1"),
    ],
)
def test_refuses(given, message):
    with pytest.raises(ValueError, match=message):
        FunctionMetric(*given)


def test_a_function_of_many_numbers_is_refused():
    with pytest.raises(ValueError, match=r"needs a number of its function, got shape \(40,\)|got shape"):
        build({"mine": FunctionMetric(lambda target, seen: seen, "labels", True)}, TWO)
