"""Losses that look away from what is easy."""

from __future__ import annotations

import torch
from torch import Tensor

from lossbench.errors import CannotServe
from lossbench.objective.hyperparameters import number, vector
from lossbench.objective.links import Softmax
from lossbench.objective.loss import Loss
from lossbench.objective.prediction import Prediction
from lossbench.objective.targets import at, log_others
from lossbench.task import Task


class Focal(Loss):
    """Cross-entropy that fades as the true class becomes likely.

    Per row alpha_y (1 - p_y)^gamma (-log p_y), p = softmax(z); the objective takes the mean over N (the paper
    divides by the number of positive anchors, which is detection's convention; libraries that divide by the
    sum of alpha_y: ``weighting=explicit`` with alpha null). gamma 0 is cross-entropy; a large gamma leaves
    only rows that are wrong. The minimum is not the posterior for gamma > 0 or unequal alpha;
    :func:`lossbench.objective.posterior.recover_posterior` undoes both.

    Use it when easy rows are so many that they drown the hard ones, as in dense detection. It weighs rows by how
    hard they are, not classes by how rare they are: that is alpha or a weighting.

    Source: Lin et al. 2017, https://arxiv.org/abs/1708.02002.

    Parameters
    ----------
    gamma
        Focus, >= 0.
    alpha
        None: 1 for every class. Two classes: a number in (0, 1), the weight of the positive class, the
        negative one weighing 1 - alpha; a list: one positive weight per class index.

    Raises
    ------
    ValueError
        Outside these ranges.
    CannotServe
        When alpha is one number and the task has more than two classes, or a list of another length.

    Examples
    --------
    Probabilities .5 and .5 of the positive class, targets 1 and 0, alpha .75: the mean of .75 and .25 times
    .25 * .6931.

    >>> loss = Focal(gamma=2, alpha=0.75)
    >>> loss.bind(Task(1, ("negative", "positive"), (1, 1)))
    >>> loss(Prediction(torch.zeros(2, 1), loss.link), torch.tensor([1, 0])).mean()
    tensor(0.0866)
    """

    link = Softmax()
    posterior = "gradient"
    gamma: Tensor
    alpha: Tensor

    def __init__(self, gamma: float = 2.0, alpha: float | list[float] | None = None) -> None:
        super().__init__()
        self.register_buffer("gamma", number(self.name, "gamma", gamma, at_least=0))
        if alpha is None:
            weights = None
        elif isinstance(alpha, list | tuple):
            weights = vector(self.name, "alpha", alpha, above=0)
        else:
            weights = number(self.name, "alpha", alpha, above=0, below=1)
        self._alpha = weights
        self.has_class_weight = weights is not None
        self.symmetric_in_classes = weights is None
        self.class_parameters = ("alpha",)
        self.proper = gamma == 0 and weights is None

    def bind(self, task: Task) -> None:
        super().bind(task)
        alpha = self._alpha
        if alpha is None:
            alpha = torch.ones(task.n_classes, dtype=torch.float64)
        elif alpha.ndim == 0:
            if not task.binary:
                raise CannotServe(
                    f"Focal needs one alpha per class for {task.n_classes} classes, got alpha={alpha.item()}"
                )
            alpha = torch.stack([1 - alpha, alpha])
        elif len(alpha) != task.n_classes:
            raise CannotServe(f"Focal has {len(alpha)} alphas, the task has {task.n_classes} classes")
        self.register_buffer("alpha", alpha)

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        nll, log_rest = prediction.nll_and_log_rest(target)
        # (1 - p_y)^gamma as exp(gamma log(1 - p_y)): the power of a rounded zero has no gradient for gamma < 1
        fade = (self.gamma.to(nll.dtype) * log_rest).exp()
        return self.alpha.to(nll.dtype).gather(0, target) * fade * nll


class DualFocal(Loss):
    """Focal loss that also looks at the strongest class below the true one.

    Per row (1 - p_y + p_j)^gamma (-log p_y), p = softmax(z), where p_j is the largest p_k < p_y, and 0 where there
    is none. It keeps a row in focus until the true class stands alone; gamma 0 is cross-entropy. The value jumps
    where a class ties with the true one (p_j changes from one class to another), so no posterior follows from
    its gradient for gamma > 0.

    Use it when cross-entropy is overconfident and focal loss underconfident: it was proposed for the calibration of
    deep networks.

    Source: Tao et al. 2023, https://arxiv.org/abs/2305.13665.

    Parameters
    ----------
    gamma
        Focus, >= 0.

    Raises
    ------
    ValueError
        Outside this range.

    Examples
    --------
    p_y = .75 and p_j = .25: sqrt(.5) times -log .75.

    >>> loss = DualFocal(gamma=0.5)
    >>> loss(Prediction(torch.log(torch.tensor([[3.0]])), loss.link), torch.tensor([1]))
    tensor([0.2034])
    """

    link = Softmax()
    gamma: Tensor

    def __init__(self, gamma: float = 5.0) -> None:
        super().__init__()
        self.register_buffer("gamma", number(self.name, "gamma", gamma, at_least=0))
        if self.gamma.item() == 0:
            self.proper = True
            self.posterior = "gradient"
        else:
            self.kinks = "p_k = p_y for a class k other than y, where the value jumps"

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        log_probs = prediction.log_probs
        log_p = at(log_probs, target)
        below = torch.where(log_probs < log_p.unsqueeze(-1), log_probs, -torch.inf).amax(dim=-1)
        # log(1 - p_y + p_j) from logarithms, so that its power has a gradient where p_y rounds to one; without a p_j
        # apart, since the sum with a logarithm of zero has no second derivative
        log_rest, alone = log_others(log_probs, target), below == -torch.inf
        log_base = torch.where(alone, log_rest, torch.logaddexp(log_rest, torch.where(alone, 0, below)))
        return -(self.gamma.to(log_probs.dtype) * log_base).exp() * log_p


class FocalFlsd53(Loss):
    """Focal loss with gamma 5 for rows whose true class is unlikely and gamma 3 for the others.

    Per row (1 - p_y)^gamma(p_y) (-log p_y), gamma(p_y) = 5 for p_y < .2, else 3 (sample-dependent focal loss, the
    paper's FLSD-53). The value jumps at p_y = .2, from .527 below to .824 above, so no posterior follows from its
    gradient.

    Use it to repeat the paper, which proposes it for the calibration of deep networks; where the posterior should
    follow from the gradient take ``focal``.

    Source: Mukhoti et al. 2020, https://arxiv.org/abs/2002.09437.

    Examples
    --------
    >>> loss = FocalFlsd53()
    >>> loss(Prediction(torch.zeros(1, 1), loss.link), torch.tensor([1]))  # .5^3 * .6931
    tensor([0.0866])
    >>> loss(Prediction(torch.zeros(1, 10), loss.link), torch.tensor([1]))  # .9^5 * 2.3026
    tensor([1.3597])
    """

    link = Softmax()
    kinks = "p_y = .2, where the value jumps"

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        nll, log_rest = prediction.nll_and_log_rest(target)
        gamma = torch.where((-nll).exp() < 0.2, 5, 3)
        return (gamma * log_rest).exp() * nll
