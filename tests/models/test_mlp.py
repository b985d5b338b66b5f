"""Mlp and Linear: the functions that they compute, against NumPy, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit
from scipy.stats import norm
from torch import nn

from lossbench.models.initial import build
from lossbench.models.linear import Linear
from lossbench.models.mlp import Mlp
from lossbench.task import Task

TWO = Task(n_features=2, class_names=("negative", "positive"), class_counts=(30, 10))
THREE = Task(n_features=4, class_names=("a", "b", "c"), class_counts=(10, 20, 30))

ACTIVATIONS = {
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "elu": lambda z: np.where(z > 0, z, np.expm1(z)),
    "gelu": lambda z: z * norm.cdf(z),
    "silu": lambda z: z * expit(z),
    "tanh": np.tanh,
}


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().numpy()


@pytest.mark.parametrize("task", [TWO, THREE], ids=["two classes", "three"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_scores_equal_a_numpy_loop(task: Task, activation: str) -> None:
    model = Mlp(task, widths=(5, 3), activation=activation).double()
    x = torch.randn(7, task.n_features, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    hidden = array(x)
    layers = [layer for layer in model.body if isinstance(layer, nn.Linear)]
    for layer in layers:
        hidden = ACTIVATIONS[activation](hidden @ array(layer.weight).T + array(layer.bias))
    np.testing.assert_allclose(array(model.features(x)), hidden, atol=1e-12)
    scores = hidden @ array(model.head.weight).T + array(model.head.bias)
    np.testing.assert_allclose(array(model(x)), scores, atol=1e-12)
    assert model(x).shape == (7, task.n_scores)
    assert model.n_features == 3


def test_layer_normalization_stands_between_weights_and_activation() -> None:
    model = Mlp(TWO, widths=(5,), normalization="layer").double()
    x = torch.randn(7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    linear = model.body[0]
    hidden = array(x) @ array(linear.weight).T + array(linear.bias)
    centred = hidden - hidden.mean(axis=1, keepdims=True)
    normed = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(array(model.features(x)), np.maximum(normed, 0), atol=1e-12)


def test_batch_normalization_uses_the_batch_in_training_and_running_statistics_after() -> None:
    model = Mlp(TWO, widths=(5,), normalization="batch").double()
    x = torch.randn(7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    linear = model.body[0]
    hidden = array(x) @ array(linear.weight).T + array(linear.bias)
    mean, variance = hidden.mean(axis=0), hidden.var(axis=0)
    in_training = np.maximum((hidden - mean) / np.sqrt(variance + 1e-5), 0)
    np.testing.assert_allclose(array(model.features(x)), in_training, atol=1e-12)
    running_mean, running_variance = 0.1 * mean, 0.9 + 0.1 * variance * 7 / 6
    after = np.maximum((hidden - running_mean) / np.sqrt(running_variance + 1e-5), 0)
    np.testing.assert_allclose(array(model.eval().features(x)), after, atol=1e-12)


def test_dropout_layers_follow_each_activation_only_where_asked() -> None:
    kinds = [type(layer).__name__ for layer in Mlp(TWO, widths=(4, 3), dropout=0.5, normalization="batch").body]
    assert kinds == 2 * ["Linear", "BatchNorm1d", "ReLU", "Dropout"]
    assert [type(layer).__name__ for layer in Mlp(TWO, widths=(4,)).body] == ["Linear", "ReLU"]


def test_the_features_of_a_linear_model_are_its_inputs() -> None:
    model = Linear(THREE)
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model.features(x), x)
    np.testing.assert_allclose(
        array(model(x)), array(x) @ array(model.head.weight).T + array(model.head.bias), atol=1e-6
    )
    assert (model.n_features, model.draw_masks(6, torch.Generator(), torch.float32)) == (4, [])
    assert Linear(TWO)(torch.zeros(3, 2)).shape == (3, 1)


def test_another_head_sees_the_features() -> None:
    model = build(lambda task: Mlp(task, widths=(5,)), TWO, seed=0)
    model.head = nn.Identity()
    assert model(torch.zeros(3, 2)).shape == (3, model.n_features)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widths": []}, "Mlp needs widths of integers >= 1, at least one (Linear has none), got widths=[]"),
        ({"widths": 8}, "Mlp needs widths of integers >= 1, at least one (Linear has none), got widths=8"),
        (
            {"widths": "88"},
            "Mlp needs widths of integers >= 1, at least one (Linear has none), got widths='88'",
        ),
        (
            {"widths": [4.0]},
            "Mlp needs widths of integers >= 1, at least one (Linear has none), got widths=[4.0]",
        ),
        (
            {"widths": [True]},
            "Mlp needs widths of integers >= 1, at least one (Linear has none), got widths=[True]",
        ),
        (
            {"activation": "ReLU"},
            "Mlp needs an activation of relu, leaky_relu, elu, gelu, silu, tanh, got activation='ReLU'",
        ),
        (
            {"activation": None},
            "Mlp needs an activation of relu, leaky_relu, elu, gelu, silu, tanh, got activation=None",
        ),
        ({"dropout": 1.0}, "Mlp needs 0 <= dropout < 1, got dropout=1.0"),
        ({"dropout": -0.1}, "Mlp needs 0 <= dropout < 1, got dropout=-0.1"),
        ({"dropout": float("nan")}, "Mlp needs 0 <= dropout < 1, got dropout=nan"),
        ({"dropout": False}, "Mlp needs 0 <= dropout < 1, got dropout=False"),
        (
            {"normalization": "group"},
            "Mlp needs a normalization of batch, layer or null, got normalization='group'",
        ),
        (
            {"normalization": True},
            "Mlp needs a normalization of batch, layer or null, got normalization=True",
        ),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Mlp(TWO, **arguments)
    assert str(caught.value) == message
