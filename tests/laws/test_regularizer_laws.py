"""What every regularizer obeys."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap

from lossbench.objective.links import Softmax
from lossbench.objective.prediction import Prediction
from lossbench.objective.regularizer import Step, weight_names


class Network(nn.Module):
    """Three inputs, five hidden units, and a normalisation with scale and shift."""

    def __init__(self, n_scores):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.hidden = nn.Linear(3, 5, dtype=torch.float64)
            self.norm = nn.LayerNorm(5, dtype=torch.float64)
            self.head = nn.Linear(5, n_scores, dtype=torch.float64)

    def forward(self, inputs):
        features = self.norm(torch.tanh(self.hidden(inputs)))
        return self.head(features), features


INPUTS = torch.randn(6, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def step_of(network, parameters, n_classes, weights=None):
    """Return the step of a network called with these parameters; its loss is softmax cross-entropy."""
    target = torch.arange(len(INPUTS)) % n_classes

    def predict(inputs):
        scores, features = functional_call(network, parameters, (inputs,))
        return Prediction(scores, Softmax(), features)

    def total(inputs):
        return -predict(inputs).log_probs.gather(1, target[:, None]).sum()

    prediction = predict(INPUTS)
    return Step(
        weights={name: parameters[name] for name in weight_names(network)},
        inputs=INPUTS,
        features=prediction.features,
        prediction=prediction,
        target=target,
        input_gradient=lambda: grad(total)(INPUTS),
    )


def test_scalar_and_differentiable(regularizer_case):
    regularizer = regularizer_case.bound()
    network = Network(regularizer_case.task.n_scores)
    names = list(weight_names(network))
    rest = {k: v.detach() for k, v in network.named_parameters() if k not in names}

    def penalty(*weights):
        parameters = rest | dict(zip(names, weights, strict=True))
        return regularizer.penalty(step_of(network, parameters, regularizer_case.task.n_classes))

    weights = [network.get_parameter(name).detach().clone().requires_grad_() for name in names]
    value = penalty(*weights)
    assert value.shape == ()
    assert value.isfinite()
    assert value != 0
    assert torch.autograd.gradcheck(penalty, weights)
    with pytest.raises(RuntimeError, match="bound"):
        regularizer.bind(regularizer_case.task)


def test_finite_at_zero_weights(regularizer_case):
    regularizer = regularizer_case.bound()
    network = Network(regularizer_case.task.n_scores)
    parameters = {k: torch.zeros_like(v).requires_grad_() for k, v in network.named_parameters()}
    value = regularizer.penalty(step_of(network, parameters, regularizer_case.task.n_classes))
    value.backward()
    assert value.isfinite()
    for parameter in parameters.values():
        assert parameter.grad is None or parameter.grad.isfinite().all()


def test_strength_multiplies(regularizer_case):
    network = Network(regularizer_case.task.n_scores)
    step = step_of(network, dict(network.named_parameters()), regularizer_case.task.n_classes)
    one, none = regularizer_case.bound(strength=0.3), regularizer_case.bound(strength=0)
    torch.testing.assert_close(one.penalty(step), 0.3 * one.measure(step), rtol=1e-12, atol=0)
    assert none.penalty(step) == 0
    for wrong in (-1.0, "much", True, float("inf")):
        with pytest.raises(ValueError, match=r"needs .*strength.*got strength="):
            regularizer_case.build(strength=wrong)


def test_stacked_equals_a_loop(regularizer_case, copies):
    pair = [regularizer_case.bound(), regularizer_case.varied()]
    networks = [Network(regularizer_case.task.n_scores) for _ in pair]
    for parameter in networks[1].parameters():
        parameter.data.mul_(1.3)
    parameters, buffers, base = copies(pair)
    stacked_networks, _ = stack_module_state(networks)
    n_classes = regularizer_case.task.n_classes

    def penalty(p, b, n):
        return functional_call(base, (p, b), (step_of(networks[0], n, n_classes),))

    stacked = vmap(penalty)(parameters, buffers, stacked_networks)
    slopes = vmap(grad(penalty, argnums=2))(parameters, buffers, stacked_networks)
    for i, (regularizer, network) in enumerate(zip(pair, networks, strict=True)):
        own = dict(network.named_parameters())
        alone = regularizer.penalty(step_of(network, own, n_classes))
        torch.testing.assert_close(stacked[i], alone, rtol=1e-12, atol=1e-12)
        alone_slopes = torch.autograd.grad(alone, list(own.values()), materialize_grads=True)
        for name, slope in zip(own, alone_slopes, strict=True):
            torch.testing.assert_close(slopes[name][i], slope, rtol=1e-12, atol=1e-12)
