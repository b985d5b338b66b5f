"""A job: all that one run trains, knowing neither Lightning nor MLflow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from lossbench.data.dataset import Dataset
from lossbench.errors import CannotServe
from lossbench.objective.objective import Objective
from lossbench.training.selection import Rule
from lossbench.training.settings import Components, TrainerSettings


@dataclass(frozen=True)
class Job:
    """What one run trains.

    Parameters
    ----------
    seed
        Seed of every stream of randomness that training draws from.
    dataset
        The prepared splits and their task.
    network
        Emits raw scores, (N, 1) for two classes and (N, K) otherwise; in the dtype of the run.
    objective
        Loss, weighting and regularizers, bound to the dataset's task.
    optimizer
        Called with parameter groups.
    scheduler
        Called with the optimizer; None keeps the learning rate.
    epochs
        Passes over the training split.
    rule
        Which epoch is selected and when training stops.
    decay_on
        ``weights``: the optimizer's weight decay spares biases and normalisation; ``all``: it does not.
    groups
        Parameters by name pattern with settings of their own; see :mod:`lossbench.training.optimizer`.
    components
        The configs of its parts, where it was built from any.
    batch_order
        How training rows are spread over batches; what the objective needs decides, see
        :func:`lossbench.training.job.batch_order`.

    Raises
    ------
    CannotServe
        Where the batches cannot hold what the objective needs, or a loss of whole batches meets rows with weights.
    """

    seed: int
    dataset: Dataset
    network: nn.Module
    objective: Objective
    optimizer: Callable[..., torch.optim.Optimizer]
    scheduler: Callable[[torch.optim.Optimizer], Any] | None
    epochs: int
    dtype: torch.dtype = torch.float32
    rule: Rule = field(default_factory=Rule)
    decay_on: str = "weights"
    groups: Sequence[Mapping[str, Any]] = ()
    components: Components = field(default_factory=Components)
    batch_order: BatchOrder = field(init=False)

    def __post_init__(self) -> None:
        loss = self.objective.loss
        if self.dataset.train.weight is not None and not loss.pointwise:
            raise CannotServe(f"{loss.name} judges whole batches and takes no weights of rows, which data.weight gives")
        object.__setattr__(self, "batch_order", batch_order(self.dataset, self.objective))


_DTYPES = {"32-true": torch.float32, "64-true": torch.float64}


def dtype_of(trainer: TrainerSettings) -> torch.dtype:
    """Return the dtype of a network that is trained with these settings."""
    return _DTYPES[trainer.precision]


BatchOrder = Literal["full", "shuffled", "stratified"]


def batch_order(dataset: Dataset, objective: Objective) -> BatchOrder:
    """Return how the training rows are spread over batches.

    ``full`` is one batch of all rows. An objective that needs both classes in a batch, or two rows of a class,
    has a ``stratified`` order, which gives each batch its share of every class; all others the ``shuffled`` one.
    Runs of one seed that are ``shuffled`` share their batches, and so do those that are ``stratified``.

    Raises
    ------
    CannotServe
        Where there are too few rows of a class for so many batches; it says which batch size would do.
    """
    task = dataset.task
    batch_size = task.n_train if dataset.batch_size is None else min(dataset.batch_size, task.n_train)
    n_batches = -(-task.n_train // batch_size)
    counts = dict(zip(task.class_names, task.class_counts, strict=True))
    if dataset.sampler == "balanced":
        counts = dict.fromkeys(task.class_names, task.n_train // task.n_classes)
    loss = objective.loss.name
    rarest, most = min(counts, key=lambda name: counts[name]), max(counts.values())
    if "both_classes" in objective.needs and counts[rarest] < n_batches:
        raise CannotServe(
            f"{loss} needs every class in every batch, but class {rarest!r} has {counts[rarest]} training rows for "
            f"{n_batches} batches; {_would_do(task.n_train, counts[rarest])}"
        )
    if "two_rows_of_a_class" in objective.needs and most // n_batches < 2:
        raise CannotServe(
            f"{loss} needs two rows of a class in every batch, but no class has more than {most} training rows for "
            f"{n_batches} batches; {_would_do(task.n_train, most // 2)}"
        )
    if n_batches == 1:
        return "full"
    return "stratified" if objective.needs & {"both_classes", "two_rows_of_a_class"} else "shuffled"


def _would_do(n_rows: int, n_batches: int) -> str:
    return f"data.batch_size={-(-n_rows // n_batches)} would do" if n_batches else "no batch size would do"
