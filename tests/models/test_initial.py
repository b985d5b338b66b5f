"""Initial weights depend on the seed, and on nothing else."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from lossbench.models.class_prior import ClassPrior
from lossbench.models.initial import build
from lossbench.models.linear import Linear
from lossbench.models.mlp import Mlp
from lossbench.task import Task

TASK = Task(n_features=4, class_names=("a", "b", "c"), class_counts=(50, 30, 20))
WIDE = partial(Mlp, widths=[5, 3], normalization="batch", dropout=0.1)


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_a_seed_decides_and_the_global_generator_does_not() -> None:
    first = weights(build(WIDE, TASK, seed=0))
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert torch.equal(weights(build(WIDE, TASK, seed=0)), first)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(weights(build(WIDE, TASK, seed=1)), first)


def test_initial_weights_do_not_depend_on_the_class_counts() -> None:
    other = Task(n_features=4, class_names=("a", "b", "c"), class_counts=(1, 1, 98))
    assert torch.equal(weights(build(WIDE, TASK, seed=0)), weights(build(WIDE, other, seed=0)))


def test_float64_is_float32_cast() -> None:
    single, double = build(WIDE, TASK, seed=3), build(WIDE, TASK, seed=3, dtype=torch.float64)
    assert weights(single).dtype == torch.float32
    assert weights(double).dtype == torch.float64
    assert torch.equal(weights(single).double(), weights(double))
    assert all(buffer.dtype in (torch.float64, torch.int64) for buffer in double.buffers())


def test_the_default_dtype_and_device_neither_matter_nor_change() -> None:
    first = weights(build(WIDE, TASK, seed=0))
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        again = weights(build(WIDE, TASK, seed=0))
        assert torch.get_default_dtype() == torch.float64
        assert torch.empty(1).device.type == "meta"
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    assert torch.equal(again, first)


def test_an_error_in_the_constructor_leaves_no_trace() -> None:
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match="Mlp needs widths"):
        build(partial(Mlp, widths=[0]), TASK, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_default_dtype() == torch.float32


def not_a_model(task: Task) -> dict[str, int]:
    return {"features": task.n_features}


@pytest.mark.parametrize("model", [not_a_model, partial(not_a_model)])
def test_what_is_no_module_is_refused_by_name(model: object) -> None:
    with pytest.raises(ValueError) as caught:
        build(model, TASK, seed=0)
    assert str(caught.value) == "a model needs to be a torch.nn.Module, got dict from not_a_model"


def test_the_class_prior_has_the_priors_and_no_parameters() -> None:
    for dtype, error in [(torch.float32, 1e-6), (torch.float64, 1e-15)]:
        model = build(ClassPrior, TASK, seed=0, dtype=dtype)
        scores = model(torch.randn(6, 4, dtype=dtype, generator=torch.Generator().manual_seed(0)))
        assert scores.dtype == dtype
        np.testing.assert_allclose(scores.softmax(dim=1), [[0.5, 0.3, 0.2]] * 6, atol=error)
        assert list(model.parameters()) == []
    two = ClassPrior(Task(n_features=2, class_names=("n", "p"), class_counts=(6000, 200)))
    scores = two(torch.zeros(3, 2, dtype=torch.float64))
    np.testing.assert_allclose(scores.sigmoid(), [[200 / 6200]] * 3, rtol=1e-14)


def test_a_plain_module_of_the_users_is_served() -> None:
    made = build(lambda task: nn.Sequential(nn.Linear(task.n_features, task.n_scores)), TASK, seed=0)
    # the same draws in the same order as our own linear model
    assert torch.equal(weights(made), weights(build(Linear, TASK, seed=0)))
