"""Losses of whole batches that ask how positives rank among negatives.

More than two classes are one-vs-rest columns. A batch of one class has the loss 0 and moves nothing; ``needs``
therefore asks for batches with both classes. A loss of ranks does not see a constant that is added to all scores, so a
raw sigmoid of its scores is no probability: thresholds and calibration come from validation rows. With ``average``
``micro`` all columns are ranked together, so that the largest score of a row names its class; ``macro`` is the mean of
the columns' own losses, over those with both rows of their class and others in the batch, and leaves every column a
constant of its own (on iris the largest score is then right in two rows of three, while every column ranks well).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossbench.objective.hyperparameters import choice, number
from lossbench.objective.links import Sigmoid
from lossbench.objective.loss import Loss
from lossbench.objective.losses.overlap import mean_of_defined
from lossbench.objective.prediction import Prediction
from lossbench.objective.targets import indicator
from lossbench.task import Task

Surrogate = Literal["squared", "hinge", "squared_hinge", "logistic"]
Average = Literal["micro", "macro"]
_AVERAGES = ("micro", "macro")


def _columns(scores: Tensor, labels: Tensor, average: Average) -> tuple[Tensor, Tensor]:
    """Return scores and 0/1 targets of the rankings, one per column: (N, n), or all together (N n, 1)."""
    return (scores.reshape(-1, 1), labels.reshape(-1, 1)) if average == "micro" else (scores, labels)


def _both_classes(labels: Tensor) -> Tensor:
    """Return 1 for a batch (N, n) with rows of two classes, else 0."""
    return (labels.amax(dim=0) > labels.amin(dim=0)).any().to(labels.dtype)


class PairwiseAuc(Loss):
    """One minus the AUROC, with a surrogate for the step that counts a pair.

    Mean over the pairs of a positive row i and a negative row j of phi(s_i - s_j), over the batch: ``squared``
    (margin - d)^2, ``hinge`` max(0, margin - d), ``squared_hinge`` its square, ``logistic`` log(1 + exp(-d)), which
    has no margin. All but the hinge are consistent with AUROC. The first three cost N log N; logistic holds all
    N x N pairs (K^2 as many with micro).

    Use it when you are judged by AUROC and the threshold comes later. Large batches help, and one with few
    positives holds few pairs.

    Source: Gao & Zhou 2015, https://arxiv.org/abs/1208.0645; by sorting: Rust & Hocking 2023,
    https://arxiv.org/abs/2302.11062.

    Parameters
    ----------
    surrogate
        phi.
    margin
        > 0; it sets the unit of the scores.
    average
        ``micro`` or ``macro``, for more than two classes; see the module.

    Raises
    ------
    ValueError
        Outside these ranges.

    Examples
    --------
    A positive at .5 against negatives at 0 and -1: (max(0, 1 - .5)^2 + max(0, 1 - 1.5)^2) / 2.

    >>> loss = PairwiseAuc()
    >>> loss(Prediction(torch.tensor([[0.5], [0.0], [-1.0]]), loss.link), torch.tensor([1, 0, 0]))
    tensor(0.1250)
    """

    link = Sigmoid()
    pointwise = False
    needs = frozenset({"both_classes"})
    margin: Tensor

    def __init__(self, surrogate: Surrogate = "squared_hinge", margin: float = 1.0, average: Average = "micro") -> None:
        super().__init__()
        self.average: Average = choice(self.name, "average", average, _AVERAGES)
        self.surrogate: Surrogate = choice(
            self.name, "surrogate", surrogate, ("squared", "hinge", "squared_hinge", "logistic")
        )
        self.register_buffer("margin", number(self.name, "margin", margin, above=0))
        if surrogate == "hinge":
            self.kinks = "s_i - s_j = margin"

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        every = indicator(target, prediction.scores)
        scores, labels = _columns(prediction.scores, every, self.average)
        total = self._logistic(scores, labels) if self.surrogate == "logistic" else self._sorted(scores, labels)
        pairs = labels.sum(dim=0) * (1 - labels).sum(dim=0)
        return _both_classes(every) * mean_of_defined(total / pairs.clamp(min=1), labels)

    @staticmethod
    def _logistic(scores: Tensor, labels: Tensor) -> Tensor:
        behind = scores.unsqueeze(0) - scores.unsqueeze(1)  # of (i, j): s_j - s_i
        return (labels.unsqueeze(1) * (1 - labels).unsqueeze(0) * F.softplus(behind)).sum(dim=(0, 1))

    def _sorted(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Return the sum over pairs, (n,), from running sums over the sorted scores.

        Put a positive at v = s - margin and a negative at v = s. A pair counts where v_j > v_i, with v_j - v_i or its
        square, so a negative needs the number, sum and sum of squares of the v_i below its own.
        """
        # sums of squares cancel, so they are kept in float64 and around the middle
        shifted = scores.double() - scores.double().mean(dim=0).detach() - labels.double() * self.margin.double()
        positive = labels.double()
        if self.surrogate == "squared":  # every pair counts
            count, first, second = (
                (positive * part).sum(dim=0) for part in (torch.ones_like(shifted), shifted, shifted.square())
            )
        else:
            shifted, order = shifted.sort(dim=0)
            positive = positive.gather(0, order)
            count, first, second = (
                (positive * part).cumsum(dim=0) for part in (torch.ones_like(shifted), shifted, shifted.square())
            )
        if self.surrogate == "hinge":
            behind = count * shifted - first
        else:
            behind = count * shifted.square() - 2 * first * shifted + second
        return ((1 - positive) * behind).sum(dim=0).to(scores.dtype)


