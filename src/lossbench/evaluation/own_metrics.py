"""Metrics that torchmetrics lacks, computes in float32, or defines differently.

All take ``update(probs, target)`` with probabilities (N, K), for two classes as well: the probability of the
negative class then keeps its own digits. Each computes independently what `metrics.compute` defines.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import BinaryAUROC

from lossbench.errors import CannotServe
from lossbench.evaluation.metrics import BINS, SMALLEST


class _RowMean(Metric):
    """The mean over rows of a subclass's ``cost``."""

    full_state_update = False
    total: Tensor
    rows: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("rows", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, probs: Tensor, target: Tensor) -> None:
        self.total += self.cost(probs.double(), target).sum()
        self.rows += len(target)

    def compute(self) -> Tensor:
        return self.total / self.rows

    def cost(self, probs: Tensor, target: Tensor) -> Tensor:
        raise NotImplementedError


class LogLoss(_RowMean):
    """Mean of -log p[target].

    >>> metric = LogLoss()
    >>> metric.update(torch.tensor([[0.5, 0.5], [0.75, 0.25]]), torch.tensor([0, 1]))
    >>> metric.compute().round(decimals=4)
    tensor(1.0397, dtype=torch.float64)
    """

    higher_is_better = False

    def cost(self, probs: Tensor, target: Tensor) -> Tensor:
        return -probs.gather(1, target[:, None])[:, 0].clamp(min=SMALLEST).log()


class Brier(_RowMean):
    """Two classes: mean (p[1] - target)^2. More: the sum over columns of squared errors, averaged over rows.

    >>> metric = Brier()
    >>> metric.update(torch.tensor([[0.5, 0.5], [1.0, 0.0]]), torch.tensor([0, 1]))
    >>> metric.compute()
    tensor(0.6250, dtype=torch.float64)
    """

    higher_is_better = False

    def cost(self, probs: Tensor, target: Tensor) -> Tensor:
        squares = (probs - F.one_hot(target, probs.shape[1])).square()
        return squares[:, 1] if probs.shape[1] == 2 else squares.sum(dim=1)


class CalibrationError(Metric):
    """ECE over 15 bins; torchmetrics' own puts a probability of exactly 1 into a sixteenth.

    >>> metric = CalibrationError()
    >>> metric.update(torch.tensor([[0.5, 0.5], [0.0, 1.0]]), torch.tensor([1, 1]))
    >>> metric.compute()
    tensor(0.2500, dtype=torch.float64)
    """

    full_state_update = False
    higher_is_better = False
    gaps: Tensor
    rows: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("gaps", torch.zeros(BINS, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("rows", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, probs: Tensor, target: Tensor) -> None:
        probs = probs.double()
        if probs.shape[1] == 2:
            expected, observed = probs[:, 1].contiguous(), target == 1
        else:
            expected, decided = probs.max(dim=1)
            observed = target == decided
        edges = torch.arange(1, BINS, dtype=torch.float64, device=probs.device) / BINS
        bins = torch.bucketize(expected, edges, right=True)
        self.gaps.index_add_(0, bins, observed.double() - expected)
        self.rows += len(target)

    def compute(self) -> Tensor:
        return self.gaps.abs().sum() / self.rows


class _Counts(Metric):
    """The confusion matrix, target by row and decision by column, in float64."""

    full_state_update = False
    higher_is_better = True
    counts: Tensor

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        shape = (num_classes, num_classes)
        self.add_state("counts", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, probs: Tensor, target: Tensor) -> None:
        decided = probs[:, 1] > 0.5 if probs.shape[1] == 2 else probs.argmax(dim=1)
        one = torch.ones(len(target), dtype=torch.float64, device=probs.device)
        self.counts.index_put_((target, decided.long()), one, accumulate=True)


class Recall(_Counts):
    """The recall of each class, (K,); NaN for a class without rows.

    >>> metric = Recall(num_classes=2)
    >>> metric.update(torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]), torch.tensor([0, 0, 1]))
    >>> metric.compute()
    tensor([0.5000, 1.0000], dtype=torch.float64)
    """

    def compute(self) -> Tensor:
        return self.counts.diagonal() / self.counts.sum(dim=1)


class BalancedAccuracy(Recall):
    """The mean recall of the classes; NaN if one has no rows.

    >>> metric = BalancedAccuracy(num_classes=2)
    >>> metric.update(torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]), torch.tensor([0, 0, 1]))
    >>> metric.compute()
    tensor(0.7500, dtype=torch.float64)
    """

    def compute(self) -> Tensor:
        return super().compute().mean()


class Matthews(_Counts):
    """Matthews' correlation coefficient, the correlation of one-hot target and one-hot decision.

    torchmetrics' own works in float32 and gives values other than 0 where one class alone is decided.

    >>> metric = Matthews(num_classes=2)
    >>> metric.update(torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]), torch.tensor([0, 0, 1]))
    >>> metric.compute()
    tensor(0.5000, dtype=torch.float64)
    """

    def compute(self) -> Tensor:
        share = self.counts / self.counts.sum()
        actual, decided = share.sum(dim=1), share.sum(dim=0)
        if (self.counts.sum(dim=1) > 0).sum() == 1:
            return torch.full_like(share[0, 0], torch.nan)
        if (self.counts.sum(dim=0) > 0).sum() == 1:
            return torch.zeros_like(share[0, 0])
        covariance = share.trace() - actual @ decided
        return covariance / ((1 - actual @ actual) * (1 - decided @ decided)).sqrt()


class MicroAUROC(BinaryAUROC):
    """One AUROC over all N K cells of the one-hot target, for three classes or more.

    Raises
    ------
    CannotServe
        For two classes, where every cell would count twice.

    Examples
    --------
    >>> metric = MicroAUROC(num_classes=3)
    >>> metric.update(torch.eye(3), torch.tensor([0, 1, 1]))
    >>> metric.compute().round(decimals=4)
    tensor(0.7500)
    """

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        if num_classes < 3:
            raise CannotServe(f"MicroAUROC needs three classes or more, got {num_classes}")
        super().__init__(**kwargs)

    def update(self, probs: Tensor, target: Tensor) -> None:
        super().update(probs.flatten(), F.one_hot(target, probs.shape[1]).flatten())
