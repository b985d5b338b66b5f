"""What every model obeys, ours and a person's plain module alike."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lossbench.models.forward import propagate
from lossbench.models.network import Network
from lossbench.testing.cases import Case
from lossbench.testing.checks import check, check_close, check_finite
from lossbench.training.stacked.network import StackedNetwork


def gives_raw_scores(case: Case) -> None:
    for dtype in (torch.float32, torch.float64):
        scores = _scores(case.network(dtype=dtype).eval(), _inputs(case, dtype))
        expected = (6, case.task.n_scores)
        rule = f"{case.task.n_classes} classes have {case.task.n_scores} score{'s' * (case.task.n_scores > 1)} per row"
        check(
            tuple(scores.shape) == expected, f"6 rows give the shape {tuple(scores.shape)}, expected {expected}: {rule}"
        )
        check(scores.dtype == dtype, f"scores are {scores.dtype} in a {dtype} run")
        check_finite(scores, f"scores of {dtype} inputs")


def rows_do_not_mix(case: Case) -> None:
    network, inputs = case.network().eval(), _inputs(case)
    alone = torch.cat([_scores(network, row[None]) for row in inputs])
    check_close(_scores(network, inputs), alone, "scores in a batch, against the row alone", rtol=1e-9, atol=1e-12)


def starts_by_its_seed_alone(case: Case) -> None:
    first = case.network(seed=3)
    torch.rand(7)  # moves the global generator, which must not matter
    again, other = case.network(seed=3), case.network(seed=4)
    for name, parameter in first.named_parameters():
        check_close(again.get_parameter(name), parameter.detach(), f"{name} of seed 3, made again")
    drawn = [torch.equal(other.get_parameter(name), parameter) for name, parameter in first.named_parameters()]
    check(not drawn or not all(drawn), "seeds 3 and 4 start at the same weights")


def depends_on_its_arguments_alone(case: Case) -> None:
    inputs = _inputs(case)
    for mode in ("training", "evaluation"):
        network = case.network().train(mode == "training")
        message = (
            f"scores of the same rows in {mode}, asked again (lossbench.models.dropout draws from the run's stream)"
        )
        check_close(
            _scores(case.network().train(mode == "training"), inputs), _scores(network, inputs).detach(), message
        )


def every_parameter_is_trained(case: Case) -> None:
    network = case.network().train()
    trained = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    scores = _scores(network, _inputs(case))
    if not trained:
        check(not scores.requires_grad, "nothing is trained, and scores have a gradient")
        return
    check(scores.requires_grad, f"scores have no gradient, and {', '.join(trained)} wait for one")
    scores.square().sum().backward()
    for name, parameter in trained.items():
        check(parameter.grad is not None, f"{name} is a parameter that scores do not depend on")
        if parameter.grad is not None:
            check_finite(parameter.grad, f"gradient in {name}")


def state_dict_round_trip(case: Case) -> None:
    one, other = case.network(seed=1).eval(), case.network(seed=2).eval()
    other.load_state_dict(one.state_dict())
    inputs = _inputs(case)
    check_close(_scores(other, inputs), _scores(one, inputs), "scores after loading another's state")


def stacked_equals_a_loop_where_it_runs(case: Case) -> None:
    networks = [case.network(seed=seed).eval() for seed in (1, 2)]
    inputs = torch.stack([_inputs(case), 2 * _inputs(case)])
    try:
        stacked, _ = StackedNetwork(networks)(inputs.transpose(1, 2))
    except Exception:  # whatever cannot be stacked is trained alone, and the run's tag says why
        return
    for number, network in enumerate(networks):
        alone = _scores(network, inputs[number])
        check_close(stacked[number], alone, f"stacked scores of replicate {number}", rtol=1e-9, atol=1e-12)


def _inputs(case: Case, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(6, case.task.n_features, generator=generator, dtype=torch.float64).to(dtype)


def _scores(network: nn.Module, inputs: Tensor) -> Tensor:
    masks = None
    if isinstance(network, Network) and network.training:
        masks = network.draw_masks(len(inputs), torch.Generator().manual_seed(6), inputs.dtype)
    return propagate(network, inputs, masks)[0]
