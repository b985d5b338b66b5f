"""Hand values, relatives that must be equal, and torch or NumPy loops as references."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lossbench.errors import CannotServe
from lossbench.objective.losses.external import External
from lossbench.objective.losses.focus import Focal
from lossbench.objective.losses.likelihood import Brier, bce_with_logits, cross_entropy
from lossbench.objective.prediction import Prediction
from lossbench.task import Task

TWO = Task(2, ("negative", "positive"), (6000, 200))
FOUR = Task(2, ("a", "b", "c", "d"), (4, 3, 2, 1))


def bound(loss, task):
    loss.bind(task)
    return loss


def rows(loss, scores, target):
    return loss(Prediction(scores, loss.link), torch.as_tensor(target))


def nll():
    return External(torch.nn.NLLLoss(reduction="none"), reads="log_probs", target="index")


def bce():
    return External(torch.nn.BCELoss(reduction="none"), reads="positive_prob", target="indicator")


def scores_of(*probs):
    return torch.tensor([[math.log(p / (1 - p))] for p in probs], dtype=torch.float64)


@pytest.mark.parametrize("loss", [cross_entropy(), nll()])
def test_tutorial_cross_entropy(loss):
    scores = torch.tensor([[10.0, 0.0, -10.0], [8.0, 8.0, 8.0]], dtype=torch.float64)
    value = rows(loss, scores, [0, 2]).mean().item()
    assert value == pytest.approx(0.5493, abs=5e-5)
    by_hand = (math.log(1 + math.exp(-10) + math.exp(-20)) + math.log(3)) / 2
    assert value == pytest.approx(by_hand, abs=1e-14)
    by_log_softmax = torch.log_softmax(scores, dim=1)
    assert value == pytest.approx(-(by_log_softmax[0, 0] + by_log_softmax[1, 2]).item() / 2, abs=1e-14)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(
    st.lists(st.lists(st.floats(-50, 50), min_size=3, max_size=3), min_size=1, max_size=5),
    st.integers(0, 2),
)
def test_cross_entropy_equals_nll(table, label):
    scores = torch.tensor(table, dtype=torch.float64)
    target = torch.full((len(table),), label)
    torch.testing.assert_close(rows(cross_entropy(), scores, target), rows(nll(), scores, target), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("probs", "value", "ratio"), [((0.5, 0.5), 0.0866, 0.12496), ((0.9, 0.1), 0.0005, 0.00474)])
def test_tutorial_focal(probs, value, ratio):
    """The tutorial divides its rounded values: .0866 / .6931 and .0005 / .1054."""
    focal = rows(bound(Focal(gamma=2, alpha=0.75), TWO), scores_of(*probs), [1, 0]).mean().item()
    plain = rows(bce(), scores_of(*probs), [1, 0]).mean().item()
    assert focal == pytest.approx(value, abs=5e-5)
    assert plain == pytest.approx({0.5: 0.6931, 0.9: 0.1054}[probs[0]], abs=5e-5)
    assert round(focal, 4) / round(plain, 4) == pytest.approx(ratio, abs=2e-5)


@pytest.mark.parametrize("task", [TWO, FOUR], ids=["two", "four"])
def test_relatives_are_equal(task):
    generator = torch.Generator().manual_seed(0)
    scores = 5 * torch.randn(9, task.n_scores, generator=generator, dtype=torch.float64)
    target = torch.arange(9) % task.n_classes
    plain = rows(cross_entropy(), scores, target)
    torch.testing.assert_close(rows(bound(Focal(gamma=0), task), scores, target), plain, rtol=1e-12, atol=1e-12)
    if task.binary:
        for relative in (bce(), bce_with_logits()):
            torch.testing.assert_close(rows(relative, scores, target), plain, rtol=1e-9, atol=1e-12)


def test_focal_against_a_loop():
    alpha = [0.4, 0.3, 0.2, 0.1]
    generator = torch.Generator().manual_seed(0)
    scores = 3 * torch.randn(8, 4, generator=generator, dtype=torch.float64)
    value = rows(bound(Focal(gamma=1.5, alpha=alpha), FOUR), scores, torch.arange(8) % 4)
    for i, row in enumerate(scores.numpy()):
        p = np.exp(row[i % 4]) / np.exp(row).sum()
        assert value[i].item() == pytest.approx(-alpha[i % 4] * (1 - p) ** 1.5 * np.log(p), rel=1e-12)


def test_pos_weight_weighs_the_positive_class_by_count():
    scores = torch.tensor([[0.3], [-1.2], [2.0]], dtype=torch.float64)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        scores[:, 0],
        torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64),
        pos_weight=torch.tensor(30.0, dtype=torch.float64),
    )
    value = rows(bce_with_logits(pos_weight=30), scores, [1, 0, 1]).mean()
    torch.testing.assert_close(value, expected, rtol=1e-14, atol=0)


def test_brier_is_the_sum_where_mse_is_the_mean():
    mse = External(torch.nn.MSELoss(reduction="none"), reads="probs", target="onehot")
    two = torch.tensor([[math.log(3)]], dtype=torch.float64)  # p = .75
    assert rows(Brier(), two, [1]).item() == pytest.approx(0.0625)
    assert rows(mse, two, [1]).item() == pytest.approx(0.0625)
    four = torch.zeros(1, 4, dtype=torch.float64)  # .75^2 + 3 * .25^2
    assert rows(Brier(), four, [2]).item() == pytest.approx(0.75)
    assert rows(mse, four, [2]).item() == pytest.approx(0.1875)


def test_label_smoothing_by_hand():
    scores = torch.tensor([[1.0, 0.0, -1.0]], dtype=torch.float64)
    log_probs = torch.log_softmax(scores, dim=1)[0]
    expected = -0.9 * log_probs[1] - 0.1 / 3 * log_probs.sum()
    torch.testing.assert_close(rows(cross_entropy(label_smoothing=0.1), scores, [1])[0], expected)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Focal(gamma=-1.0), r"Focal needs gamma >= 0, got gamma=-1.0"),
        (lambda: Focal(gamma="2"), r"Focal needs gamma to be a finite number, got gamma='2'"),
        (lambda: Focal(gamma=True), r"Focal needs gamma to be a finite number, got gamma=True"),
        (lambda: Focal(gamma=math.nan), r"Focal needs gamma to be a finite number, got gamma=nan"),
        (lambda: Focal(alpha=1.5), r"Focal needs 0 < alpha < 1, got alpha=1.5"),
        (lambda: Focal(alpha=[1, 0]), r"Focal needs alpha\[1\] > 0, got alpha\[1\]=0"),
        (lambda: Focal(alpha="a"), r"Focal needs alpha to be a finite number"),
        (lambda: Focal(alpha=[1]), r"Focal needs alpha to be a list of one number per class"),
        (lambda: bce_with_logits(0), r"bce_with_logits needs pos_weight > 0, got pos_weight=0"),
        (lambda: cross_entropy(1), r"cross_entropy needs 0 <= label_smoothing < 1, got label_smoothing=1"),
        (
            lambda: cross_entropy(ignore_index=0.5),
            r"needs ignore_index to be an integer, got ignore_index=0.5",
        ),
    ],
)
def test_wrong_hyperparameters_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_alpha_has_to_fit_the_task():
    with pytest.raises(CannotServe, match=r"one alpha per class for 4 classes, got alpha=0.75"):
        Focal(alpha=0.75).bind(FOUR)
    with pytest.raises(CannotServe, match="2 alphas, the task has 4 classes"):
        Focal(alpha=[1, 2]).bind(FOUR)
