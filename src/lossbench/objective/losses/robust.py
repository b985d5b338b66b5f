"""Losses that bend cross-entropy towards the absolute error, which wrong labels mislead less."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor

from lossbench.objective.hyperparameters import number
from lossbench.objective.links import Softmax
from lossbench.objective.loss import Loss
from lossbench.objective.prediction import Prediction
from lossbench.objective.targets import at


class GeneralizedCrossEntropy(Loss):
    """Between cross-entropy (q -> 0) and the absolute error (q = 1).

    Per row (1 - p_y^q) / q, p = softmax(z), in [0, 1/q]. At the minimum p_c is proportional to
    eta_c^(1 / (1 - q)); at q = 1 it is the likeliest class alone, and no posterior is left. What is lost there by
    taking eta + d for a rare class's eta is about eta^(1 / (1 - q) - 2) d^2: for q > 1/2 nothing as eta falls, so a
    network need not come near it, and the posterior is claimed for q <= 1/2 alone.

    Use it when labels are wrong at random: the larger q, the less they mislead and the slower it learns.

    Source: Zhang & Sabuncu 2018, https://arxiv.org/abs/1805.07836 (without its truncation).

    Parameters
    ----------
    q
        0 < q <= 1.

    Raises
    ------
    ValueError
        Outside this range.

    Examples
    --------
    (1 - sqrt(1/4)) / .5, at probability 1/4.

    >>> loss = GeneralizedCrossEntropy(q=0.5)
    >>> loss(Prediction(torch.zeros(1, 4), loss.link), torch.tensor([1]))
    tensor([1.])
    """

    link = Softmax()
    q: Tensor

    def __init__(self, q: float = 0.7) -> None:
        super().__init__()
        self.register_buffer("q", number(self.name, "q", q, above=0, at_most=1))
        self.posterior = "gradient" if q <= 0.5 else "calibrator"

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        nll = prediction.nll(target)
        minus_q = -self.q.to(nll.dtype)
        return torch.expm1(minus_q * nll) / minus_q


class SymmetricCrossEntropy(Loss):
    """Cross-entropy plus reverse cross-entropy, in which target and prediction change places.

    Per row alpha (-log p_y) + beta (-A) (1 - p_y), p = softmax(z), where A = log 1e-4 stands for the logarithm of
    the target's zeros (the paper's text has A = -4 in places, its code clips the target at 1e-4 as here). beta 0 is
    alpha times cross-entropy. The reverse part alone has its minimum at the likeliest class: the more it weighs, the
    flatter the loss is along the posteriors between, and for beta > 2 alpha none is claimed (at the defaults a
    posterior that is off costs a tenth to a twentieth of what it costs cross-entropy, relative to H of :class:`Loss`).

    Use it when labels are wrong at random and the absolute error alone learns too slowly: cross-entropy sees to the
    fit, the reverse part to the robustness.

    Source: Wang et al. 2019, https://arxiv.org/abs/1908.06112.

    Parameters
    ----------
    alpha
        Weight of cross-entropy, > 0.
    beta
        Weight of the reverse, >= 0.

    Raises
    ------
    ValueError
        Outside these ranges.

    Examples
    --------
    .1 * .6931 + 9.2103 * .5.

    >>> loss = SymmetricCrossEntropy()
    >>> loss(Prediction(torch.zeros(1, 1), loss.link), torch.tensor([1]))
    tensor([4.6745])
    """

    link = Softmax()
    alpha: Tensor
    beta: Tensor

    def __init__(self, alpha: float = 0.1, beta: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("alpha", number(self.name, "alpha", alpha, above=0))
        self.register_buffer("beta", number(self.name, "beta", beta, at_least=0))
        self.proper = beta == 0
        self.posterior = "gradient" if beta <= 2 * alpha else "calibrator"

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        nll, log_rest = prediction.nll_and_log_rest(target)
        reverse = -log(1e-4) * log_rest.exp()
        return self.alpha.to(nll.dtype) * nll + self.beta.to(nll.dtype) * reverse


class NormalizedCrossEntropy(Loss):
    """Cross-entropy relative to its sum over all labels that the row could have.

    Per row log p_y / sum_k log p_k, p = softmax(z), in (0, 1). Its values over all labels sum to 1, which makes it
    robust to uniformly wrong labels, and for two classes leaves nothing of the posterior in its scores. The paper
    trains it together with an absolute error.

    Use it to study robustness to wrong labels; by itself it fits poorly, which is the paper's reason for the second
    loss.

    Source: Ma et al. 2020, https://arxiv.org/abs/2006.13554.

    Examples
    --------
    >>> loss = NormalizedCrossEntropy()
    >>> loss(Prediction(torch.zeros(1, 4), loss.link), torch.tensor([1]))
    tensor([0.2500])
    """

    link = Softmax()

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        log_probs = prediction.log_probs
        return at(log_probs, target) / log_probs.sum(dim=-1)
