"""The posterior: the issue's figures, independent solvers, saturation and what is undone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize, minimize_scalar, nnls

from lossbench.errors import CannotServe
from lossbench.objective.losses.asymmetric import Asymmetric
from lossbench.objective.losses.external import External
from lossbench.objective.losses.focus import Focal
from lossbench.objective.losses.imbalance import LogitAdjusted
from lossbench.objective.losses.likelihood import Brier, bce_with_logits, cross_entropy
from lossbench.objective.posterior import _simplex, recover_posterior
from lossbench.objective.prediction import Prediction
from lossbench.task import Task

TWO = Task(2, ("negative", "positive"), (6000, 200))
FOUR = Task(2, ("a", "b", "c", "d"), (40, 30, 20, 10))
PRIOR = 0.0323


def bound(loss, task):
    loss.bind(task)
    return loss


def bce():
    return External(torch.nn.BCELoss(reduction="none"), "positive_prob", "indicator", proper=True, posterior="gradient")


def risk(loss, scores, truth):
    rows = torch.as_tensor(np.asarray(scores, dtype=float)).reshape(1, -1).repeat(len(truth), 1)
    values = loss(Prediction(rows, loss.link), torch.arange(len(truth)))
    return float(values @ torch.tensor(list(truth), dtype=torch.float64))


@pytest.mark.parametrize(
    ("loss", "raw"),
    [
        (Focal(gamma=2, alpha=0.75), 0.298),
        (bce_with_logits(pos_weight=30), 0.500),
        (cross_entropy(label_smoothing=0.1), 0.079),
        (cross_entropy(), 0.0323),
        (LogitAdjusted(), 0.500),
        (Asymmetric(), 0.389),
    ],
    ids=["focal", "pos_weight", "label_smoothing", "cross_entropy", "logit_adjusted", "asymmetric"],
)
def test_raw_sigmoid_is_off_and_the_posterior_is_not(loss, raw):
    loss = bound(loss, TWO)
    best = minimize_scalar(lambda s: risk(loss, [s], [1 - PRIOR, PRIOR]), bounds=(-10, 10), options={"xatol": 1e-10}).x
    assert 1 / (1 + np.exp(-best)) == pytest.approx(raw, abs=1e-3)
    found = recover_posterior(loss, torch.tensor([[best]]))
    assert found.dtype == torch.float64
    assert found[0, 1].item() == pytest.approx(PRIOR, abs=1e-3)


def test_four_classes_with_weighted_focal():
    loss = bound(Focal(gamma=2, alpha=[0.1, 0.2, 0.3, 0.4]), FOUR)
    truth = np.array([0.8, 0.12, 0.05, 0.03])
    best = minimize(lambda s: risk(loss, s, truth), np.zeros(4), method="BFGS", tol=1e-9).x
    assert np.abs(np.exp(best) / np.exp(best).sum() - truth).max() > 0.1
    np.testing.assert_allclose(recover_posterior(loss, torch.tensor(best[None]))[0], truth, atol=1e-3)


@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_simplex_against_nnls(n_classes):
    """Inside, on faces and at corners, where slopes contradict each other as those of no loss do."""
    generator = torch.Generator().manual_seed(n_classes)
    slopes = torch.randn(200, n_classes, 4, generator=generator, dtype=torch.float64)
    near = torch.full((200, n_classes), 1 / n_classes, dtype=torch.float64)
    found = _simplex(slopes, near)
    for row, value in zip(slopes.numpy(), found.numpy(), strict=True):
        scaled = row / np.abs(row).max()
        x, _ = nnls(np.vstack([scaled.T, np.ones(n_classes)]), np.r_[np.zeros(4), 1])
        np.testing.assert_allclose(scaled.T @ value, scaled.T @ (x / x.sum()), atol=1e-10)
        if n_classes <= 4:  # else the minimiser is no single point
            np.testing.assert_allclose(value, x / x.sum(), atol=1e-9)
    np.testing.assert_allclose(found.sum(dim=1), 1)
    assert (found >= 0).all()


@pytest.mark.parametrize("loss", [cross_entropy, bce, Brier])
@pytest.mark.parametrize("n_scores", [1, 4])
def test_a_proper_loss_gives_its_link_back(loss, n_scores):
    loss = bound(loss(), TWO if n_scores == 1 else FOUR)
    generator = torch.Generator().manual_seed(0)
    scores = 4 * torch.randn(50, n_scores, generator=generator)
    expected = loss.link.probs(scores.double())
    torch.testing.assert_close(recover_posterior(loss, scores), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("loss", [cross_entropy, bce, Brier, Focal])
@pytest.mark.parametrize("n_scores", [1, 4])
def test_saturated_scores_stay_finite(loss, n_scores):
    loss = bound(loss(), TWO if n_scores == 1 else FOUR)
    last = torch.tensor([-1e3, -100.0, -40.0, 40.0, 100.0, 1e3], dtype=torch.float64)
    scores = -last[:, None].repeat(1, n_scores)
    scores[:, -1] = last
    found = recover_posterior(loss, scores)
    assert found.isfinite().all()
    torch.testing.assert_close(found.sum(dim=1), torch.ones(6, dtype=torch.float64))
    assert (found[:3, -1] < 0.01).all()
    assert (found[3:, -1] > 0.99).all()


def test_small_probabilities_keep_their_digits():
    found = recover_posterior(bound(cross_entropy(), TWO), torch.tensor([[-60.0], [60.0]]))
    assert found[0, 1].item() == pytest.approx(np.exp(-60.0), rel=1e-9)
    assert found[1, 0].item() == pytest.approx(np.exp(-60.0), rel=1e-9)


def test_undoes_weights_and_sampling_rates():
    loss = bound(cross_entropy(), TWO)
    # odds seen in training: 1 x 30 (weights) x 2/.5 (sampler) for a score of log 120
    score = torch.tensor([[np.log(120.0)]])
    weights, rates = torch.tensor([1.0, 30.0]), torch.tensor([0.5, 2.0])
    found = recover_posterior(loss, score, weights, rates)
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.5]], dtype=torch.float64))
    only_weights = recover_posterior(loss, score, class_weights=weights)
    torch.testing.assert_close(only_weights[0, 1], torch.tensor(0.8, dtype=torch.float64))


def test_no_rows():
    assert recover_posterior(bound(cross_entropy(), TWO), torch.empty(0, 1)).shape == (0, 2)
    assert recover_posterior(bound(cross_entropy(), FOUR), torch.empty(0, 4)).shape == (0, 4)


def test_chunks_do_not_show(monkeypatch):
    loss = bound(Focal(), FOUR)
    scores = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    whole = recover_posterior(loss, scores)
    monkeypatch.setattr("lossbench.objective.posterior._CHUNK", 3)
    torch.testing.assert_close(recover_posterior(loss, scores), whole, rtol=1e-12, atol=1e-14)


def test_an_ignored_class_has_no_posterior():
    loss = bound(cross_entropy(ignore_index=1), FOUR)
    with pytest.raises(CannotServe, match="CrossEntropyLoss has no posterior from its gradient"):
        recover_posterior(loss, torch.zeros(1, 4))
