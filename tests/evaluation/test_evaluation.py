"""The final evaluation as a whole."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from sklearn.metrics import f1_score, log_loss

from lossbench.evaluation import calibration, thresholds
from lossbench.evaluation.catalogue import names_for
from lossbench.evaluation.collection import build
from lossbench.evaluation.evaluation import evaluate
from lossbench.evaluation.own_metrics import LogLoss
from lossbench.objective.links import Sigmoid, Softmax
from lossbench.objective.loss import Loss
from lossbench.task import Task

TWO = Task(n_features=2, class_names=("outer", "inner"), class_counts=(90, 10))
THREE = Task(n_features=4, class_names=("x", "y", "z"), class_counts=(30, 30, 30))


class Likelihood(Loss):
    """-log p[target] through its link; claims what the test asks for."""

    def __init__(self, posterior, link):
        super().__init__()
        self.posterior = posterior
        self._link = link

    @property
    def link(self):
        return self._link

    def forward(self, prediction, target):
        return -prediction.log_probs.gather(1, target[:, None])[:, 0]


def bound(task, posterior="gradient"):
    loss = Likelihood(posterior, Sigmoid() if task.binary else Softmax())
    loss.bind(task)
    return loss


def splits(task, n=60, seed=0):
    draw = np.random.default_rng(seed)
    scores = {split: 2 * draw.normal(size=(n, task.n_scores)) for split in ("train", "val", "test")}
    targets = {split: np.arange(n) % task.n_classes for split in scores}
    return scores, targets


def test_two_classes_have_every_key():
    result = evaluate(*splits(TWO), bound(TWO), TWO)
    of_a_split = {
        *names_for(2),
        *("recall/outer", "recall/inner"),
        *("posterior/log_loss", "posterior/brier", "posterior/ece"),
        *("tuned/f1", "tuned/mcc", "tuned/balanced_accuracy", "tuned/accuracy"),
    }
    assert result.metrics.keys() == {f"{s}/{k}" for s in ("train", "val", "test") for k in of_a_split}
    assert result.undefined == {}
    assert all(type(value) is float for value in result.metrics.values())
    assert result.probs["test"].shape == result.posteriors["test"].shape == (60, 2)


def test_more_classes_have_a_micro_average_and_no_thresholds():
    scores, targets = splits(THREE)
    result = evaluate(scores, targets, bound(THREE), THREE)
    assert result.thresholds == {}
    assert not any("tuned" in key for key in result.metrics)
    assert {"val/auroc_micro", "val/recall/z"} < result.metrics.keys()
    expected = log_loss(targets["test"], softmax(scores["test"], axis=1))
    assert result.metrics["test/log_loss"] == pytest.approx(expected, abs=1e-12)


def test_link_and_posterior_are_shown_apart():
    scores, targets = splits(TWO)
    weights, rates = np.array([1.0, 9.0]), np.array([0.5, 2.0])
    # weighted by 9 and drawn 4 times too often: the odds are 36 times too high, as validation confirms
    targets["val"] = (np.random.default_rng(5).random(60) < expit(scores["val"][:, 0] - np.log(36))).astype(int)
    result = evaluate(scores, targets, bound(TWO), TWO, class_weights=weights, sampling_rates=rates)
    link = expit(scores["test"][:, 0])
    odds = link / (1 - link) / 36
    np.testing.assert_allclose(result.probs["test"][:, 1], link, rtol=1e-12)
    np.testing.assert_allclose(result.posteriors["test"][:, 1], odds / (1 + odds), rtol=1e-9)
    assert result.metrics["test/log_loss"] == pytest.approx(log_loss(targets["test"], link))
    assert result.metrics["test/posterior/log_loss"] == pytest.approx(log_loss(targets["test"], odds / (1 + odds)))
    assert result.posterior_kind == "gradient"
    np.testing.assert_array_equal(result.posterior_state["class_weights"], weights)
    np.testing.assert_array_equal(result.posterior_state["sampling_rates"], rates)


@pytest.mark.parametrize(("task", "n", "kind"), [(TWO, 60, "platt"), (TWO, 1000, "isotonic"), (THREE, 60, "platt")])
def test_a_calibrator_is_fitted_on_validation_alone(task, n, kind):
    scores, targets = splits(task, n=n)
    result = evaluate(scores, targets, bound(task, "calibrator"), task)
    assert result.posterior_kind == kind
    again = calibration.from_state(kind, result.posterior_state)
    fitted = calibration.fit(kind, scores["val"], targets["val"])
    np.testing.assert_array_equal(fitted.probs(scores["test"]), result.posteriors["test"])
    for split in scores:
        np.testing.assert_array_equal(again.probs(scores[split]), result.posteriors[split])
    targets["test"], targets["train"] = 1 - targets["test"] % 2, 1 - targets["train"] % 2
    flipped = evaluate(scores, targets, bound(task, "calibrator"), task)
    np.testing.assert_array_equal(flipped.posteriors["test"], result.posteriors["test"])
    assert flipped.thresholds == result.thresholds


@pytest.mark.parametrize("task", [TWO, THREE])
def test_a_posterior_that_validation_refutes_gives_way_to_a_calibrator(task):
    """Scores twice too large, as of a run that stopped far from its minimum, and scores as they should be."""
    draw = np.random.default_rng(3)
    scores = {split: draw.normal(size=(400, task.n_scores)) for split in ("train", "val", "test")}
    probs = {s: bound(task).link.probs(torch.tensor(rows)).numpy() for s, rows in scores.items()}
    targets = {s: (draw.random((400, 1)) > p.cumsum(axis=1)[:, :-1]).sum(axis=1) for s, p in probs.items()}
    assert evaluate(scores, targets, bound(task), task).posterior_kind == "gradient"
    bold = {split: 4 * rows for split, rows in scores.items()}
    result = evaluate(bold, targets, bound(task), task)
    assert result.posterior_kind == "platt"
    assert result.metrics["test/posterior/log_loss"] < result.metrics["test/log_loss"] - 0.1
    # test rows have no say
    targets["test"] = np.roll(targets["test"], 1)
    assert evaluate(bold, targets, bound(task), task).posterior_kind == "platt"


def test_thresholds_are_tuned_on_validation_and_applied_everywhere():
    scores, targets = splits(TWO)
    result = evaluate(scores, targets, bound(TWO), TWO, class_weights=[1.0, 9.0])
    assert result.thresholds == thresholds.tune(targets["val"], result.posteriors["val"][:, 1])
    for split in scores:
        decided = result.posteriors[split][:, 1] > result.thresholds["f1"]
        assert result.metrics[f"{split}/tuned/f1"] == pytest.approx(f1_score(targets[split], decided))
    assert result.metrics["val/tuned/f1"] >= result.metrics["val/f1"]


def test_every_nan_has_a_reason():
    scores, targets = splits(TWO)
    targets["test"] = np.zeros(60, dtype=int)
    result = evaluate(scores, targets, bound(TWO), TWO)
    missing = {key for key, value in result.metrics.items() if np.isnan(value)}
    assert missing == result.undefined.keys()
    assert result.undefined["test/auroc"] == result.undefined["test/tuned/f1"] == "no row of class 'inner'"
    assert result.undefined["test/mcc"] == "only one class"
    assert result.undefined["test/recall/inner"] == "no row of this class"
    targets["val"] = np.zeros(60, dtype=int)
    result = evaluate(scores, targets, bound(TWO), TWO)
    assert np.isnan(result.thresholds["f1"])
    assert result.undefined["train/tuned/f1"] == "no row of class 'inner' in val, which tunes it"


def test_a_collection_adds_to_the_built_in_metrics():
    collection = build({"surprise": LogLoss, "log_loss": LogLoss}, TWO)
    scores, targets = splits(TWO)
    alone = evaluate(scores, targets, bound(TWO), TWO)
    together = evaluate(scores, targets, bound(TWO), TWO, collection=collection)
    extra = {f"{split}/surprise": alone.metrics[f"{split}/log_loss"] for split in scores}
    assert together.metrics == pytest.approx(alone.metrics | extra, abs=1e-8, rel=0)


def test_tensors_serve_as_well():
    scores, targets = splits(TWO)
    expected = evaluate(scores, targets, bound(TWO), TWO, class_weights=[1.0, 9.0])
    result = evaluate(
        {split: torch.as_tensor(rows) for split, rows in scores.items()},
        {split: torch.as_tensor(rows) for split, rows in targets.items()},
        bound(TWO),
        TWO,
        class_weights=torch.tensor([1.0, 9.0]),
    )
    assert result.metrics == expected.metrics


def test_errors_name_the_split_and_the_value():
    scores, targets = splits(TWO)
    with pytest.raises(ValueError, match=r"val among them, got \['test'\] and \['test'\]"):
        evaluate({"test": scores["test"]}, {"test": targets["test"]}, bound(TWO), TWO)
    with pytest.raises(ValueError, match=r"same splits.*got \['test', 'train', 'val'\] and \['val'\]"):
        evaluate(scores, {"val": targets["val"]}, bound(TWO), TWO)
    with pytest.raises(ValueError, match=r"split 'test' needs scores \(N, 1\).*got \(60, 2\)"):
        evaluate(scores | {"test": np.zeros((60, 2))}, targets, bound(TWO), TWO)
    scores["test"][3] = np.inf
    with pytest.raises(ValueError, match="split 'test' needs finite scores, got 1 that are not"):
        evaluate(scores, targets, bound(TWO), TWO)


def test_imports_stay_light():
    code = """
import sys
import lossbench.evaluation.calibration
import lossbench.evaluation.metrics, lossbench.evaluation.thresholds
print("torch" in sys.modules)
import lossbench.evaluation.evaluation
print("torchmetrics" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]
