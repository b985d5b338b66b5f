"""Proper losses that come with a link of their own."""

from __future__ import annotations

import torch
from torch import Tensor

from lossbench.objective import links
from lossbench.objective.hyperparameters import number
from lossbench.objective.loss import Loss
from lossbench.objective.prediction import Prediction
from lossbench.objective.targets import at


class BiTempered(Loss):
    """Bregman divergence of a tempered logarithm (t1) from the one-hot target to a tempered softmax (t2).

    Per row sum_k [onehot_k (log_t1 onehot_k - log_t1 p_k) - (onehot_k^(2 - t1) - p_k^(2 - t1)) / (2 - t1)], where
    log_t(x) = (x^(1 - t) - 1) / (1 - t) and p is the tempered softmax of temperature t2 of the logits. With t1 < 1
    the loss of a row is bounded, by 1 / ((1 - t1)(2 - t1)) plus at most 1 / (2 - t1), so far outliers stop to count;
    with t2 > 1 wrong labels near the boundary do. Both 1 is cross-entropy. A Bregman divergence is proper for every
    t1, t2. The authors' normaliser stops after five iterations; here it is converged.

    Use it when some labels are wrong, far from the boundary (t1 < 1) or near it (t2 > 1), and you still want
    probabilities.

    Source: Amid et al. 2019, https://arxiv.org/abs/1906.03361.

    Parameters
    ----------
    t1
        Temperature of the logarithm, 0 <= t1 <= 1.
    t2
        Temperature of the softmax, >= 1.

    Raises
    ------
    ValueError
        Outside these ranges.

    Examples
    --------
    p = (1/2, 1/2), t1 = 0: log_0(x) = x - 1, so (0 + 1/2) - (1 - 1/2) / 2 = 1/4 (half the Brier score of both).

    >>> loss = BiTempered(t1=0, t2=1.4)
    >>> loss(Prediction(torch.zeros(1, 1), loss.link), torch.tensor([1]))
    tensor([0.2500])
    """

    proper = True
    posterior = "gradient"
    t1: Tensor
    t2: Tensor

    def __init__(self, t1: float = 0.8, t2: float = 1.4) -> None:
        super().__init__()
        self.register_buffer("t1", number(self.name, "t1", t1, at_least=0, at_most=1))
        self.register_buffer("t2", number(self.name, "t2", t2, at_least=1))

    @property
    def link(self) -> links.TemperedSoftmax:
        return links.TemperedSoftmax(self.t2)

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        log_probs = prediction.log_probs
        log_p = at(log_probs, target)
        t1 = self.t1.to(log_probs.dtype)
        # log_t(p) = log(p) * expm1(u) / u, u = (1 - t) log(p), which is log(p) for t = 1
        tempered_log = log_p * links.quotient(torch.expm1, (1 - t1) * log_p)
        return ((2 - t1) * log_probs).exp().sum(dim=-1).sub(1) / (2 - t1) - tempered_log


class Sparsemax(Loss):
    """The loss whose gradient is sparsemax(z) - onehot.

    Per row (1 - |p|^2) / 2 + <p, z> - z_y, p = sparsemax(z), the nearest point of the simplex; >= 0, and 0 where
    z_y leads all others by 1. For two classes, m = yt s: 0 for m >= 1, -m for m <= -1, (1 - m)^2 / 4 between
    (the modified Huber loss of scikit-learn over 4). Proper; its probabilities can be 0 exactly, so the log-loss of
    its raw link is large where one is wrong.

    Use it when classes that are out of the question should have the probability 0 exactly; not when you are judged
    by log-loss.

    Source: Martins & Astudillo 2016, https://arxiv.org/abs/1602.02068.

    Examples
    --------
    >>> loss = Sparsemax()
    >>> loss(Prediction(torch.tensor([[0.0], [1.0], [-3.0]]), loss.link), torch.tensor([1, 1, 1]))
    tensor([0.2500, 0.0000, 3.0000])
    """

    link = links.Sparsemax()
    proper = True
    posterior = "gradient"

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        probs = prediction.probs
        ahead = prediction.logits - at(prediction.logits, target).unsqueeze(-1)
        return (1 - probs.square().sum(dim=-1)) / 2 + (probs * ahead).sum(dim=-1)
