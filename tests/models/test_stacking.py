"""Networks are functional: many of one shape, stacked under vmap, equal a loop over them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from lossbench import randomness
from lossbench.models.class_prior import ClassPrior
from lossbench.models.initial import build
from lossbench.models.linear import Linear
from lossbench.models.mlp import Mlp
from lossbench.task import Task

TASKS = {
    "two classes": Task(n_features=3, class_names=("n", "p"), class_counts=(30, 10)),
    "three": Task(n_features=3, class_names=("a", "b", "c"), class_counts=(10, 20, 30)),
}
MODELS: dict[str, Callable[[Task], nn.Module]] = {
    "linear": Linear,
    "mlp": lambda task: Mlp(task, widths=(6, 4)),
    "dropout": lambda task: Mlp(task, widths=(6, 4), activation="gelu", dropout=0.4),
    "batch": lambda task: Mlp(task, widths=(6, 4), activation="tanh", normalization="batch"),
    "layer": lambda task: Mlp(task, widths=(6, 4), activation="silu", dropout=0.2, normalization="layer"),
}
SEEDS, STEPS, N = 4, 3, 9


def masks_of(model: Any, generator: torch.Generator) -> list[Tensor]:
    return model.draw_masks(N, generator, torch.float64)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
@pytest.mark.parametrize("kind", MODELS)
def test_stacked_networks_train_as_a_loop_does(task: Task, kind: str) -> None:
    models = [build(MODELS[kind], task, seed, torch.float64) for seed in range(SEEDS)]
    x = torch.randn(SEEDS, STEPS, N, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = torch.randn(SEEDS, STEPS, N, task.n_scores, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    params, buffers = stack_module_state(models)
    params = {name: value.detach() for name, value in params.items()}
    skeleton = copy.deepcopy(models[0]).to("meta")

    def loss(parameters: Any, state: Any, inputs: Tensor, wanted: Tensor, masks: list[Tensor]) -> Tensor:
        return (functional_call(skeleton, (parameters, state), (inputs, masks)) - wanted).square().mean()

    def mean_loss_of(model: nn.Module, inputs: Tensor, wanted: Tensor, masks: list[Tensor]) -> Tensor:
        return (model(inputs, masks) - wanted).square().mean()

    generators = [[randomness.generator(seed, "dropout") for seed in range(SEEDS)] for _ in range(2)]
    for step in range(STEPS):
        drawn = [masks_of(model, generator) for model, generator in zip(models, generators[0], strict=True)]
        stacked = [torch.stack(layer) for layer in zip(*drawn, strict=True)]
        gradient = vmap(grad(loss))(params, buffers, x[:, step], y[:, step], stacked)
        params = {name: value - 0.1 * gradient[name] for name, value in params.items()}

        for seed, model in enumerate(models):
            model.zero_grad()
            mean_loss_of(model, x[seed, step], y[seed, step], masks_of(model, generators[1][seed])).backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter -= 0.1 * parameter.grad

    for seed, model in enumerate(models):
        for name, value in model.named_parameters():
            torch.testing.assert_close(params[name][seed], value.detach(), rtol=1e-12, atol=1e-13)
        for name, value in model.named_buffers():
            torch.testing.assert_close(buffers[name][seed], value, rtol=1e-12, atol=1e-13)
    if kind == "batch":
        assert buffers["body.1.num_batches_tracked"].tolist() == [STEPS] * SEEDS
        assert not torch.equal(buffers["body.1.running_mean"][0], buffers["body.1.running_mean"][1])

    skeleton.eval()
    scores = vmap(lambda p, b, inputs: functional_call(skeleton, (p, b), (inputs,)))(params, buffers, x[:, 0])
    for seed, model in enumerate(models):
        torch.testing.assert_close(scores[seed], model.eval()(x[seed, 0]).detach(), rtol=1e-12, atol=1e-13)


def test_class_priors_of_different_tasks_stack() -> None:
    tasks = [Task(n_features=3, class_names=("n", "p"), class_counts=(30, k)) for k in (1, 10, 30)]
    models = [ClassPrior(task) for task in tasks]
    _, buffers = stack_module_state(models)
    x = torch.zeros(3, 5, 3, dtype=torch.float64)
    scores = vmap(lambda b, inputs: functional_call(models[0], b, (inputs,)))(buffers, x)
    assert torch.equal(scores, torch.stack([model(x[0]) for model in models]))
