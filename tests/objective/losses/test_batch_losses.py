"""Losses of whole batches: the metrics that they soften, batches that lack a class, and the parameters that ascend."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score, matthews_corrcoef, roc_auc_score

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


@pytest.mark.parametrize("task", [TWO, FOUR], ids=["two", "four"])
def test_sure_scores_give_the_metrics(task):
    target = np.arange(40) % task.n_classes
    said = RANDOM.permutation(target)
    sure = np.eye(task.n_classes)[said] * 200 - 100
    sure = sure[:, 1:] - sure[:, :1] if task.binary else sure
    average = "binary" if task.binary else "macro"
    f1 = f1_score(target, said, average=average)
    assert value(SoftF1(), sure, target).item() == pytest.approx(1 - f1, abs=1e-12)
    assert value(Dice(), sure, target).item() == pytest.approx(1 - f1, abs=1e-12)
    assert value(Tversky(0.5, 0.5), sure, target).item() == pytest.approx(1 - f1, abs=1e-12)
    assert value(FocalTversky(0.5, 0.5, 1), sure, target).item() == pytest.approx(1 - f1, abs=1e-12)
    assert value(Mcc(), sure, target).item() == pytest.approx(1 - matthews_corrcoef(target, said), abs=1e-12)


def test_far_scores_give_the_ranking_metrics():
    target = np.arange(60) % 2
    rank = RANDOM.permutation(60)[:, None].astype(float)
    soft_ap = value(AveragePrecision(temperature=0.01), rank, target).item()
    assert soft_ap == pytest.approx(1 - average_precision_score(target, rank[:, 0]), abs=1e-12)
    # the hinge of a tiny margin over that margin counts wrong pairs by their distance; its slope counts them
    leaf = torch.tensor(rank, requires_grad=True)
    value(PairwiseAuc("hinge", margin=0.5), leaf, target).backward()
    wrong = -leaf.grad[torch.tensor(target) == 1].sum().item()
    assert wrong == pytest.approx(1 - roc_auc_score(target, rank[:, 0]), abs=1e-12)


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


@pytest.mark.parametrize("kind", LOSSES)
def test_a_class_without_rows_is_left_out_of_the_mean(kind):
    """Class d has no row; the mean is that of the other columns as problems of their own."""
    settings = {"average": "macro"} if kind in (PairwiseAuc, AveragePrecision) else {}
    loss, one = bound(kind(**settings), FOUR), bound(kind(), TWO)
    scores, target = RANDOM.standard_normal((12, 4)), np.arange(12) % 3
    log_probs = torch.tensor(scores).log_softmax(dim=1)
    expected = []
    for k in range(3):
        if loss.link.name == "softmax":  # the column's probability as a score of its own
            column = (log_probs[:, k] - torch.log1p(-log_probs[:, k].exp()))[:, None]
        else:
            column = scores[:, [k]]
        expected.append(value(one, column, (target == k) * 1).item())
    assert value(loss, scores, target).item() == pytest.approx(np.mean(expected), rel=1e-9)


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
