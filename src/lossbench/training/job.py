"""A job: all that one run trains, knowing neither Lightning nor MLflow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from lossbench.data.dataset import Dataset
from lossbench.errors import CannotServe
from lossbench.objective.objective import Objective
from lossbench.training.batch_order import BatchOrder, batch_order
from lossbench.training.selection import Rule


@dataclass(frozen=True)
class Job:
    """One prepared run.

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
        Parameters by name pattern with settings of their own; see :mod:`lossbench.training.parameters`.
    batch_order
        How training rows are spread over batches; what the objective needs decides, see
        :func:`lossbench.training.batch_order.batch_order`.

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
    batch_order: BatchOrder = field(init=False)

    def __post_init__(self) -> None:
        loss = self.objective.loss
        if self.dataset.train.weight is not None and not loss.pointwise:
            raise CannotServe(f"{loss.name} judges whole batches and takes no weights of rows, which data.weight gives")
        object.__setattr__(self, "batch_order", batch_order(self.dataset, self.objective))
