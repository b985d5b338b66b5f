"""Weights of rows: a row of weight 2 is two rows, for a run of its own and in a stack, under every normalisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lossbench.data.dataset import Dataset, Rows
from lossbench.data.order import shuffled_order
from lossbench.errors import CannotServe
from lossbench.objective.losses.focus import Focal
from lossbench.objective.losses.likelihood import cross_entropy
from lossbench.objective.losses.overlap import SoftF1
from lossbench.objective.regularizer import Regularizer, Step
from lossbench.objective.regularizers.inputs import InputGradient
from lossbench.objective.weighting import Explicit, NoWeighting, Weighting
from lossbench.training.fit import Fit
from lossbench.training.job import Job
from lossbench.training.selection import Rule
from lossbench.training.stacked.engine import fit as fit_stack

LAST = Rule(None)
MakeJob = Callable[..., Job]


def weights(rows: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4, rows).astype(float)


def weighted(dataset: Dataset) -> Dataset:
    return replace(dataset, train=replace(dataset.train, weight=weights(len(dataset.train))))


def parameters(job: Job) -> torch.Tensor:
    return torch.nn.utils.parameters_to_vector(job.network.parameters()).detach()


class WeighedScores(Regularizer):
    """A person's own penalty that looks at the weights of the rows."""

    def measure(self, step: Step) -> torch.Tensor:
        assert step.row_weights is not None
        return (step.row_weights * step.prediction.scores[:, 0].square()).mean()


@pytest.mark.parametrize(
    "weighting",
    [NoWeighting, partial(Explicit, [1.0, 3.0]), partial(Explicit, [1.0, 3.0], by="count")],
    ids=["none", "by weights", "by count"],
)
def test_a_row_of_weight_two_is_two_rows(
    make_job: MakeJob, train: Callable[..., Fit], rings: Dataset, weighting: Callable[[], Weighting]
) -> None:
    whole = replace(rings, batch_size=None)
    again = np.repeat(np.arange(len(rings.train)), weights(len(rings.train)).astype(int))
    rows = rings.train
    repeated = replace(whole, train=Rows(rows.x[again], rows.y[again], rows.index[again]))
    one = make_job(weighted(whole), weighting=weighting(), epochs=6, rule=LAST)
    other = make_job(repeated, weighting=weighting(), epochs=6, rule=LAST)
    unweighted = make_job(whole, weighting=weighting(), epochs=6, rule=LAST)
    for job in (one, other, unweighted):
        train(job)
    torch.testing.assert_close(parameters(one), parameters(other), rtol=0, atol=1e-9)
    assert (parameters(one) - parameters(unweighted)).abs().max() > 1e-3


def test_batches_are_weighted_as_a_loop_would(make_job: MakeJob, train: Callable[..., Fit], rings: Dataset) -> None:
    job = make_job(weighted(rings), optimizer=partial(torch.optim.SGD, lr=0.1), rule=LAST)
    twin = make_job(rings).network
    network = torch.nn.Sequential(*list(twin.body), twin.head)
    x, y = torch.as_tensor(rings.train.x), torch.as_tensor(rings.train.y)
    weight = torch.as_tensor(weights(len(y)))
    sgd = torch.optim.SGD(network.parameters(), lr=0.1)
    for epoch in range(job.epochs):
        for batch in shuffled_order(job.seed, epoch, len(y)).split(64):
            sgd.zero_grad()
            losses = F.binary_cross_entropy_with_logits(network(x[batch])[:, 0], y[batch].double(), reduction="none")
            ((losses * weight[batch]).sum() / weight[batch].sum()).backward()
            sgd.step()
    fitted = train(job)
    expected = torch.nn.utils.parameters_to_vector(network.parameters()).detach()
    torch.testing.assert_close(parameters(job), expected, rtol=0, atol=1e-12)
    # validation counts every row once
    scores = network(torch.as_tensor(rings.val.x))[:, 0]
    plain = F.binary_cross_entropy_with_logits(scores, torch.as_tensor(rings.val.y).double())
    assert fitted.history[-1]["val/loss"] == pytest.approx(plain.item(), abs=1e-12)


@pytest.mark.parametrize("batch_size", [64, None])
def test_a_stack_gives_the_same(
    make_job: MakeJob, train: Callable[..., Fit], rings: Dataset, batch_size: int | None
) -> None:
    dataset = replace(weighted(rings), batch_size=batch_size)
    # equal buffers share one call, others go through vmap, and an input gradient is of the weighted mean
    settings: list[tuple[int, Callable[[], dict[str, Any]]]] = [
        (0, lambda: {"loss": cross_entropy()}),
        (0, lambda: {"loss": cross_entropy()}),
        (1, lambda: {"loss": Focal(gamma=1.0)}),
        (1, lambda: {"loss": Focal(gamma=3.0)}),
        (2, lambda: {"weighting": Explicit([1.0, 3.0], by="count"), "regularizers": {"g": InputGradient(0.1)}}),
        (3, lambda: {"regularizers": {"own": WeighedScores(0.1)}}),
    ]
    seeds = range(len(settings))
    alone, together = (
        [make_job(dataset, seed=seed, rule=LAST, **made()) for seed, (_, made) in zip(seeds, settings, strict=True)]
        for _ in range(2)
    )
    found = fit_stack(together, [kind for kind, _ in settings])
    for one, other, fitted in zip(alone, together, found, strict=True):
        history = train(one).history
        assert isinstance(fitted, Fit)
        torch.testing.assert_close(parameters(other), parameters(one), rtol=0, atol=1e-10)
        for row, twin in zip(history, fitted.history, strict=True):
            np.testing.assert_allclose(list(twin.values()), list(row.values()), rtol=0, atol=1e-8)


def test_a_loss_of_whole_batches_takes_none(make_job: MakeJob, rings: Dataset) -> None:
    with pytest.raises(CannotServe, match=r"SoftF1 judges whole batches and takes no weights of rows.*data\.weight"):
        make_job(weighted(rings), loss=SoftF1())
