"""Links against SciPy, and the views of a prediction."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import torch

from lossbench.errors import CannotServe
from lossbench.objective.links import Sigmoid, Softmax, Sparsemax, TemperedSoftmax
from lossbench.objective.prediction import Prediction

SCORES = torch.tensor([[0.3, -2.0, 1.5], [4.0, 4.0, -4.0], [0.0, 0.0, 0.0]], dtype=torch.float64)


@pytest.mark.parametrize("link", [Sigmoid(), Softmax()])
def test_two_classes_are_the_sigmoid(link):
    scores = SCORES[:, :1]
    expected = scipy.special.expit(scores.numpy())
    prediction = Prediction(scores, link)
    np.testing.assert_allclose(prediction.positive_prob, expected, rtol=1e-14)
    np.testing.assert_allclose(prediction.probs, np.hstack([1 - expected, expected]), rtol=1e-14)
    np.testing.assert_allclose(prediction.log_probs, np.log(np.hstack([1 - expected, expected])), rtol=1e-13)
    assert torch.equal(prediction.logits, torch.cat([torch.zeros(3, 1), scores], dim=1))


def test_softmax_of_three_classes():
    prediction = Prediction(SCORES, Softmax())
    np.testing.assert_allclose(prediction.probs, scipy.special.softmax(SCORES.numpy(), axis=1), rtol=1e-14)
    np.testing.assert_allclose(prediction.log_probs, scipy.special.log_softmax(SCORES.numpy(), axis=1), rtol=1e-13)
    assert prediction.logits is SCORES
    assert torch.equal(prediction.positive_prob, prediction.probs)


def test_sigmoid_of_three_classes_is_one_versus_rest():
    prediction = Prediction(SCORES, Sigmoid())
    columns = scipy.special.expit(SCORES.numpy())
    np.testing.assert_allclose(prediction.positive_prob, columns, rtol=1e-14)
    np.testing.assert_allclose(prediction.probs, columns / columns.sum(axis=1, keepdims=True), rtol=1e-14)
    np.testing.assert_allclose(prediction.log_probs, np.log(prediction.probs.numpy()), rtol=1e-13)


@pytest.mark.parametrize("link", [Sigmoid(), Softmax()])
@pytest.mark.parametrize("n_scores", [1, 3])
def test_saturated_scores_stay_finite(link, n_scores):
    scores = torch.tensor([[1e4] * n_scores, [-1e4] * n_scores])
    scores[:, -1] *= -1
    prediction = Prediction(scores, link)
    assert prediction.log_probs.isfinite().all()
    torch.testing.assert_close(prediction.probs.sum(dim=-1), torch.ones(2))


def test_views_are_computed_once():
    prediction = Prediction(SCORES, Softmax())
    assert prediction.probs is prediction.probs


def test_features_that_are_not_there_are_refused_by_name():
    assert Prediction(SCORES, Softmax(), features=SCORES).features is SCORES
    with pytest.raises(CannotServe, match="features"):
        _ = Prediction(SCORES, Softmax()).features


@pytest.mark.parametrize("t", [1, 1 + 1e-9, 1.4, 2, 5])
@pytest.mark.parametrize("n_scores", [1, 3, 50])
def test_tempered_softmax_is_converged(t, n_scores):
    generator = torch.Generator().manual_seed(0)
    for size in (0.1, 3, 300):
        scores = size * torch.randn(20, n_scores, generator=generator, dtype=torch.float64)
        probs = TemperedSoftmax(torch.tensor(t, dtype=torch.float64)).probs(scores)
        torch.testing.assert_close(probs.sum(dim=-1), torch.ones(20, dtype=torch.float64), rtol=0, atol=1e-12)
        if t == 1:
            torch.testing.assert_close(probs, Softmax().probs(scores), rtol=1e-11, atol=1e-15)


def test_tempered_softmax_has_exact_first_and_second_derivatives():
    """For t = 2 and two classes p = 1 / (1 - s + lambda) in closed form: 1/p - 1/(1 - p) = -s."""
    scores = torch.tensor([[0.7]], dtype=torch.float64, requires_grad=True)
    p = TemperedSoftmax(torch.tensor(2.0)).positive_prob(scores)
    (slope,) = torch.autograd.grad(p.sum(), scores, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), scores)
    root = (0.7 - 2 + np.sqrt(0.7**2 + 4)) / 1.4
    w = 1 / root**2 + 1 / (1 - root) ** 2
    assert p.item() == pytest.approx(root, rel=1e-12)
    assert slope.item() == pytest.approx(1 / w, rel=1e-12)
    assert bend.item() == pytest.approx((2 / root**3 - 2 / (1 - root) ** 3) / w**3, rel=1e-10)


def test_sparsemax_is_the_nearest_point_of_the_simplex():
    generator = torch.Generator().manual_seed(0)
    scores = 1.5 * torch.randn(30, 6, generator=generator, dtype=torch.float64)
    probs = Sparsemax().probs(scores)
    torch.testing.assert_close(probs.sum(dim=1), torch.ones(30, dtype=torch.float64))
    assert (probs >= 0).all()
    assert 0 < (probs == 0).double().mean() < 1
    # nearest: z - p is constant where p > 0, and no larger elsewhere
    apart = scores - probs
    highest = apart.amax(dim=1, keepdim=True)
    assert ((apart - highest).abs()[probs > 0] < 1e-12).all()
    two = torch.tensor([[-3.0], [-0.5], [0.2], [4.0]])
    torch.testing.assert_close(Sparsemax().positive_prob(two), ((1 + two) / 2).clamp(0, 1))
