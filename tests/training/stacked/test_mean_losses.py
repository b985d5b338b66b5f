"""The mean losses of several kinds at once: each is its own, and so are its derivatives."""

from __future__ import annotations

import torch
from torch import Tensor

from lossbench.objective.links import Softmax
from lossbench.objective.loss import Loss
from lossbench.objective.losses.likelihood import cross_entropy
from lossbench.objective.objective import Objective
from lossbench.objective.prediction import Prediction
from lossbench.objective.regularizers.inputs import InputGradient
from lossbench.objective.weighting import NoWeighting
from lossbench.task import Task
from lossbench.training.stacked.objective import StackedObjective, mean_losses

TASK = Task(1, ("a", "b"), (1, 1))


class Steep(Loss):
    """Its second derivative at a score of 0 is infinite."""

    link = Softmax()

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        return prediction.scores.squeeze(-1).abs() ** 1.5


def test_a_second_derivative_goes_through_no_other_kinds_loss() -> None:
    penalised = Objective(cross_entropy(), NoWeighting(), {"gradient": InputGradient(0.1)}, TASK)
    kinds = [StackedObjective([penalised]), StackedObjective([Objective(Steep(), NoWeighting(), {}, TASK)])]
    x = torch.zeros(2, 3, 1, requires_grad=True)
    target = torch.tensor([[0, 1, 1], [1, 0, 1]])
    seen = [(x[kind : kind + 1] * 2, None, target[kind : kind + 1], None) for kind in range(2)]
    found = mean_losses(kinds, seen)
    assert [tuple(loss.shape) for loss in found] == [(1,), (1,)]
    (gradient,) = torch.autograd.grad(found[0].sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), x)
    assert second.isfinite().all()
    assert torch.allclose(gradient[0], torch.tensor([[1.0], [-1.0], [-1.0]]) / 3)
    assert (gradient[1] == 0).all()
