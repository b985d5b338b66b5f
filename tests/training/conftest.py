"""Jobs for the training tests: small, in float64, built without Hydra."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch

from lossbench.data.dataset import Dataset
from lossbench.data.iris import Iris
from lossbench.data.rings import Rings
from lossbench.models.forward import attach_head
from lossbench.models.initial import build
from lossbench.models.mlp import Mlp
from lossbench.objective.losses.likelihood import cross_entropy
from lossbench.objective.objective import Objective
from lossbench.objective.weighting import NoWeighting
from lossbench.training.fit import Fit
from lossbench.training.job import Job
from lossbench.training.lightning.trainer import fit
from lossbench.training.selection import Rule
from lossbench.training.settings import TrainerSettings

CPU = {"accelerator": "cpu", "devices": 1}
SMALL = partial(Mlp, widths=(5, 4))
ADAM = partial(torch.optim.Adam, lr=0.02)
AUROC = Rule("val/auroc")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def rings() -> Dataset:
    """Three batches of 64 and one of 48 rows an epoch."""
    return Rings(positives=60, negatives=240, test_rows=50, batch_size=64).prepare()


@pytest.fixture(scope="session")
def iris() -> Dataset:
    return Iris(name="iris").prepare()


@pytest.fixture
def make_job(rings: Dataset) -> Callable[..., Job]:
    """Return a factory of jobs, fresh at every call; what is not given is the small default."""

    def make(
        dataset: Dataset = rings,
        *,
        model: Callable[..., torch.nn.Module] = SMALL,
        loss: Any = None,
        weighting: Any = None,
        regularizers: dict[str, Any] | None = None,
        optimizer: Callable[..., torch.optim.Optimizer] = ADAM,
        scheduler: Any = None,
        epochs: int = 3,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
        rule: Rule = Rule("val/auroc"),
        **others: Any,
    ) -> Job:
        objective = Objective(loss or cross_entropy(), weighting or NoWeighting(), regularizers or {}, dataset.task)
        network = build(model, dataset.task, seed, dtype)
        attach_head(network, objective, seed, dtype)
        return Job(
            seed=seed,
            dataset=dataset,
            network=network,
            objective=objective,
            optimizer=optimizer,
            scheduler=scheduler,
            epochs=epochs,
            dtype=dtype,
            rule=rule,
            **others,
        )

    return make


@pytest.fixture
def train() -> Callable[..., Fit]:
    """Return `fit` on the CPU, with the precision of the job."""

    def run(job: Job, settings: dict[str, Any] | None = None, **others: Any) -> Fit:
        precision = "64-true" if job.dtype == torch.float64 else "32-true"
        return fit(job, TrainerSettings.read({"precision": precision, **(settings or {})}), **others)

    return run


@pytest.fixture
def state() -> Callable[[Job], dict[str, torch.Tensor]]:
    """Return a copy of what training changed: the network's and the objective's state."""

    def copy(job: Job) -> dict[str, torch.Tensor]:
        both = {**job.network.state_dict(prefix="network."), **job.objective.state_dict(prefix="objective.")}
        return {name: tensor.clone() for name, tensor in both.items()}

    return copy


@pytest.fixture
def assert_same() -> Callable[[Any, Any], None]:
    """Return the comparison to the bit of states and histories, NaN equal to NaN."""

    def compare(one: Any, other: Any) -> None:
        if isinstance(one, dict):
            assert one.keys() == other.keys()
            for key in one:
                compare(one[key], other[key])
        elif isinstance(one, list):
            assert len(one) == len(other)
            for left, right in zip(one, other, strict=True):
                compare(left, right)
        elif isinstance(one, torch.Tensor):
            assert one.dtype == other.dtype
            assert torch.equal(one, other)
        else:
            assert repr(one) == repr(other)  # of every float its own, NaN included

    return compare
