"""Networks that a person builds of our parts and torch's layers: stacked as they train alone, or refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn

from lossbench.config.compose import compose
from lossbench.models.dropout import Dropout
from lossbench.models.network import Network
from lossbench.objective.regularizers.weights import L1
from lossbench.runs.prepare import prepare_job
from lossbench.task import Task
from lossbench.training.fit import Fit
from lossbench.training.job import Job
from lossbench.training.settings import FitSettings
from lossbench.training.stacked import eligible
from lossbench.training.stacked.engine import fit as fit_stack

MakeJob = Callable[..., Job]
Train = Callable[[Job], Fit]


def unequal_dropout(task: Task) -> Network:
    first, second = nn.Linear(task.n_features, 6), nn.Linear(6, 4)
    return Network(nn.Sequential(first, Dropout(0.0, 6), second, nn.ReLU(), Dropout(0.5, 4)), nn.Linear(4, 1))


def partly_frozen(task: Task) -> Network:
    first = nn.Linear(task.n_features, 4)
    first.weight.requires_grad_(False)
    return Network(nn.Sequential(first, nn.ReLU()), nn.Linear(4, 1))


def with_layer(task: Task, layer: Callable[[], nn.Module]) -> Network:
    return Network(nn.Sequential(nn.Linear(task.n_features, 4), layer()), nn.Linear(4, task.n_scores))


def same_both_ways(make: Callable[[int], Job], train: Train) -> None:
    alone, together = ([make(seed) for seed in (0, 1)] for _ in range(2))
    found = fit_stack(together, [0, 0])
    for one, other, fitted in zip(alone, together, found, strict=True):
        assert isinstance(fitted, Fit)
        assert fitted.history[-1]["val/loss"] == pytest.approx(train(one).history[-1]["val/loss"], abs=1e-9)
        for name, tensor in one.network.state_dict().items():
            torch.testing.assert_close(other.network.state_dict()[name], tensor, rtol=0, atol=1e-10)


def test_dropout_layers_keep_their_own_masks(make_job: MakeJob, train: Train) -> None:
    same_both_ways(lambda seed: make_job(model=unequal_dropout, seed=seed), train)


def test_a_proximal_step_leaves_frozen_weights(make_job: MakeJob, train: Train) -> None:
    def make(seed: int) -> Job:
        return make_job(model=partly_frozen, seed=seed, regularizers={"l1": L1(0.01, proximal=True)})

    same_both_ways(make, train)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Softplus, None),
        (partial(nn.BatchNorm1d, 4, track_running_stats=False), None),
        (partial(nn.BatchNorm1d, 4, momentum=None), "it does not run stacked"),
        (nn.AlphaDropout, "it does not run stacked"),
    ],
    ids=["softplus", "no statistics", "cumulative statistics", "alpha dropout"],
)
def test_other_layers_of_torch_are_tried(layer: Callable[[], nn.Module], reason: str | None) -> None:
    config = compose(["data.test_rows=20", "data.positives=40", "data.negatives=120"])
    job = prepare_job({**config, "model": {"_target_": f"{__name__}.with_layer", "_partial_": True, "layer": layer}})
    found = eligible.why_alone(job, FitSettings())
    assert (found is None) == (reason is None)
    assert (found or "").startswith(reason or "")
