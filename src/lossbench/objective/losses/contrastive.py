"""Losses that draw the features of a class together."""

from __future__ import annotations

import torch
from torch import Tensor

from lossbench.objective.hyperparameters import number
from lossbench.objective.links import Softmax
from lossbench.objective.loss import Loss
from lossbench.objective.losses.embedding import direction
from lossbench.objective.prediction import Prediction
from lossbench.objective.targets import at


class SupervisedContrastive(Loss):
    """Supervised contrastive loss of the features, beside cross-entropy of the scores.

    weight * contrastive + (1 - weight) * mean of -log p_y, over the batch. contrastive is the mean over rows i that
    have another row of their class of the mean over those rows p of
    -log(exp(f_i . f_p / T) / sum_{a != i} exp(f_i . f_a / T)), f the features at length 1. Features come from the last
    hidden layer, without the paper's projection network and second view of each row; the paper trains the scores
    afterwards, here both are trained at once. A batch in which no class has two rows has the contrastive part 0.
    weight 0 is cross-entropy. It holds all N x N pairs.

    Use it when batches hold several rows of every class and the features are to serve beyond these labels, as in
    transfer.

    Source: Khosla et al. 2020, https://arxiv.org/abs/2004.11362 (its L_out).

    Parameters
    ----------
    temperature
        T > 0.
    weight
        Of the contrastive part, 0 <= weight <= 1; 1 leaves the scores untrained.

    Raises
    ------
    ValueError
        Outside these ranges.

    Examples
    --------
    Two rows of a class at right angles to the row of the other: 1 - log(e + 1), with the sign changed, .3133.

    >>> loss = SupervisedContrastive(temperature=1, weight=1)
    >>> features = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    >>> loss(Prediction(torch.zeros(3, 1), loss.link, features), torch.tensor([0, 0, 1]))
    tensor(0.3133)
    """

    link = Softmax()
    pointwise = False
    needs = frozenset({"features", "two_rows_of_a_class"})
    temperature: Tensor
    weight: Tensor

    def __init__(self, temperature: float = 0.1, weight: float = 0.5) -> None:
        super().__init__()
        self.register_buffer("temperature", number(self.name, "temperature", temperature, above=0))
        self.register_buffer("weight", number(self.name, "weight", weight, at_least=0, at_most=1))

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        features = direction(prediction.features)
        weight = self.weight.to(features.dtype)
        plain = -at(prediction.log_probs, target).mean()
        return weight * self._contrastive(features, target) + (1 - weight) * plain

    def _contrastive(self, features: Tensor, target: Tensor) -> Tensor:
        itself = torch.eye(len(features), dtype=torch.bool, device=features.device)
        likeness = features @ features.mT / self.temperature.to(features.dtype)
        # a row is no neighbour of its own; finite, so that a batch of one row yields no NaN
        likeness = torch.where(itself, -1e30, likeness)
        log_share = likeness.log_softmax(dim=-1)
        mates = (target.unsqueeze(-1) == target).logical_and(~itself).to(features.dtype)
        count = mates.sum(dim=-1)
        anchors = -(mates * log_share).sum(dim=-1) / count.clamp(min=1)
        return anchors.sum() / (count > 0).to(features.dtype).sum().clamp(min=1)
