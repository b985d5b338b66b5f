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


class Shrinks(nn.Module):
    """A regularizer's proximal step as a forward, so that stacking swaps its buffers."""

    def __init__(self, part):
        super().__init__()
        self.part = part

    def forward(self, weights, rates):
        return self.part.shrunk(weights, rates)


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


def at(epoch, regularizer):
    regularizer.at_epoch(epoch)
    return regularizer


def test_scalar_and_differentiable(regularizer_case):
    regularizer = at(3, regularizer_case.bound())
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
    if regularizer.acts_after_step:  # reported, since the proximal step after it does the work
        assert not value.requires_grad
    else:
        assert torch.autograd.gradcheck(penalty, weights)
    with pytest.raises(RuntimeError, match="bound"):
        regularizer.bind(regularizer_case.task)


def test_finite_at_zero_weights(regularizer_case):
    regularizer = at(3, regularizer_case.bound())
    network = Network(regularizer_case.task.n_scores)
    parameters = {k: torch.zeros_like(v).requires_grad_() for k, v in network.named_parameters()}
    value = regularizer.penalty(step_of(network, parameters, regularizer_case.task.n_classes))
    if value.requires_grad:
        value.backward()
    assert value.isfinite()
    for parameter in parameters.values():
        assert parameter.grad is None or parameter.grad.isfinite().all()


def test_strength_multiplies(regularizer_case):
    network = Network(regularizer_case.task.n_scores)
    step = step_of(network, dict(network.named_parameters()), regularizer_case.task.n_classes)
    one, none = (at(3, regularizer_case.bound(strength=strength)) for strength in (0.3, 0))
    torch.testing.assert_close(one.penalty(step), one.present_strength * one.measure(step), rtol=1e-12, atol=0)
    assert none.penalty(step) == 0
    for wrong in (-1.0, "much", True, float("inf")):
        with pytest.raises(ValueError, match=r"needs .*strength.*got strength="):
            regularizer_case.build(strength=wrong)


def test_schedules(regularizer_case):
    expected = {"constant": [1, 1, 1, 1], "warm_up": [0, 0.5, 1, 1], "cosine": [1, 0.5, 0, 0]}
    for schedule, factors in expected.items():
        regularizer = regularizer_case.bound(strength=0.3, schedule=schedule, until=4)
        found = [at(epoch, regularizer).present_strength.item() for epoch in (0, 2, 4, 7)]
        assert found == pytest.approx([0.3 * factor for factor in factors], abs=1e-15)
    for wrong in (
        {"schedule": "linear"}, {"until": 0}, {"until": 2.0}, {"until": True}, {"schedule": "cosine", "until": None}
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"needs .*(schedule|until).*got (schedule|until)="):
            regularizer_case.build(**wrong)


def test_shrinks_towards_zero_after_a_step(regularizer_case):
    regularizer = at(3, regularizer_case.bound(strength=0.3))
    weights = {k: v.detach() for k, v in Network(regularizer_case.task.n_scores).named_parameters() if v.ndim == 2}
    shrunk = regularizer.shrunk(weights, dict.fromkeys(weights, 0.5))
    if not regularizer.acts_after_step:
        assert shrunk == {}
        return
    assert shrunk.keys() == weights.keys()
    for name, weight in weights.items():
        assert (shrunk[name] * weight >= 0).all()
        assert (shrunk[name].abs() < weight.abs()).all()
    everything = regularizer.shrunk(weights, dict.fromkeys(weights, 1e4))
    assert all((weight == 0).all() for weight in everything.values())


def test_state_dict_round_trip(regularizer_case):
    varied, fresh = at(5, regularizer_case.varied()), regularizer_case.bound()
    fresh.load_state_dict(varied.state_dict())
    network = Network(regularizer_case.task.n_scores)
    step = step_of(network, dict(network.named_parameters()), regularizer_case.task.n_classes)
    assert torch.equal(fresh.penalty(step), varied.penalty(step))


def test_stacked_equals_a_loop(regularizer_case, copies):
    pair = [at(3, regularizer_case.bound()), at(5, regularizer_case.varied())]
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
        if not alone.requires_grad:
            assert all((slope == 0).all() for slope in slopes.values())
            continue
        alone_slopes = torch.autograd.grad(alone, list(own.values()), materialize_grads=True)
        for name, slope in zip(own, alone_slopes, strict=True):
            torch.testing.assert_close(slopes[name][i], slope, rtol=1e-12, atol=1e-12)
    weights = {name: stacked_networks[name].detach() for name in weight_names(networks[0])}
    rates = dict.fromkeys(weights, torch.tensor([0.1, 0.2], dtype=torch.float64))
    moved = vmap(lambda b, w, r: functional_call(Shrinks(base), {f"part.{k}": v for k, v in b.items()}, (w, r)))(
        buffers, weights, rates
    )
    for i, regularizer in enumerate(pair):
        alone = regularizer.shrunk({k: v[i] for k, v in weights.items()}, {k: r[i].item() for k, r in rates.items()})
        assert alone.keys() == moved.keys()
        for name, weight in alone.items():
            torch.testing.assert_close(moved[name][i], weight, rtol=1e-12, atol=1e-12)
