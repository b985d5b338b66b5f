"""Links against SciPy, and the views of a prediction."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import torch

from lossbench.errors import CannotServe
from lossbench.objective.links import Sigmoid, Softmax
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
