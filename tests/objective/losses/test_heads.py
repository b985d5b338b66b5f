"""Losses that own an output layer, and the one that reads features."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lossbench.errors import CannotServe
from lossbench.objective.losses.adaptive import AdaptiveLogSoftmax
from lossbench.objective.losses.contrastive import SupervisedContrastive
from lossbench.objective.losses.embedding import ArcFace, CosFace, NormalizedSoftmax
from lossbench.objective.losses.likelihood import cross_entropy
from lossbench.objective.prediction import Prediction
from lossbench.task import Task

TWO = Task(6, ("negative", "positive"), (30, 10))
FIVE = Task(6, ("a", "b", "c", "d", "e"), (10, 50, 20, 40, 30))
GENERATOR = torch.Generator().manual_seed(0)


def random(*shape):
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


@pytest.mark.parametrize("task", [TWO, FIVE], ids=["two", "five"])
@pytest.mark.parametrize("loss", [NormalizedSoftmax(0.1), CosFace(0.2, 10), ArcFace(20, 10)], ids=lambda v: v.name)
def test_scores_are_scaled_cosines(loss, task):
    head = loss.head(task, 6).double()
    features = random(8, 6)
    w, f = head.proxies.detach().numpy(), features.numpy()
    cosine = np.array([[a @ b / np.sqrt(a @ a * (b @ b)) for b in w] for a in f])
    scores = head(features)
    assert scores.shape == (8, task.n_scores)
    np.testing.assert_allclose(scores.detach(), 10 * cosine * (2 if task.binary else 1), rtol=1e-12)


@pytest.mark.parametrize("loss", [CosFace(0.2, 10), ArcFace(20, 10)], ids=lambda v: v.name)
def test_two_classes_are_a_pair_of_opposite_proxies(loss):
    single, pair = loss.head(TWO, 6).double(), loss.head(Task(6, ("a", "b", "c"), (1, 1, 1)), 6).double()
    with torch.no_grad():
        pair.proxies = torch.nn.Parameter(torch.cat([-single.proxies, single.proxies]))
    features, target = random(8, 6), torch.arange(8) % 2
    torch.testing.assert_close(
        loss(Prediction(single(features), loss.link), target),
        loss(Prediction(pair(features), loss.link), target),
        rtol=1e-10,
        atol=1e-12,
    )
    torch.testing.assert_close(
        Prediction(single(features), loss.link).probs, Prediction(pair(features), loss.link).probs
    )


def test_features_without_direction_have_finite_slopes():
    head = CosFace().head(FIVE, 6)
    features = torch.zeros(2, 6, requires_grad=True)
    scores = head(features)
    scores.sum().backward()
    assert (scores == 0).all()
    assert features.grad.abs().max() < 1e4


def test_a_margin_of_zero_is_normalized_softmax():
    scores, target = 10 * random(8, 5).tanh(), torch.arange(8) % 5
    plain = cross_entropy()
    expected = plain(Prediction(scores, plain.link), target)
    for loss in (NormalizedSoftmax(0.1), CosFace(0, 10), ArcFace(0, 10)):
        torch.testing.assert_close(loss(Prediction(scores, loss.link), target), expected, rtol=1e-12, atol=1e-12)


def test_parallel_features_have_finite_slopes_under_arcface():
    loss = ArcFace()
    for dtype in (torch.float32, torch.float64):
        head = loss.head(FIVE, 6).to(dtype)
        features = (3 * head.proxies.detach()).requires_grad_()
        loss(Prediction(head(features), loss.link), torch.arange(5)).sum().backward()
        assert features.grad.isfinite().all()


@pytest.mark.parametrize(("cutoffs", "div_value"), [([1], 2.0), ([2], 4.0), ([1, 3], 2.0), (None, 4.0)])
def test_adaptive_is_torchs_with_classes_by_falling_frequency(cutoffs, div_value):
    loss = AdaptiveLogSoftmax(cutoffs, div_value)
    loss.bind(FIVE)
    head = loss.head(FIVE, 6).double()
    features, target = random(20, 6), torch.arange(20) % 5
    scores = head(features)
    value = loss(Prediction(scores, loss.link), target)
    by_frequency = torch.tensor([4, 0, 3, 1, 2])  # b 50, d 40, e 30, c 20, a 10
    expected = -head.layer(features, by_frequency[target]).output
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(scores.exp().sum(dim=1), torch.ones(20, dtype=torch.float64))
    torch.testing.assert_close(Prediction(scores, loss.link).log_probs, scores)


def test_adaptive_with_two_classes_keeps_one_score():
    loss = AdaptiveLogSoftmax(div_value=2)
    loss.bind(TWO)
    head = loss.head(TWO, 6).double()
    features = random(4, 6)
    assert head(features).shape == (4, 1)
    torch.testing.assert_close(
        Prediction(head(features), loss.link).log_probs, head.layer.log_prob(features), rtol=1e-12, atol=1e-12
    )


def test_adaptive_refuses_what_it_cannot_serve():
    with pytest.raises(ValueError, match=r"AdaptiveLogSoftmax needs cutoffs to be rising positive .*cutoffs=\[3, 1\]"):
        AdaptiveLogSoftmax([3, 1])
    with pytest.raises(ValueError, match="needs cutoffs to be rising positive"):
        AdaptiveLogSoftmax([])
    with pytest.raises(CannotServe, match=r"AdaptiveLogSoftmax needs cutoffs below the task's 5 classes, got .*\[5\]"):
        AdaptiveLogSoftmax([5]).bind(FIVE)
    with pytest.raises(CannotServe, match=r"needs n_features >= div_value\^1 .*n_features=3 and div_value=4"):
        AdaptiveLogSoftmax().head(FIVE, 3)


def contrastive(features, target, temperature):
    f = features / np.sqrt((features**2).sum(axis=1))[:, None]
    anchors = []
    for i in range(len(f)):
        mates = [p for p in range(len(f)) if p != i and target[p] == target[i]]
        if mates:
            below = sum(np.exp(f[i] @ f[a] / temperature) for a in range(len(f)) if a != i)
            anchors.append(np.mean([-np.log(np.exp(f[i] @ f[p] / temperature) / below) for p in mates]))
    return np.mean(anchors)


def test_supervised_contrastive_against_loops():
    """Values, and gradients in the features by the complex step."""
    features, target = random(9, 4), np.array([0, 1, 2, 0, 1, 0, 0, 1, 3])
    scores = random(9, 4)
    plain = cross_entropy()
    expected_plain = plain(Prediction(scores, plain.link), torch.tensor(target)).mean().item()
    for weight, temperature in ((0.5, 0.1), (1.0, 0.7), (0.0, 0.1)):
        loss = SupervisedContrastive(temperature, weight)
        leaf = features.clone().requires_grad_()
        value = loss(Prediction(scores, loss.link, leaf), torch.tensor(target))
        value.backward()
        expected = weight * contrastive(features.numpy(), target, temperature) + (1 - weight) * expected_plain
        assert value.item() == pytest.approx(expected, rel=1e-10)
        slopes = np.empty((9, 4))
        for place in np.ndindex(9, 4):
            moved = features.numpy().astype(complex)
            moved[place] += 1e-30j
            slopes[place] = weight * contrastive(moved, target, temperature).imag / 1e-30
        np.testing.assert_allclose(leaf.grad, slopes, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("target", [[0], [0, 1]])
def test_without_two_rows_of_a_class_only_cross_entropy_is_left(target):
    loss, plain = SupervisedContrastive(weight=0.4), cross_entropy()
    scores, features = random(len(target), 1), random(len(target), 4).requires_grad_()
    value = loss(Prediction(scores, loss.link, features), torch.tensor(target))
    value.backward()
    expected = 0.6 * plain(Prediction(scores, plain.link), torch.tensor(target)).mean()
    torch.testing.assert_close(value, expected)
    assert (features.grad == 0).all()


def test_supervised_contrastive_asks_for_features():
    loss = SupervisedContrastive()
    assert loss.needs == {"features", "two_rows_of_a_class"}
    with pytest.raises(CannotServe, match="reads features"):
        loss(Prediction(torch.zeros(2, 1), loss.link), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: NormalizedSoftmax(0), "NormalizedSoftmax needs temperature > 0, got temperature=0"),
        (lambda: CosFace(margin=-1), "CosFace needs margin >= 0, got margin=-1"),
        (lambda: CosFace(scale=0), "CosFace needs scale > 0, got scale=0"),
        (lambda: ArcFace(margin=180), "ArcFace needs 0 <= margin < 180, got margin=180"),
        (lambda: AdaptiveLogSoftmax(div_value=0.5), "AdaptiveLogSoftmax needs div_value >= 1, got div_value=0.5"),
        (lambda: SupervisedContrastive(weight=2), "SupervisedContrastive needs 0 <= weight <= 1, got weight=2"),
        (lambda: SupervisedContrastive(0), "SupervisedContrastive needs temperature > 0, got temperature=0"),
    ],
)
def test_wrong_hyperparameters_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
