"""Sparsity figures against a plain numpy count, and that penalties move them as they claim."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lossbench.evaluation.sparsity import measure_sparsity
from lossbench.models.class_prior import ClassPrior
from lossbench.models.mlp import Mlp
from lossbench.objective.regularizer import Regularizer, Step
from lossbench.objective.regularizers.groups import GroupLasso
from lossbench.objective.regularizers.weights import L1
from lossbench.task import Task

TASK = Task(4, ("a", "b"), (5, 5))


def test_equals_a_count_by_numpy() -> None:
    network = Mlp(TASK, widths=(6, 5), normalization="layer")
    matrices = [layer.weight for layer in network.modules() if isinstance(layer, nn.Linear)]
    random = np.random.default_rng(0)
    for matrix in matrices:
        values = random.normal(size=matrix.shape) * random.choice([1, 1e-4, 0], size=matrix.shape)
        matrix.data = torch.tensor(values)
    matrices[0].data[:, 2] = 1e-9
    matrices[2].data.zero_()
    arrays = [matrix.detach().numpy() for matrix in matrices]
    total = sum(array.size for array in arrays)
    near = [np.abs(array) <= 1e-3 * np.abs(array).max() for array in arrays]
    found = measure_sparsity(network)
    assert found["weights/near_zero"] == pytest.approx(sum(array.sum() for array in near) / total)
    assert found["weights/zero"] == pytest.approx(sum((array == 0).sum() for array in arrays) / total)
    assert found["weights/norm"] == pytest.approx(np.linalg.norm(np.concatenate([a.ravel() for a in arrays])))
    assert found["weights/features_used"] == 3
    assert 0 < found["weights/zero"] < found["weights/near_zero"] < 1


def test_biases_and_normalisation_are_no_weights() -> None:
    network = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 1))
    nn.init.constant_(network[1].weight, 2.0)
    nn.init.zeros_(network[1].bias)
    nn.init.zeros_(network[0].weight)
    assert measure_sparsity(network) == {
        "weights/near_zero": 0,
        "weights/zero": 0,
        "weights/norm": 4,
        "weights/features_used": 4,
    }


def test_says_nothing_that_it_does_not_know() -> None:
    assert measure_sparsity(ClassPrior(TASK)) == {}
    assert "weights/features_used" not in measure_sparsity(nn.Sequential(nn.Conv1d(1, 2, 3), nn.Linear(2, 1)))


@pytest.mark.parametrize("part", [L1(0.2, proximal=True), GroupLasso(0.1, proximal=True), L1(0.2), GroupLasso(0.1)])
def test_only_proximal_steps_make_true_zeros(part: Regularizer) -> None:
    """One of four inputs tells the classes apart; gradient descent on squared error finds it."""
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    y = 2 * x[:, 1:2]
    layer = nn.Linear(4, 1, bias=False)
    nn.init.ones_(layer.weight)
    for _ in range(300):
        penalty = part.penalty(Step({"weight": layer.weight}, x, None, None, None))
        ((layer(x) - y).square().mean() / 2 + penalty).backward()
        with torch.no_grad():
            layer.weight -= 0.1 * layer.weight.grad
            for moved in part.shrunk({"weight": layer.weight}, {"weight": 0.1}).values():
                layer.weight.copy_(moved)
        layer.weight.grad = None
    found = measure_sparsity(layer)
    assert found["weights/zero"] == (0.75 if part.acts_after_step else 0)
    assert not part.acts_after_step or found["weights/features_used"] == 1
