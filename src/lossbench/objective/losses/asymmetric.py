"""Focal losses that focus negatives and positives differently."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbench.objective.hyperparameters import number
from lossbench.objective.links import Sigmoid, Softmax
from lossbench.objective.loss import Loss
from lossbench.objective.prediction import Prediction
from lossbench.objective.targets import indicator, log_others, onehot
from lossbench.task import Task


class Asymmetric(Loss):
    """Binary focal loss whose negatives fade faster than its positives and vanish below a probability.

    Per score, p = sigmoid(s): where it speaks for the row's class -(1 - p)^gamma_pos log p, otherwise
    -p_m^gamma_neg log(1 - p_m), p_m = max(p - clip, 0). More than two classes are one-vs-rest columns, and their
    mean. Both gammas and clip 0 are binary cross-entropy. The gradient flows through the weights, as in the paper's
    formula; the authors' code by default computes them without a gradient (``disable_torch_grad_focal_loss``) and
    *sums* over columns (times n_scores here).

    The loss of a negative is flat below ``clip``, where scores therefore stand for the posterior 0: at the
    population minimum no row is there, in a trained network some may be.

    Use it when every positive stands against very many easy negatives, as in the multi-label data that it was made
    for.

    Source: Ridnik et al. 2021, https://arxiv.org/abs/2009.14119.

    Parameters
    ----------
    gamma_neg, gamma_pos
        Focus on negatives and positives, >= 0.
    clip
        Probability shift of the negatives, 0 <= clip < 1.

    Raises
    ------
    ValueError
        Outside these ranges.

    Examples
    --------
    A score of 0: for a positive .5 * .6931, for a negative .45^4 * -log(.55).

    >>> loss = Asymmetric()
    >>> loss(Prediction(torch.zeros(2, 1), loss.link), torch.tensor([1, 0]))
    tensor([0.3466, 0.0245])
    """

    link = Sigmoid()
    gamma_neg: Tensor
    gamma_pos: Tensor
    clip: Tensor

    def __init__(self, gamma_neg: float = 4.0, gamma_pos: float = 1.0, clip: float = 0.05) -> None:
        super().__init__()
        self.register_buffer("gamma_neg", number(self.name, "gamma_neg", gamma_neg, at_least=0))
        self.register_buffer("gamma_pos", number(self.name, "gamma_pos", gamma_pos, at_least=0))
        self.register_buffer("clip", number(self.name, "clip", clip, at_least=0, below=1))
        self.proper = gamma_neg == gamma_pos == clip == 0
        if gamma_neg == 0 and clip > 0:
            self.kinks = "p = clip for a negative"  # where small posteriors all have their minimum
        self.posterior = "calibrator" if self.kinks else "gradient"

    def bind(self, task: Task) -> None:
        super().bind(task)
        # columns are alike; of two classes one is the positive
        alike = bool(self.gamma_neg == self.gamma_pos) and self.clip.item() == 0
        self.symmetric_in_classes = alike or not task.binary

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        scores = prediction.scores
        gamma_neg, gamma_pos, clip = (b.to(scores.dtype) for b in (self.gamma_neg, self.gamma_pos, self.clip))
        log_prob, log_rest = F.logsigmoid(scores), F.logsigmoid(-scores)
        positive = -(gamma_pos * log_rest).exp() * log_prob
        # log(1 - p_m) = log(min(1 - p + clip, 1)), and p_m from it, which keeps the digits of a small p
        log_rest = torch.logaddexp(log_rest, clip.log()).clamp(max=0)
        shifted = -torch.expm1(log_rest)
        # a negative below the clip has log_rest = 0; the power of p_m = 0 would have no gradient for gamma_neg < 1
        weight = torch.where(shifted > 0, shifted, 1) ** gamma_neg
        labels = indicator(target, scores)
        return (labels * positive - (1 - labels) * weight * log_rest).mean(dim=-1)


class AsymmetricSingleLabel(Loss):
    """Asymmetric focal loss of the softmax, with label smoothing.

    Per row -sum_k q_k w_k log p_k, p = softmax(z), w_y = (1 - p_y)^gamma_pos, w_k = p_k^gamma_neg for the other
    classes, q = (1 - eps) onehot + eps / K. Without smoothing the other classes do not enter, which is focal loss
    with gamma_pos; with both gammas 0 it is cross-entropy with label smoothing. gamma_pos 0 is the authors'
    default (ASLSingleLabel); timm's AsymmetricLossSingleLabel has 1.

    Use it as label smoothing that leaves classes alone which are unlikely already.

    Source: Ridnik et al. 2021, https://arxiv.org/abs/2009.14119.

    Parameters
    ----------
    gamma_pos, gamma_neg
        Focus of the true class and of the others, >= 0.
    eps
        Label smoothing, 0 <= eps < 1.

    Raises
    ------
    ValueError
        Outside these ranges.

    Examples
    --------
    Two classes at probability 1/2: (.95 + .05 / 16) * .6931.

    >>> loss = AsymmetricSingleLabel()
    >>> loss(Prediction(torch.zeros(1, 1), loss.link), torch.tensor([1]))
    tensor([0.6607])
    """

    link = Softmax()
    posterior = "gradient"
    gamma_pos: Tensor
    gamma_neg: Tensor
    eps: Tensor

    def __init__(self, gamma_pos: float = 0.0, gamma_neg: float = 4.0, eps: float = 0.1) -> None:
        super().__init__()
        self.register_buffer("gamma_pos", number(self.name, "gamma_pos", gamma_pos, at_least=0))
        self.register_buffer("gamma_neg", number(self.name, "gamma_neg", gamma_neg, at_least=0))
        self.register_buffer("eps", number(self.name, "eps", eps, at_least=0, below=1))
        self.proper = gamma_pos == 0 and eps == 0

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        log_probs = prediction.log_probs
        n_classes = log_probs.shape[-1]
        gamma_pos, gamma_neg, eps = (b.to(log_probs.dtype) for b in (self.gamma_pos, self.gamma_neg, self.eps))
        labels = onehot(target, n_classes, log_probs)
        log_others_own = log_others(log_probs, target).unsqueeze(-1)
        weight = (labels * gamma_pos * log_others_own + (1 - labels) * gamma_neg * log_probs).exp()
        smooth = (1 - eps) * labels + eps / n_classes
        return -(smooth * weight * log_probs).sum(dim=-1)
