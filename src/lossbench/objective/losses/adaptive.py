"""Adaptive softmax: an output layer that spends less on rare classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lossbench.errors import CannotServe
from lossbench.objective.hyperparameters import number
from lossbench.objective.links import Softmax
from lossbench.objective.loss import Loss
from lossbench.objective.prediction import Prediction
from lossbench.objective.targets import at
from lossbench.task import Task


class AdaptiveHead(nn.Module):
    """Features (N, H) -> log-probabilities (N, K) by class index, or their difference (N, 1) for two classes.

    torch's layer numbers classes by falling frequency; ``place`` says where each class index stands there.
    """

    place: Tensor

    def __init__(self, n_features: int, class_counts: Sequence[int], cutoffs: Sequence[int], div_value: float) -> None:
        super().__init__()
        counts = torch.tensor(class_counts)
        self.register_buffer("place", counts.argsort(descending=True, stable=True).argsort())
        self.layer = nn.AdaptiveLogSoftmaxWithLoss(n_features, len(counts), list(cutoffs), div_value)

    def forward(self, features: Tensor) -> Tensor:
        log_probs = self.layer.log_prob(features)[:, self.place]
        return log_probs[:, 1:] - log_probs[:, :1] if len(self.place) == 2 else log_probs


class AdaptiveLogSoftmax(Loss):
    """Cross-entropy of a two-level softmax: frequent classes first, rare ones in clusters of smaller projections.

    Per row -log p_y, where a class of a cluster has p = p(cluster) p(class | cluster), and cluster i = 1, 2, ... sees
    the features through a projection to n_features / div_value^i. The output layer emits log p as scores, which the
    softmax link leaves as they are. Meant for thousands of classes. It does not stack: torch's layer gathers rows
    cluster by cluster.

    Use it when there are thousands of classes and most are rare, as with words; with few it does what cross-entropy
    does at a higher price.

    Source: Grave et al. 2017, https://arxiv.org/abs/1609.04309;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveLogSoftmaxWithLoss.html.

    Parameters
    ----------
    cutoffs
        Ranks by falling frequency at which clusters begin, rising, from 1 to K - 1; None: one, at half of the
        classes.
    div_value
        How much smaller each cluster's projection is than the one before, >= 1.

    Raises
    ------
    ValueError
        For cutoffs that are no rising positive integers, or div_value outside its range.
    CannotServe
        When a cutoff is no rank of the task, or a projection would have no width.

    Examples
    --------
    >>> loss = AdaptiveLogSoftmax(cutoffs=[1])
    >>> loss(Prediction(torch.tensor([[0.7, 0.2, 0.1]]).log(), loss.link), torch.tensor([0])).neg().exp()
    tensor([0.7000])
    """

    link = Softmax()
    proper = True
    posterior = "gradient"
    stackable = "no"

    def __init__(self, cutoffs: Sequence[int] | None = None, div_value: float = 4.0) -> None:
        super().__init__()
        if cutoffs is not None:
            whole = all(isinstance(cut, int) and not isinstance(cut, bool) for cut in cutoffs)
            if not cutoffs or not whole or list(cutoffs) != sorted({cut for cut in cutoffs if cut > 0}):
                raise ValueError(f"{self.name} needs cutoffs to be rising positive integers, got cutoffs={cutoffs!r}")
        self.cutoffs = cutoffs
        self.div_value = number(self.name, "div_value", div_value, at_least=1).item()

    def bind(self, task: Task) -> None:
        super().bind(task)
        if self.cutoffs is not None and self.cutoffs[-1] >= task.n_classes:
            raise CannotServe(
                f"{self.name} needs cutoffs below the task's {task.n_classes} classes, got cutoffs={self.cutoffs}"
            )

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        return -at(prediction.log_probs, target)

    def head(self, task: Task, n_features: int) -> nn.Module:
        cutoffs = self.cutoffs or [task.n_classes // 2]
        if n_features < self.div_value ** len(cutoffs):
            raise CannotServe(
                f"{self.name} needs n_features >= div_value^{len(cutoffs)} for its clusters, got "
                f"n_features={n_features} and div_value={self.div_value:g}"
            )
        return AdaptiveHead(n_features, task.class_counts, cutoffs, self.div_value)