class Aucm(Loss):
    """AUC margin loss: a min-max form of the squared pairwise loss that is a mean over rows.

    With h = sigmoid(s), over the batch: E+[(h - a)^2] + E-[(h - b)^2] + 2 alpha (margin + E-[h] - E+[h]) - alpha^2,
    E+ and E- the means over positives and negatives (of a column's own class and the others). a, b and alpha are
    parameters of the loss, one each per score: the network, a and b descend, alpha ascends and is kept >= 0 after
    each step. (A public implementation has a parenthesis misplaced and divides the last term by the wrong count;
    the authors' own, LibAUC, weighs the terms with p (1 - p), and trains with an optimizer of its own, PESG.)

    Use it when you are judged by AUROC and batches are small: a, b and alpha remember what a batch has no pairs
    for.

    Source: Yuan et al. 2021, https://arxiv.org/abs/2012.03173.

    Parameters
    ----------
    margin
        > 0: how far apart the means are wanted.

    Raises
    ------
    ValueError
        Outside this range.

    Examples
    --------
    At first a = b = alpha = 0: .5^2 + .5^2.

    >>> loss = Aucm()
    >>> loss.bind(Task(1, ("negative", "positive"), (1, 1)))
    >>> loss(Prediction(torch.zeros(2, 1), loss.link), torch.tensor([1, 0])).item()
    0.5
    """

    link = Sigmoid()
    pointwise = False
    needs = frozenset({"both_classes", "parameters"})
    acts_after_step = True
    margin: Tensor
    a: Tensor
    b: Tensor
    alpha: Tensor

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("margin", number(self.name, "margin", margin, above=0))

    def bind(self, task: Task) -> None:
        super().bind(task)
        self.symmetric_in_classes = not task.binary  # two classes: a is the positive's, b the negative's
        for name in ("a", "b", "alpha"):
            self.register_parameter(name, nn.Parameter(torch.zeros(task.n_scores, dtype=torch.float64)))

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        prob = prediction.positive_prob
        labels = indicator(target, prediction.scores)
        other = 1 - labels
        own_rows, other_rows = labels.sum(dim=0).clamp(min=1), other.sum(dim=0).clamp(min=1)
        a, b, alpha = (parameter.to(prob.dtype) for parameter in (self.a, self.b, self.alpha))
        alpha = 2 * alpha.detach() - alpha  # the same value with the opposite gradient: it ascends
        near = (labels * (prob - a).square()).sum(dim=0) / own_rows + (other * (prob - b).square()).sum(
            dim=0
        ) / other_rows
        apart = (labels * prob).sum(dim=0) / own_rows - (other * prob).sum(dim=0) / other_rows
        columns = near + 2 * alpha * (self.margin.to(prob.dtype) - apart) - alpha.square()
        return mean_of_defined(columns, labels)

    def projected(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"alpha": parameters["alpha"].clamp(min=0)}


class AveragePrecision(Loss):
    """One minus the average precision, with a sigmoid for the step that counts a row above another (Smooth-AP).

    1 - mean over positives i of (1 + sum_{j positive, j != i} g_ij) / (1 + sum_{j != i} g_ij), over the batch,
    g_ij = sigmoid((s_j - s_i) / temperature). As the temperature falls the value tends to the metric and the gradient
    to nothing. The paper takes .01 on cosine similarities; ours are unbounded scores. It holds all N x N pairs
    (K^2 as many with micro).

    Use it when you are judged by average precision, where the top of the ranking counts most, with large batches:
    the precision within a small one says little.

    Source: Brown et al. 2020, https://arxiv.org/abs/2007.12163.

    Parameters
    ----------
    temperature
        > 0, in units of the scores.
    average
        ``micro`` or ``macro``, for more than two classes; see the module.

    Raises
    ------
    ValueError
        Outside these ranges.

    Examples
    --------
    One positive and one negative at the same score: the positive's rank is 1.5.

    >>> loss = AveragePrecision()
    >>> loss(Prediction(torch.zeros(2, 1), loss.link), torch.tensor([1, 0]))
    tensor(0.3333)
    """

    link = Sigmoid()
    pointwise = False
    needs = frozenset({"both_classes"})
    temperature: Tensor

    def __init__(self, temperature: float = 0.1, average: Average = "micro") -> None:
        super().__init__()
        self.average: Average = choice(self.name, "average", average, _AVERAGES)
        self.register_buffer("temperature", number(self.name, "temperature", temperature, above=0))

    def bind(self, task: Task) -> None:
        super().bind(task)
        self.symmetric_in_classes = not task.binary

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        every = indicator(target, prediction.scores)
        scores, labels = _columns(prediction.scores, every, self.average)
        others = (1 - torch.eye(len(scores), dtype=scores.dtype, device=scores.device)).unsqueeze(-1)
        above = others * torch.sigmoid((scores.unsqueeze(0) - scores.unsqueeze(1)) / self.temperature.to(scores.dtype))
        precision = (1 + (above * labels).sum(dim=1)) / (1 + above.sum(dim=1))  # (N, n), of each row i as a positive
        columns = 1 - (labels * precision).sum(dim=0) / labels.sum(dim=0).clamp(min=1)
        return _both_classes(every) * mean_of_defined(columns, labels)
