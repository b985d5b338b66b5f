"""Links: from the raw scores of a network to class probabilities.

A loss *has* a link. Scores are (N, 1) for two classes, where they speak for the class of index 1, and (N, K)
for more. The class axis is last throughout.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor


def logits(scores: Tensor) -> Tensor:
    """Return (N, K) logits: two classes become ``[0, s]``, so that their softmax is the sigmoid of s.

    >>> logits(torch.tensor([[3.0]]))
    tensor([[0., 3.]])
    """
    if scores.shape[-1] == 1:
        return torch.cat([torch.zeros_like(scores), scores], dim=-1)
    return scores


class Link(ABC):
    """The map from scores to probabilities; a leaf states its logarithm or itself, stably.

    A link may hold a tensor (the temperature of a tempered softmax), never a Python copy of one: a loss then
    builds it from its buffer on demand, so that it follows stacked runs.
    """

    name: str

    @abstractmethod
    def log_probs(self, scores: Tensor) -> Tensor:
        """Return log-probabilities (N, K) of (N, 1) or (N, K) scores."""

    def probs(self, scores: Tensor) -> Tensor:
        """Return probabilities (N, K); rows sum to one."""
        return self.log_probs(scores).exp()

    def positive_prob(self, scores: Tensor) -> Tensor:
        """Return the probability of the class that each score speaks for, shaped like the scores."""
        return self.probs(scores)[..., -scores.shape[-1] :]


class Softmax(Link):
    """p_k = exp(z_k) / sum_j exp(z_j) of the logits; for two classes the sigmoid of the score.

    >>> Softmax().probs(torch.zeros(1, 1))
    tensor([[0.5000, 0.5000]])
    """

    name = "softmax"

    def log_probs(self, scores: Tensor) -> Tensor:
        return F.log_softmax(logits(scores), dim=-1)

    def probs(self, scores: Tensor) -> Tensor:
        return F.softmax(logits(scores), dim=-1)


class Sigmoid(Link):
    """p = 1 / (1 + exp(-s)) column by column.

    More than two columns are one-vs-rest, and ``probs`` normalises them.

    >>> Sigmoid().positive_prob(torch.zeros(1, 3)), Sigmoid().probs(torch.zeros(1, 3))
    (tensor([[0.5000, 0.5000, 0.5000]]), tensor([[0.3333, 0.3333, 0.3333]]))
    """

    name = "sigmoid"

    def positive_prob(self, scores: Tensor) -> Tensor:
        return torch.sigmoid(scores)

    def log_probs(self, scores: Tensor) -> Tensor:
        # log(1 - sigmoid(s)) = log_sigmoid(-s): never the logarithm of a rounded probability
        log_positive = F.logsigmoid(scores)
        if scores.shape[-1] == 1:
            return torch.cat([F.logsigmoid(-scores), log_positive], dim=-1)
        return log_positive - log_positive.logsumexp(dim=-1, keepdim=True)
