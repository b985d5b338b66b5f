"""Penalties in training: weight decay is L2 or is not, proximal steps make zeros, schedules follow the epochs."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from lossbench.evaluation.sparsity import measure_sparsity
from lossbench.models.linear import Linear
from lossbench.objective.regularizers.groups import GroupLasso
from lossbench.objective.regularizers.inputs import InputGradient
from lossbench.objective.regularizers.outputs import FeatureL2
from lossbench.objective.regularizers.weights import L1, L2
from lossbench.training.selection import Rule

DESCENT = partial(torch.optim.SGD, lr=0.1)


@pytest.mark.parametrize(
    ("optimizer", "equal"),
    [
        (partial(torch.optim.SGD, lr=0.05, momentum=0.9), True),
        (partial(torch.optim.Adam, lr=0.02), True),
        (partial(torch.optim.RMSprop, lr=0.005), True),
        (partial(torch.optim.AdamW, lr=0.02), False),
    ],
    ids=["sgd", "adam", "rmsprop", "adamw"],
)
def test_where_weight_decay_is_an_l2_penalty(make_job, train, state, optimizer, equal):
    states = []
    for regularizers, decay in (({"l2": L2(0.03)}, 0.0), ({}, 0.03)):
        job = make_job(regularizers=regularizers, optimizer=partial(optimizer, weight_decay=decay))
        train(job)
        states.append({name: value for name, value in state(job).items() if name.startswith("network.")})
    gap = max(float((states[0][name] - states[1][name]).abs().max()) for name in states[0])
    assert (gap < 1e-9) if equal else (gap > 1e-2)


def test_proximal_steps_make_zeros_that_gradients_do_not(make_job, train):
    found = {}
    for proximal in (False, True):
        job = make_job(regularizers={"l1": L1(0.05, proximal=proximal)}, optimizer=DESCENT, epochs=10, rule=Rule(None))
        history = train(job).history
        assert all(row["train/l1"] > 0 for row in history)
        assert all(row["train/objective"] == pytest.approx(row["train/loss"] + row["train/l1"]) for row in history)
        found[proximal] = measure_sparsity(job.network)
    assert found[False]["weights/zero"] == 0
    assert 0.1 < found[True]["weights/zero"] < 1, found


def test_a_group_lasso_drops_whole_inputs(make_job, train, iris):
    regularizers = {"group_lasso": GroupLasso(0.22, proximal=True)}
    strong = make_job(iris, regularizers=regularizers, model=Linear, optimizer=DESCENT, epochs=100, rule=Rule(None))
    train(strong)
    first = next(strong.network.parameters())
    assert measure_sparsity(strong.network)["weights/features_used"] == int((first != 0).any(dim=0).sum())
    assert 0 < measure_sparsity(strong.network)["weights/features_used"] < 4


def test_a_schedule_follows_the_epochs(make_job, train):
    parts = {"warm": L2(0.1, schedule="warm_up", until=2), "cosine": L2(0.1, schedule="cosine", until=2)}
    history = train(make_job(regularizers={**parts, "l2": L2(0.1)}, epochs=4)).history
    for name, factors in (("warm", (0, 0.5, 1, 1)), ("cosine", (1, 0.5, 0, 0))):
        for row, factor in zip(history, factors, strict=True):
            assert row[f"train/{name}"] == pytest.approx(factor * row["train/l2"], abs=1e-12)


def test_penalties_on_features_and_input_gradients_reach_them(make_job, train):
    found = {}
    for strength in (0.0, 1.0):
        parts = {"feature_l2": FeatureL2(strength), "input_gradient": InputGradient(strength)}
        job = make_job(regularizers=parts, epochs=3)
        train(job)
        x = torch.as_tensor(job.dataset.train.x).requires_grad_()
        features = job.network.features(x)
        slope = torch.autograd.grad(job.network.head(features).sum(), x)[0]
        found[strength] = (features.norm(dim=1).mean().item(), slope.square().sum(dim=1).mean().item())
    assert all(penalised < 0.7 * free for penalised, free in zip(found[1.0], found[0.0], strict=True))
