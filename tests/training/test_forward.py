"""Scores and features of our networks and of a user's plain module, and the losses that a plain module cannot serve."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lossbench.errors import CannotServe
from lossbench.models.forward import propagate, scores_of
from lossbench.models.linear import Linear
from lossbench.models.mlp import Mlp
from lossbench.objective.links import Softmax
from lossbench.objective.losses.external import External
from lossbench.objective.losses.likelihood import cross_entropy
from lossbench.objective.regularizer import Regularizer
from lossbench.task import Task

TASK = Task(2, ("a", "b"), (3, 1))


class Plain(nn.Sequential):
    def __init__(self, task: Task) -> None:
        super().__init__(nn.Linear(task.n_features, 3), nn.Dropout(0.5), nn.Linear(3, task.n_scores))


class OwnHead(External):
    """A loss that brings an output layer: scores fall with the distance to the origin."""

    def __init__(self) -> None:
        super().__init__(cross_entropy().function, reads="logits", target="index")

    def head(self, task: Task, n_features: int) -> nn.Module:
        return nn.Linear(n_features, task.n_scores, bias=False)


class NeedsFeatures(Regularizer):
    needs = frozenset({"features"})

    def measure(self, step):
        return step.features.square().mean()


def test_a_network_gives_features_and_a_plain_module_scores_alone() -> None:
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    ours = Mlp(TASK, widths=(3,)).eval()
    scores, features = propagate(ours, x)
    assert features.shape == (4, 3)
    assert torch.equal(scores, ours(x))
    plain = Plain(TASK).eval()
    scores, features = propagate(plain, x)
    assert features is None
    assert torch.equal(scores, plain(x))


def features_loss() -> External:
    return External(lambda features, target: features.mean(dim=1), reads="features", target="index", link=Softmax())


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"loss": features_loss}, "<lambda> needs features, and Plain returns scores alone"),
        (
            {"regularizers": {"spread": NeedsFeatures(0.1)}},
            "NeedsFeatures needs features, and Plain returns scores alone",
        ),
        ({"loss": OwnHead}, "CrossEntropyLoss brings an output layer, and Plain has no head to replace"),
    ],
)
def test_a_plain_module_is_refused_by_name(make_job, rings, parts: dict, message: str) -> None:
    parts = {key: value() if callable(value) else value for key, value in parts.items()}
    with pytest.raises(CannotServe, match=f"^{message}$"):
        make_job(model=Plain, **parts)


def test_features_reach_loss_and_regularizer(make_job, train) -> None:
    fit = train(make_job(regularizers={"spread": NeedsFeatures(0.1)}, epochs=1))
    assert fit.history[0]["train/spread"] > 0


def test_a_loss_replaces_the_head_with_weights_of_the_seed(make_job) -> None:
    before = torch.get_rng_state()
    heads = [make_job(loss=OwnHead(), seed=seed).network.head for seed in (0, 0, 1)]
    assert torch.equal(before, torch.get_rng_state())
    assert heads[0].bias is None
    assert heads[0].weight.dtype == torch.float64
    assert torch.equal(heads[0].weight, heads[1].weight)
    assert not torch.equal(heads[0].weight, heads[2].weight)


def test_scores_of_all_rows_do_not_depend_on_the_block(rings) -> None:
    network = Mlp(rings.task, widths=(3,), dropout=0.5, normalization="batch").double()
    x = rings.train.x
    whole = scores_of(network, x)
    assert whole.shape == (len(x), 1)
    assert whole.dtype == np.float64
    assert np.allclose(scores_of(network, x, rows=7), whole, rtol=0, atol=1e-14)
    assert network.training, "the mode is as it was"
    network.eval()
    scores_of(network, x)
    assert not network.training


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("widths", [(3,), (5, 4), (40, 3)])
def test_scores_are_the_networks_own_whatever_layout_computes_them(rings, widths, activation) -> None:
    network = Mlp(rings.task, widths=widths, activation=activation, dropout=0.5).double().eval()
    x = rings.train.x
    with torch.no_grad():
        expected = network(torch.as_tensor(x)).numpy()
    scores = scores_of(network, x, rows=100)
    assert scores.flags.c_contiguous
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-13)


def test_scores_of_a_network_with_features_of_its_own_are_its_own(rings) -> None:
    class Doubled(Mlp):
        def features(self, x, masks=None):
            return 2 * super().features(x, masks)

    network = Doubled(rings.task, widths=(3,)).double().eval()
    with torch.no_grad():
        expected = network(torch.as_tensor(rings.train.x)).numpy()
    np.testing.assert_allclose(scores_of(network, rings.train.x), expected, rtol=0, atol=1e-13)


def test_scores_of_a_network_whose_weights_a_hook_computes_are_its_own(rings) -> None:
    network = Mlp(rings.task, widths=(3,)).double().eval()
    layer = network.body[0]
    layer.register_forward_pre_hook(lambda module, given: (2 * given[0],))
    with torch.no_grad():
        expected = network(torch.as_tensor(rings.train.x)).numpy()
    np.testing.assert_allclose(scores_of(network, rings.train.x), expected, rtol=0, atol=1e-13)


def test_scores_take_the_dtype_of_the_weights_whatever_comes_first_in_the_state() -> None:
    network = nn.Sequential()
    network.register_buffer("steps", torch.zeros((), dtype=torch.int64))
    network.append(nn.Linear(2, 1).double())
    x = np.array([[0.25, -0.5]])
    expected = x @ network[0].weight.detach().numpy().T + network[0].bias.detach().numpy()
    assert scores_of(network, x) == pytest.approx(expected, abs=1e-15)


def test_a_linear_model_has_its_inputs_as_features() -> None:
    x = torch.ones(1, 2)
    assert torch.equal(propagate(Linear(TASK), x)[1], x)
