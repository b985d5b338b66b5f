"""Losses that become one another at the ends of their settings, and settings that are refused by name."""

from __future__ import annotations

import pytest
import torch

from lossbench.objective.losses.asymmetric import Asymmetric, AsymmetricSingleLabel
from lossbench.objective.losses.distance import huber, smooth_l1
from lossbench.objective.losses.divergence import BiTempered
from lossbench.objective.losses.focus import DualFocal, Focal
from lossbench.objective.losses.imbalance import BalancedSoftmax, Ldam, LogitAdjusted, VectorScaling
from lossbench.objective.losses.likelihood import Brier, Poly1, bce_with_logits, cross_entropy
from lossbench.objective.losses.margin import Hinge, SquaredHinge, multi_margin
from lossbench.objective.losses.robust import GeneralizedCrossEntropy, SymmetricCrossEntropy
from lossbench.objective.prediction import Prediction
from lossbench.task import Task

SKEWED = {2: Task(2, ("a", "b"), (90, 10)), 4: Task(2, ("a", "b", "c", "d"), (40, 30, 20, 10))}
EVEN = {2: Task(2, ("a", "b"), (5, 5)), 4: Task(2, ("a", "b", "c", "d"), (5, 5, 5, 5))}


def rows(loss, task):
    loss.bind(task)
    generator = torch.Generator().manual_seed(1)
    scores = 2 * torch.randn(12, task.n_scores, generator=generator, dtype=torch.float64)
    return loss(Prediction(scores, loss.link), torch.arange(12) % task.n_classes)


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize(
    ("one", "other", "tasks"),
    [
        (BalancedSoftmax, LogitAdjusted, SKEWED),
        (BalancedSoftmax, cross_entropy, EVEN),
        (lambda: LogitAdjusted(2), cross_entropy, EVEN),
        (lambda: LogitAdjusted(0), cross_entropy, SKEWED),
        (lambda: VectorScaling(0, 1.5), lambda: LogitAdjusted(1.5), SKEWED),
        (lambda: VectorScaling(2, 2), cross_entropy, EVEN),
        (lambda: Ldam(0), cross_entropy, SKEWED),
        (lambda: DualFocal(0), cross_entropy, SKEWED),
        (lambda: Asymmetric(0, 0, 0), bce_with_logits, SKEWED),
        (lambda: AsymmetricSingleLabel(0, 0, 0.1), lambda: cross_entropy(0.1), SKEWED),
        (lambda: AsymmetricSingleLabel(2, 4, 0), lambda: Focal(2), SKEWED),
        (lambda: Poly1(0), cross_entropy, SKEWED),
        (lambda: BiTempered(1, 1), cross_entropy, SKEWED),
        (lambda: SymmetricCrossEntropy(1, 0), cross_entropy, SKEWED),
    ],
)
def test_are_equal(one, other, tasks, k):
    torch.testing.assert_close(rows(one(), tasks[k]), rows(other(), tasks[k]), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("k", [2, 4])
def test_are_multiples(k):
    task = SKEWED[k]
    columns = 1 if k == 2 else k
    brier = rows(Brier(), task)
    torch.testing.assert_close(rows(huber(1), task), brier / 2 / columns, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(rows(smooth_l1(2), task), brier / 4 / columns, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(rows(huber(0.2), task), rows(smooth_l1(0.2), task) * 0.2)
    small = GeneralizedCrossEntropy(1e-8)
    torch.testing.assert_close(rows(small, task), rows(cross_entropy(), task), rtol=1e-6, atol=1e-9)
    if k == 2:
        torch.testing.assert_close(rows(multi_margin(1, 0.7), task), rows(Hinge(0.7), task) / 2)
        torch.testing.assert_close(rows(multi_margin(2), task), rows(SquaredHinge(), task) / 2)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LogitAdjusted(tau=-1), "LogitAdjusted needs tau >= 0, got tau=-1"),
        (lambda: Ldam(max_m=-1), "Ldam needs max_m >= 0, got max_m=-1"),
        (lambda: Ldam(scale=0), "Ldam needs scale > 0, got scale=0"),
        (lambda: VectorScaling(gamma=-1), "VectorScaling needs gamma >= 0, got gamma=-1"),
        (lambda: VectorScaling(tau="1"), "VectorScaling needs tau to be a finite number, got tau='1'"),
        (lambda: DualFocal(gamma=-1), "DualFocal needs gamma >= 0, got gamma=-1"),
        (lambda: Asymmetric(gamma_neg=-1), "Asymmetric needs gamma_neg >= 0"),
        (lambda: Asymmetric(gamma_pos=-1), "Asymmetric needs gamma_pos >= 0"),
        (lambda: Asymmetric(clip=1), "Asymmetric needs 0 <= clip < 1, got clip=1"),
        (lambda: AsymmetricSingleLabel(eps=1), "AsymmetricSingleLabel needs 0 <= eps < 1, got eps=1"),
        (lambda: Poly1(epsilon=-1.5), "Poly1 needs epsilon >= -1, got epsilon=-1.5"),
        (lambda: BiTempered(t1=1.2), "BiTempered needs 0 <= t1 <= 1, got t1=1.2"),
        (lambda: BiTempered(t2=0.5), "BiTempered needs t2 >= 1, got t2=0.5"),
        (lambda: GeneralizedCrossEntropy(q=0), "GeneralizedCrossEntropy needs 0 < q <= 1, got q=0"),
        (lambda: SymmetricCrossEntropy(alpha=0), "SymmetricCrossEntropy needs alpha > 0, got alpha=0"),
        (lambda: SymmetricCrossEntropy(beta=-1), "SymmetricCrossEntropy needs beta >= 0, got beta=-1"),
        (lambda: Hinge(margin=0), "Hinge needs margin > 0, got margin=0"),
        (lambda: SquaredHinge(margin=True), "SquaredHinge needs margin to be a finite number, got margin=True"),
        (lambda: multi_margin(p=3), "multi_margin needs p to be 1 or 2, got p=3"),
        (lambda: multi_margin(margin=0), "multi_margin needs margin > 0, got margin=0"),
        (lambda: smooth_l1(beta=0), "smooth_l1 needs beta > 0, got beta=0"),
        (lambda: huber(delta=-1), "huber needs delta > 0, got delta=-1"),
    ],
)
def test_wrong_hyperparameters_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
