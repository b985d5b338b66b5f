"""What every regularizer obeys."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from lossbench.objective.links import Softmax
from lossbench.objective.prediction import Prediction
from lossbench.objective.regularizer import Regularizer, Step, weight_names
from lossbench.testing.cases import Case, stack
from lossbench.testing.checks import check, check_close, check_finite, check_gradient, check_refuses


class SmallNetwork(nn.Module):
    """Three inputs, five hidden units, and a normalisation with scale and shift."""

    def __init__(self, n_scores: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.hidden = nn.Linear(3, 5, dtype=torch.float64)
            self.norm = nn.LayerNorm(5, dtype=torch.float64)
            self.head = nn.Linear(5, n_scores, dtype=torch.float64)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        features = self.norm(torch.tanh(self.hidden(inputs)))
        return self.head(features), features


class Shrinks(nn.Module):
    """A regularizer's proximal step as a forward, so that stacking swaps its buffers."""

    def __init__(self, part: Regularizer) -> None:
        super().__init__()
        self.part = part

    def forward(self, weights: dict[str, Tensor], rates: dict[str, Any]) -> dict[str, Tensor]:
        return self.part.shrunk(weights, rates)


INPUTS = torch.randn(6, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def step_of(network: SmallNetwork, parameters: Mapping[str, Tensor], n_classes: int) -> Step:
    """Return the step of a network called with these parameters; its loss is softmax cross-entropy."""
    target = torch.arange(len(INPUTS)) % n_classes
    weights = dict(parameters)

    def predict(inputs: Tensor) -> Prediction:
        scores, features = functional_call(network, weights, (inputs,))
        return Prediction(scores, Softmax(), features)

    def total(inputs: Tensor) -> Tensor:
        return -predict(inputs).log_probs.gather(1, target[:, None]).sum()

    prediction = predict(INPUTS)
    return Step(
        weights={name: weights[name] for name in weight_names(network)},
        inputs=INPUTS,
        features=prediction.features,
        prediction=prediction,
        target=target,
        input_gradient=lambda: grad(total)(INPUTS),
    )


def at(epoch: int, regularizer: Regularizer) -> Regularizer:
    """Return the regularizer, set to an epoch."""
    regularizer.at_epoch(epoch)
    return regularizer


def scalar_and_differentiable(case: Case) -> None:
    regularizer = at(3, case.bound())
    network = SmallNetwork(case.task.n_scores)
    names = list(weight_names(network))
    rest = {k: v.detach() for k, v in network.named_parameters() if k not in names}

    def penalty(*weights: Tensor) -> Tensor:
        parameters = rest | dict(zip(names, weights, strict=True))
        return regularizer.penalty(step_of(network, parameters, case.task.n_classes))

    weights = [network.get_parameter(name).detach().clone().requires_grad_() for name in names]
    value = penalty(*weights)
    check(value.shape == (), f"the penalty has the shape {tuple(value.shape)}, expected a scalar")
    check_finite(value, "penalty")
    check(value != 0, "the penalty of random weights is 0")
    if regularizer.acts_after_step:  # reported, since the proximal step after it does the work
        check(not value.requires_grad, "acts_after_step=True, and its penalty is differentiated too")
    else:
        check_gradient(penalty, weights, f"in {', '.join(names)}")
    check_refuses(lambda: regularizer.bind(case.task), RuntimeError, "bound", "bound twice")


def finite_at_zero_weights(case: Case) -> None:
    regularizer = at(3, case.bound())
    network = SmallNetwork(case.task.n_scores)
    parameters = {k: torch.zeros_like(v).requires_grad_() for k, v in network.named_parameters()}
    value = regularizer.penalty(step_of(network, parameters, case.task.n_classes))
    if value.requires_grad:
        value.backward()
    check_finite(value, "penalty of weights of 0")
    for name, parameter in parameters.items():
        if parameter.grad is not None:
            check_finite(parameter.grad, f"gradient in {name} at weights of 0")


def strength_multiplies(case: Case) -> None:
    network = SmallNetwork(case.task.n_scores)
    step = step_of(network, dict(network.named_parameters()), case.task.n_classes)
    one, none = (at(3, case.bound(strength=strength)) for strength in (0.3, 0))
    expected = one.present_strength * one.measure(step)
    check_close(one.penalty(step), expected, "penalty, against strength * measure", rtol=1e-12)
    check(none.penalty(step) == 0, f"the penalty with strength=0 is {none.penalty(step):g}")
    for wrong in (-1.0, "much", True, float("inf")):
        rule = r"needs .*strength.*got strength="
        check_refuses(partial(case.build, strength=wrong), ValueError, rule, f"strength={wrong!r}")


def schedules(case: Case) -> None:
    expected: dict[str, list[float]] = {"constant": [1, 1, 1, 1], "warm_up": [0, 0.5, 1, 1], "cosine": [1, 0.5, 0, 0]}
    for schedule, factors in expected.items():
        regularizer = case.bound(strength=0.3, schedule=schedule, until=4)
        for epoch, factor in zip((0, 2, 4, 7), factors, strict=True):
            value = at(epoch, regularizer).present_strength.item()
            check(
                math.isclose(value, 0.3 * factor, rel_tol=1e-12, abs_tol=1e-15),
                f"strength=.3, schedule={schedule}, until=4 is {value:g} in epoch {epoch}, expected {0.3 * factor:g}",
            )
    wrongs: tuple[dict[str, Any], ...] = (
        {"schedule": "linear"}, {"until": 0}, {"until": 2.0}, {"until": True}, {"schedule": "cosine", "until": None}
    )  # fmt: skip
    for wrong in wrongs:
        rule = r"needs .*(schedule|until).*got (schedule|until)="
        check_refuses(partial(case.build, **wrong), ValueError, rule, str(wrong))


def shrinks_towards_zero_after_a_step(case: Case) -> None:
    regularizer = at(3, case.bound(strength=0.3))
    weights = {k: v.detach() for k, v in SmallNetwork(case.task.n_scores).named_parameters() if v.ndim == 2}
    shrunk = regularizer.shrunk(weights, dict.fromkeys(weights, 0.5))
    if not regularizer.acts_after_step:
        check(shrunk == {}, f"acts_after_step=False, and {list(shrunk)} move after a step")
        return
    check(shrunk.keys() == weights.keys(), f"acts_after_step=True moves {list(shrunk)}, expected {list(weights)}")
    for name, weight in weights.items():
        check((shrunk[name] * weight >= 0).all(), f"a step turns the sign of a weight in {name}")
        check((shrunk[name].abs() < weight.abs()).all(), f"a step leaves a weight in {name} as large as it was")
    everything = regularizer.shrunk(weights, dict.fromkeys(weights, 1e4))
    for name, weight in everything.items():
        check((weight == 0).all(), f"a step at the rate 10,000 leaves {weight.abs().max():g} in {name}, expected 0")


def state_dict_round_trip(case: Case) -> None:
    varied, fresh = at(5, case.varied()), case.bound()
    fresh.load_state_dict(varied.state_dict())
    network = SmallNetwork(case.task.n_scores)
    step = step_of(network, dict(network.named_parameters()), case.task.n_classes)
    check_close(fresh.penalty(step), varied.penalty(step), "penalty after loading another's state")


def stacked_equals_a_loop(case: Case) -> None:
    pair = [at(3, case.bound()), at(5, case.varied())]
    networks = [SmallNetwork(case.task.n_scores) for _ in pair]
    for parameter in networks[1].parameters():
        parameter.data.mul_(1.3)
    parameters, buffers, base = stack(list(pair))
    stacked_networks, _ = stack_module_state(list(networks))
    n_classes = case.task.n_classes

    def penalty(p: dict[str, Tensor], b: dict[str, Tensor], n: dict[str, Tensor]) -> Tensor:
        result: Tensor = functional_call(base, (p, b), (step_of(networks[0], n, n_classes),))
        return result

    stacked = vmap(penalty)(parameters, buffers, stacked_networks)
    slopes = vmap(grad(penalty, argnums=2))(parameters, buffers, stacked_networks)
    for i, (regularizer, network) in enumerate(zip(pair, networks, strict=True)):
        parameters_of_one = dict(network.named_parameters())
        alone = regularizer.penalty(step_of(network, parameters_of_one, n_classes))
        check_close(stacked[i], alone, f"penalty of replicate {i}", rtol=1e-12, atol=1e-12)
        if not alone.requires_grad:
            check(all((slope == 0).all() for slope in slopes.values()), f"gradient of replicate {i} only when stacked")
            continue
        alone_slopes = torch.autograd.grad(alone, list(parameters_of_one.values()), materialize_grads=True)
        for name, slope in zip(parameters_of_one, alone_slopes, strict=True):
            check_close(slopes[name][i], slope, f"gradient in {name} of replicate {i}", rtol=1e-12, atol=1e-12)
    _shrinks_stacked(pair, base, buffers, {k: stacked_networks[k].detach() for k in weight_names(networks[0])})


def _shrinks_stacked(
    pair: list[Regularizer], base: nn.Module, buffers: dict[str, Tensor], weights: dict[str, Tensor]
) -> None:
    rates = dict.fromkeys(weights, torch.tensor([0.1, 0.2], dtype=torch.float64))
    assert isinstance(base, Regularizer)
    moved = vmap(lambda b, w, r: functional_call(Shrinks(base), {f"part.{k}": v for k, v in b.items()}, (w, r)))(
        buffers, weights, rates
    )
    for i, regularizer in enumerate(pair):
        alone = regularizer.shrunk({k: v[i] for k, v in weights.items()}, {k: r[i].item() for k, r in rates.items()})
        check(alone.keys() == moved.keys(), f"replicate {i} moves {list(alone)}, stacked {list(moved)}")
        for name, weight in alone.items():
            check_close(moved[name][i], weight, f"{name} of replicate {i} after a step", rtol=1e-12, atol=1e-12)
