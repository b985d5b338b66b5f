"""Losses of whole batches: batches at the edge, and the parameters that ascend."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lossbench.errors import CannotServe
from lossbench.objective.losses.overlap import Dice, FocalTversky, Mcc, SoftF1, Tversky
from lossbench.objective.losses.ranking import Aucm, AveragePrecision, PairwiseAuc
from lossbench.objective.objective import Objective
from lossbench.objective.prediction import Prediction
from lossbench.objective.weighting import Balanced, NoWeighting
from lossbench.task import Task

TWO = Task(2, ("negative", "positive"), (30, 10))
FOUR = Task(2, ("a", "b", "c", "d"), (4, 3, 2, 1))
RANDOM = np.random.default_rng(0)


def value(loss, scores, target):
    return loss(Prediction(torch.as_tensor(scores, dtype=torch.float64), loss.link), torch.as_tensor(target))


def bound(loss, task):
    loss.bind(task)
    return loss


@pytest.mark.parametrize("surrogate", ["squared", "hinge", "squared_hinge", "logistic"])
def test_a_constant_on_all_scores_changes_no_ranking_loss(surrogate):
    scores, target = RANDOM.standard_normal((20, 1)), np.arange(20) % 2
    for loss in (PairwiseAuc(surrogate), AveragePrecision()):
        assert value(loss, scores + 7, target).item() == pytest.approx(value(loss, scores, target).item(), rel=1e-9)


def test_float32_scores_far_from_zero_keep_their_pairs():
    scores = torch.tensor([[1000.25], [1000.0], [999.0]])
    loss = PairwiseAuc()
    assert loss(Prediction(scores, loss.link), torch.tensor([1, 0, 0])).item() == pytest.approx(0.75**2 / 2, rel=1e-6)


LOSSES = [SoftF1, Dice, Tversky, FocalTversky, PairwiseAuc, Aucm, AveragePrecision]


def test_matthews_without_a_prediction_of_a_class_is_zero():
    loss = Mcc()
    leaf = torch.full((4, 1), -1e3, requires_grad=True)
    lost = loss(Prediction(leaf, loss.link), torch.tensor([0, 1, 0, 1]))
    lost.backward()
    assert lost.item() == 1
    assert leaf.grad.isfinite().all()


def test_perfect_overlap_moves_nothing():
    loss = FocalTversky()
    leaf = torch.tensor([[-1e3], [1e3]], requires_grad=True)
    lost = loss(Prediction(leaf, loss.link), torch.tensor([0, 1]))
    lost.backward()
    assert lost.item() == 0
    assert (leaf.grad == 0).all()


@pytest.mark.parametrize("kind", [*LOSSES, Mcc])
def test_whole_batches_take_no_weighting(kind):
    with pytest.raises(CannotServe, match=f"{kind.__name__} judges whole batches and takes no weighting"):
        Objective(kind(), Balanced(), {}, TWO)
    assert "both_classes" in Objective(kind(), NoWeighting(), {}, TWO).needs


def test_aucm_slopes_and_ascent():
    loss = bound(Aucm(margin=1), TWO)
    for name, start in (("a", 0.6), ("b", 0.2), ("alpha", 0.25)):
        torch.nn.init.constant_(loss.get_parameter(name), start)
    scores = torch.tensor([[1.0], [0.5], [-1.0]], dtype=torch.float64)
    h = torch.sigmoid(scores)[:, 0].numpy()
    value(loss, scores, [1, 0, 0]).backward()
    assert loss.a.grad.item() == pytest.approx(2 * (0.6 - h[0]))
    assert loss.b.grad.item() == pytest.approx(2 * (0.2 - h[1:].mean()))
    # descending on alpha's gradient climbs: it is minus the derivative
    assert loss.alpha.grad.item() == pytest.approx(-(2 * (1 + h[1:].mean() - h[0]) - 2 * 0.25))


def test_aucm_alpha_stays_non_negative_and_finds_the_saddle():
    """With the scores fixed the saddle is a = E+[h], b = E-[h], alpha = margin + E-[h] - E+[h], at least 0."""
    for scale, margin in ((1.0, 1.0), (6.0, 0.1)):
        objective = Objective(Aucm(margin), NoWeighting(), {}, TWO)
        assert objective.acts_after_step
        loss = objective.loss
        optimizer = torch.optim.SGD(loss.parameters(), lr=0.1)
        scores = scale * torch.tensor([[1.0], [0.5], [-1.0]], dtype=torch.float64)
        for _ in range(300):
            optimizer.zero_grad()
            value(loss, scores, [1, 0, 0]).backward()
            optimizer.step()
            objective.after_step({}, {})
            assert loss.alpha >= 0
        h = torch.sigmoid(scores)[:, 0]
        assert loss.a.item() == pytest.approx(h[0].item(), abs=1e-6)
        assert loss.b.item() == pytest.approx(h[1:].mean().item(), abs=1e-6)
        assert loss.alpha.item() == pytest.approx(max(0, margin + (h[1:].mean() - h[0]).item()), abs=1e-6)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Dice(smoothing=-1), "Dice needs smoothing >= 0, got smoothing=-1"),
        (lambda: Dice(squared=1), "Dice needs squared to be true or false, got squared=1"),
        (lambda: Tversky(alpha=-0.1), "Tversky needs alpha >= 0, got alpha=-0.1"),
        (lambda: Tversky(beta=0), "Tversky needs beta > 0, got beta=0"),
        (lambda: FocalTversky(gamma=0), "FocalTversky needs gamma > 0, got gamma=0"),
        (lambda: PairwiseAuc("step"), "PairwiseAuc needs surrogate to be one of squared, hinge"),
        (lambda: PairwiseAuc(average="mean"), "PairwiseAuc needs average to be one of micro, macro"),
        (lambda: PairwiseAuc(margin=0), "PairwiseAuc needs margin > 0, got margin=0"),
        (lambda: Aucm(margin=-1), "Aucm needs margin > 0, got margin=-1"),
        (lambda: AveragePrecision(0), "AveragePrecision needs temperature > 0, got temperature=0"),
    ],
)
def test_wrong_hyperparameters_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
