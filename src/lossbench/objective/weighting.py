"""Weightings: how much a row of each class counts, an axis of its own beside the loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from lossbench.errors import CannotServe
from lossbench.objective.hyperparameters import choice, number
from lossbench.objective.hyperparameters import vector as per_class
from lossbench.task import Task


class Weighting(nn.Module, ABC):
    """Class weights that multiply the rows of a pointwise loss.

    The mean over a batch is sum_i w_i l_i / sum_i w_i with ``by="weights"``, as torch's
    ``CrossEntropyLoss(weight=...)`` has it, and sum_i w_i l_i / N with ``by="count"``, as
    ``BCEWithLogitsLoss(pos_weight=w)`` has it: for two classes that is the vector [1, w] by count. Weights
    multiply whole rows: with label smoothing this is not torch's ``weight=``, which weighs the smoothed
    target's columns.

    Parameters
    ----------
    by
        What the weighted sum is divided by.
    start
        First epoch, from 0, in which the weights are in force (deferred re-weighting); all rows weigh 1
        before.
    """

    class_weights: Tensor
    start: Tensor
    epoch: Tensor

    def __init__(self, by: Literal["weights", "count"] = "weights", start: int = 0) -> None:
        super().__init__()
        self.by = choice(self.name, "by", by, ("weights", "count"))
        if isinstance(start, float):
            raise ValueError(f"{self.name} needs start to be a whole epoch, got start={start}")
        self.register_buffer("start", number(self.name, "start", start, at_least=0))
        self.register_buffer("epoch", torch.zeros((), dtype=torch.float64))
        self._bound = False

    @property
    def name(self) -> str:
        """What error messages call it."""
        return type(self).__name__

    @property
    def neutral(self) -> bool:
        """Every row weighs 1, whatever the task."""
        return False

    @abstractmethod
    def weights_for(self, task: Task) -> Tensor:
        """Return the class weights (K,) in float64."""

    def bind(self, task: Task) -> None:
        """Make ``class_weights`` (K,) for the task, once.

        Raises
        ------
        CannotServe
            When there is not one weight per class.
        RuntimeError
            When called twice.
        """
        if self._bound:
            raise RuntimeError(f"{self.name} is bound to a task already")
        self._bound = True
        self.register_buffer("class_weights", self.weights_for(task))

    def at_epoch(self, epoch: int) -> None:
        """Set the epoch, from 0, that decides whether the weights are in force."""
        self.epoch.fill_(epoch)

    @property
    def in_force(self) -> Tensor:
        """Class weights (K,) of the present epoch."""
        return torch.where(self.epoch >= self.start, self.class_weights, torch.ones_like(self.class_weights))

    def forward(self, target: Tensor) -> Tensor:
        """Return the weight of each row, (..., N) in float64, of class indices (..., N)."""
        return self.in_force.gather(0, target.reshape(-1)).reshape(target.shape)


class NoWeighting(Weighting):
    """Every row weighs 1.

    >>> weighting = NoWeighting()
    >>> weighting.bind(Task(1, ("a", "b"), (3, 1)))
    >>> weighting(torch.tensor([0, 1]))
    tensor([1., 1.], dtype=torch.float64)
    """

    def __init__(self) -> None:
        super().__init__()

    @property
    def neutral(self) -> bool:
        return True

    def weights_for(self, task: Task) -> Tensor:
        return torch.ones(task.n_classes, dtype=torch.float64)


class Balanced(Weighting):
    """w_c = n / (K n_c): every class has the same total weight, and the mean training row weighs 1.

    As scikit-learn's ``class_weight="balanced"``
    (https://scikit-learn.org/stable/modules/generated/sklearn.utils.class_weight.compute_class_weight.html).
    Equal class counts give ones.

    >>> weighting = Balanced()
    >>> weighting.bind(Task(1, ("a", "b"), (3, 1)))
    >>> weighting.class_weights
    tensor([0.6667, 2.0000], dtype=torch.float64)
    """

    def weights_for(self, task: Task) -> Tensor:
        counts = torch.tensor(task.class_counts, dtype=torch.float64)
        return task.n_train / (task.n_classes * counts)


class InverseSqrt(Weighting):
    """w_c proportional to n_c^(-1/2), with mean 1 over the classes: half-way from none to balanced.

    Source: Mahajan et al. 2018, https://arxiv.org/abs/1805.00932 (there as sampling rates). Equal class counts
    give ones.

    Examples
    --------
    >>> weighting = InverseSqrt()
    >>> weighting.bind(Task(1, ("a", "b"), (4, 1)))  # 1/2 and 1, times 4/3
    >>> weighting.class_weights
    tensor([0.6667, 1.3333], dtype=torch.float64)
    """

    def weights_for(self, task: Task) -> Tensor:
        return _mean_one(torch.tensor(task.class_counts, dtype=torch.float64).rsqrt())


class EffectiveNumber(Weighting):
    """w_c proportional to (1 - beta) / (1 - beta^n_c), with mean 1 over the classes: class-balanced weights.

    (1 - beta^n) / (1 - beta) is the effective number of n rows that overlap. beta = 0 gives ones, and beta to 1
    gives 1 / n_c, which is ``balanced`` but for its scale: here the mean over the *classes* is 1, there the mean
    over the training rows. The authors' code rescales likewise; others leave the raw quotients, which changes
    the learning rate (with ``by: weights`` no scale matters).

    Source: Cui et al. 2019, https://arxiv.org/abs/1901.05555.

    Parameters
    ----------
    beta
        0 <= beta < 1.
    by, start
        See :class:`Weighting`.

    Examples
    --------
    >>> weighting = EffectiveNumber(beta=0.5)
    >>> weighting.bind(Task(1, ("a", "b"), (2, 1)))  # effective numbers 1.5 and 1: 2/3 and 1, times 6/5
    >>> weighting.class_weights
    tensor([0.8000, 1.2000], dtype=torch.float64)
    """

    beta: Tensor

    def __init__(self, beta: float = 0.9999, by: Literal["weights", "count"] = "weights", start: int = 0) -> None:
        super().__init__(by, start)
        self.register_buffer("beta", number(self.name, "beta", beta, at_least=0, below=1))

    def weights_for(self, task: Task) -> Tensor:
        counts = torch.tensor(task.class_counts, dtype=torch.float64)
        # 1 - beta^n = -expm1(n log beta), exact also where beta^n rounds to 1
        return _mean_one(-1 / torch.expm1(counts * self.beta.log()))


def _mean_one(weights: Tensor) -> Tensor:
    return weights / weights.mean()


class Explicit(Weighting):
    """One weight per class, by class index, used as given (not rescaled).

    Parameters
    ----------
    vector
        Positive weights (K,).
    by, start
        See :class:`Weighting`.

    Examples
    --------
    >>> weighting = Explicit([1, 30], by="count")
    >>> weighting.bind(Task(1, ("a", "b"), (3, 1)))
    >>> weighting(torch.tensor([1, 0]))
    tensor([30.,  1.], dtype=torch.float64)
    """

    vector: Tensor

    def __init__(self, vector: list[float], by: Literal["weights", "count"] = "weights", start: int = 0) -> None:
        super().__init__(by, start)
        self.register_buffer("vector", per_class(self.name, "vector", vector, above=0))

    def weights_for(self, task: Task) -> Tensor:
        if len(self.vector) != task.n_classes:
            raise CannotServe(f"Explicit has {len(self.vector)} class weights, the task has {task.n_classes} classes")
        return self.vector.clone()
