"""Links: from the raw scores of a network to class probabilities.

A loss *has* a link. Scores are (N, 1) for two classes, where they speak for the class of index 1, and (N, K)
for more. The class axis is last throughout.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

REGISTER = 16  # float32 numbers in one, with AVX-512


def logits(scores: Tensor) -> Tensor:
    """Return (N, K) logits: two classes become ``[0, s]``, so that their softmax is the sigmoid of s.

    >>> logits(torch.tensor([[3.0]]))
    tensor([[0., 3.]])
    """
    if scores.shape[-1] == 1:
        return torch.cat([torch.zeros_like(scores), scores], dim=-1)
    return scores


def log_softmax(logits: Tensor) -> Tensor:
    """Return the logarithm of the softmax over the last axis.

    torch takes a last axis shorter than a vector register number by number, three to ten times as long as over the
    first one.
    """
    if logits.shape[-1] >= REGISTER:
        return F.log_softmax(logits, dim=-1)
    return F.log_softmax(logits.movedim(-1, 0), dim=0).movedim(0, -1)


class Link(ABC):
    """The map from scores to probabilities; a leaf states its logarithm or itself, stably.

    A link may hold a tensor (the temperature of a tempered softmax), never a Python copy of one: a loss then
    builds it from its buffer on demand, so that it follows stacked runs.
    """

    name: str
    logistic = False  # of two classes, sigmoid(s) and sigmoid(-s) are the probabilities

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
    logistic = True

    def log_probs(self, scores: Tensor) -> Tensor:
        return _two_log_probs(scores) if scores.shape[-1] == 1 else log_softmax(scores).contiguous()

    def probs(self, scores: Tensor) -> Tensor:
        # torch's softmax over an axis of two takes nine times as long as two sigmoids, which are the same.
        if scores.shape[-1] == 1:
            return torch.cat([torch.sigmoid(-scores), torch.sigmoid(scores)], dim=-1)
        return F.softmax(scores, dim=-1)

    def positive_prob(self, scores: Tensor) -> Tensor:
        return torch.sigmoid(scores) if scores.shape[-1] == 1 else self.probs(scores)


class Sigmoid(Link):
    """p = 1 / (1 + exp(-s)) column by column.

    More than two columns are one-vs-rest, and ``probs`` normalises them.

    >>> Sigmoid().positive_prob(torch.zeros(1, 3)), Sigmoid().probs(torch.zeros(1, 3))
    (tensor([[0.5000, 0.5000, 0.5000]]), tensor([[0.3333, 0.3333, 0.3333]]))
    """

    name = "sigmoid"
    logistic = True

    def positive_prob(self, scores: Tensor) -> Tensor:
        return torch.sigmoid(scores)

    def log_probs(self, scores: Tensor) -> Tensor:
        if scores.shape[-1] == 1:
            return _two_log_probs(scores)
        log_positive = F.logsigmoid(scores)
        return log_positive - log_positive.logsumexp(dim=-1, keepdim=True)


class TemperedSoftmax(Link):
    """p_k = exp_t(z_k - lambda), exp_t(x) = (1 + (1 - t) x)^(1 / (1 - t)), lambda such that the rows sum to one.

    For t > 1 its tails are heavier than softmax's, which t = 1 is.

    Source: Amid et al. 2019, https://arxiv.org/abs/1906.03361 (whose code stops the normaliser's iteration after
    five steps; here it is converged).

    Parameters
    ----------
    temperature
        t >= 1, a 0-dim tensor.

    Examples
    --------
    For t = 2 exp_t(x) = 1 / (1 - x). Logits 1.5 and 0 with lambda = 2 give 1 / 1.5 and 1 / 3.

    >>> TemperedSoftmax(torch.tensor(2.0)).probs(torch.tensor([[-1.5]]))
    tensor([[0.6667, 0.3333]])
    """

    name = "tempered_softmax"
    _STEPS = 5  # six steps in all reach the last bit for 100 classes, scores to 1e3 and t to 10

    def __init__(self, temperature: Tensor) -> None:
        self.temperature = temperature

    def log_probs(self, scores: Tensor) -> Tensor:
        columns = logits(scores)
        tail = self.temperature.to(columns.dtype) - 1
        # Newton on the power mean (sum_k p_k)^(1 - t), concave in lambda: from lambda = max z, where the sum is one
        # or more, it rises to the root and never passes it. The root carries no gradient; two further steps from it
        # give the first and second derivative of the implicit function.
        fixed = columns.detach()
        normaliser = fixed.amax(dim=-1, keepdim=True)
        for _ in range(self._STEPS):
            normaliser = self._nearer(fixed, normaliser, tail)
        for _ in range(2):
            normaliser = self._nearer(columns, normaliser, tail)
        return self._log_exp(columns, normaliser, tail)

    @staticmethod
    def _log_exp(columns: Tensor, normaliser: Tensor, tail: Tensor) -> Tensor:
        """Return log exp_t(z - lambda) = -log(1 + (t - 1)(lambda - z)) / (t - 1), which is z - lambda for t = 1."""
        below = normaliser - columns
        return -below * quotient(torch.log1p, tail * below)

    def _nearer(self, columns: Tensor, normaliser: Tensor, tail: Tensor) -> Tensor:
        log_terms = self._log_exp(columns, normaliser, tail)
        log_sum = log_terms.logsumexp(dim=-1, keepdim=True)
        share = (log_terms - log_sum).exp()
        falls = (share / (1 + tail * (normaliser - columns))).sum(dim=-1, keepdim=True)
        return normaliser + log_sum * quotient(torch.expm1, tail * log_sum) / falls


class Sparsemax(Link):
    """The point of the simplex that is nearest to the logits: p = max(z - tau, 0), tau such that it sums to one.

    Probabilities can be 0 exactly, so log-probabilities can be minus infinity. For two classes it is
    (1 + s) / 2 clipped to [0, 1].

    Source: Martins & Astudillo 2016, https://arxiv.org/abs/1602.02068.

    >>> Sparsemax().probs(torch.tensor([[1.0, 0.5, -1.0]])), Sparsemax().probs(torch.tensor([[0.5], [-2.0]]))
    (tensor([[0.7500, 0.2500, 0.0000]]), tensor([[0.2500, 0.7500],
            [1.0000, 0.0000]]))
    """

    name = "sparsemax"

    def log_probs(self, scores: Tensor) -> Tensor:
        return self.probs(scores).log()

    def probs(self, scores: Tensor) -> Tensor:
        columns = logits(scores)
        columns = columns - columns.detach().amax(dim=-1, keepdim=True)  # changes nothing, keeps digits
        falling = columns.sort(dim=-1, descending=True).values
        count = torch.arange(1, columns.shape[-1] + 1, device=columns.device, dtype=columns.dtype)
        candidates = (falling.cumsum(dim=-1) - 1) / count
        # the condition holds for the largest logits and for no other; the last that holds gives tau
        size = (falling > candidates).sum(dim=-1, keepdim=True)
        tau = candidates.gather(-1, size - 1)
        return F.relu(columns - tau)  # clamp would have a gradient at 0


def _two_log_probs(scores: Tensor) -> Tensor:
    """Return (N, 2) of (N, 1): log(1 - sigmoid(s)) = log_sigmoid(-s), never the logarithm of a rounded probability."""
    return torch.cat([F.logsigmoid(-scores), F.logsigmoid(scores)], dim=-1)


def quotient(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return function(x) / x for log1p or expm1, 1 at x = 0."""
    zero = x == 0
    safe = torch.where(zero, 1, x)
    return torch.where(zero, 1, function(safe) / safe)
