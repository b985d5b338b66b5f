"""Losses of whole batches that overlay the probabilities with the targets, as F1, Dice and Matthews' correlation do.

Soft counts stand for counts: TP = sum p y, FP = sum p (1 - y), FN = sum (1 - p) y over all rows of the batch. Two
classes: the positive class; more: the mean over classes (macro). A class that has no row in the batch, or no other
class beside it, is left out, and a batch of one class has the loss 0 and moves nothing; ``needs`` therefore asks for
batches with both classes. The soft counts of a small batch are not those of the split: prefer large ones.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from lossbench.objective.hyperparameters import number, switch
from lossbench.objective.links import Softmax
from lossbench.objective.loss import Loss
from lossbench.objective.prediction import Prediction
from lossbench.objective.targets import indicator, onehot
from lossbench.task import Task


def mean_of_defined(columns: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of (n,) values, one per column, over the columns of ``labels`` (N, n) with both a 0 and a 1.

    Where there is none it is 0 and has no gradient. The values have to be finite all the same.

    >>> mean_of_defined(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([[1.0, 0, 0], [1.0, 1, 0]]))
    tensor(3.)
    """
    defined = (labels.amax(dim=0) > labels.amin(dim=0)).to(columns.dtype)
    return (defined * columns).sum() / defined.sum().clamp(min=1)


class Overlap(Loss):
    """What losses of soft counts share; a leaf gives one value per column."""

    link = Softmax()
    pointwise = False
    needs = frozenset({"both_classes"})

    def bind(self, task: Task) -> None:
        super().bind(task)
        self.symmetric_in_classes = not task.binary  # of two classes one is the positive

    @abstractmethod
    def columns(self, probs: Tensor, labels: Tensor) -> Tensor:
        """Return (n,) finite values of probabilities and 0/1 targets, both (N, n)."""

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        labels = indicator(target, prediction.scores)
        return mean_of_defined(self.columns(prediction.positive_prob, labels), labels)


def _with_rows(labels: Tensor) -> Tensor:
    """Return 1 for columns (n,) without a row of their class, else 0: keeps a denominator that is left out from 0."""
    return (labels.amax(dim=0) == 0).to(labels.dtype)


class SoftF1(Overlap):
    """One minus the F1 of soft counts.

    1 - 2 TP / (2 TP + FP + FN), over the batch; two classes: of the positive class; more: macro. See the module for
    batches without both classes.

    Use it when you are judged by F1 at the threshold .5 and probabilities do not matter. Its rival is any proper
    loss with a threshold tuned on validation.

    Source: Benedict et al. 2021, https://arxiv.org/abs/2108.10566 (sigmoidF1 without its extra sigmoid).

    Examples
    --------
    Probability 1/2 for a positive and a negative row: TP = FP = FN = .5.

    >>> loss = SoftF1()
    >>> loss(Prediction(torch.zeros(2, 1), loss.link), torch.tensor([0, 1]))
    tensor(0.5000)
    """

    def columns(self, probs: Tensor, labels: Tensor) -> Tensor:
        both = probs.sum(dim=0) + labels.sum(dim=0) + _with_rows(labels)
        return 1 - 2 * (probs * labels).sum(dim=0) / both


class Dice(Overlap):
    """One minus the Dice coefficient of soft counts.

    1 - (2 TP + smoothing) / (2 TP + FP + FN + smoothing), over the batch; two classes: of the positive class; more:
    macro. ``squared`` replaces 2 TP + FP + FN = sum p + sum y by sum p^2 + sum y^2, as V-Net has it; without, and with
    smoothing 0, it is :class:`SoftF1`. See the module for batches without both classes.

    Use it to repeat what segmentation does; otherwise it is :class:`SoftF1`.

    Source: Milletari et al. 2016, https://arxiv.org/abs/1606.04797; Sudre et al. 2017,
    https://arxiv.org/abs/1707.03237 (not squared).

    Parameters
    ----------
    smoothing
        >= 0; many libraries add 1, which makes the loss of rare classes nearly flat.
    squared
        Square the sums of the denominator.

    Raises
    ------
    ValueError
        Outside these ranges.

    Examples
    --------
    (2 * .5 + 1) / (2 + 1), and 2 * .5 / (.25 + .25 + 1).

    >>> loss, vnet = Dice(smoothing=1), Dice(squared=True)
    >>> loss(Prediction(torch.zeros(2, 1), loss.link), torch.tensor([0, 1]))
    tensor(0.3333)
    >>> vnet(Prediction(torch.zeros(2, 1), loss.link), torch.tensor([0, 1]))
    tensor(0.3333)
    """

    smoothing: Tensor

    def __init__(self, smoothing: float = 0.0, squared: bool = False) -> None:
        super().__init__()
        self.register_buffer("smoothing", number(self.name, "smoothing", smoothing, at_least=0))
        self.squared = switch(self.name, "squared", squared)

    def columns(self, probs: Tensor, labels: Tensor) -> Tensor:
        smoothing = self.smoothing.to(probs.dtype)
        sizes = probs.square() if self.squared else probs
        both = (sizes + labels).sum(dim=0) + smoothing + _with_rows(labels)
        return 1 - (2 * (probs * labels).sum(dim=0) + smoothing) / both


def _missed(probs: Tensor, labels: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """Return 1 - Tversky index, (n,), as its own quotient, which keeps the digits of a small one."""
    false = (alpha * probs * (1 - labels) + beta * (1 - probs) * labels).sum(dim=0)
    return false / ((probs * labels).sum(dim=0) + false + _with_rows(labels))


class Tversky(Overlap):
    """One minus the Tversky index of soft counts: false positives and false negatives have weights of their own.

    1 - TP / (TP + alpha FP + beta FN), over the batch; two classes: of the positive class; more: macro.
    alpha = beta = .5 is :class:`SoftF1`. (Libraries differ in which of the two weighs the false negatives: here
    beta.) See the module for batches without both classes.

    Use it when misses and false alarms should not count alike: beta > alpha favours recall.

    Source: Salehi et al. 2017, https://arxiv.org/abs/1706.05721.

    Parameters
    ----------
    alpha
        Weight of false positives, >= 0.
    beta
        Weight of false negatives, > 0.

    Raises
    ------
    ValueError
        Outside these ranges.

    Examples
    --------
    TP = FP = FN = .5: 1 - .5 / (.5 + .15 + .35).

    >>> loss = Tversky()
    >>> loss(Prediction(torch.zeros(2, 1), loss.link), torch.tensor([0, 1]))
    tensor(0.5000)
    """

    alpha: Tensor
    beta: Tensor

    def __init__(self, alpha: float = 0.3, beta: float = 0.7) -> None:
        super().__init__()
        self.register_buffer("alpha", number(self.name, "alpha", alpha, at_least=0))
        self.register_buffer("beta", number(self.name, "beta", beta, above=0))

    def columns(self, probs: Tensor, labels: Tensor) -> Tensor:
        return _missed(probs, labels, self.alpha.to(probs.dtype), self.beta.to(probs.dtype))


class FocalTversky(Tversky):
    """The Tversky loss to a power.

    (1 - TP / (TP + alpha FP + beta FN))^gamma, over the batch; two classes: of the positive class; more: the mean of
    the classes' powers. gamma 1 is :class:`Tversky`. The paper writes the power as 1 / gamma with gamma 4/3; below 1
    it steepens towards the end, where the last errors are.

    Use it when the Tversky loss stalls before the last rows of a rare class are found.

    Source: Abraham & Khan 2018, https://arxiv.org/abs/1810.07842.

    Parameters
    ----------
    alpha
        Weight of false positives, >= 0.
    beta
        Weight of false negatives, > 0.
    gamma
        The power, > 0.

    Raises
    ------
    ValueError
        Outside these ranges.

    Examples
    --------
    >>> loss = FocalTversky(gamma=2)
    >>> loss(Prediction(torch.zeros(2, 1), loss.link), torch.tensor([0, 1]))
    tensor(0.2500)
    """

    gamma: Tensor

    def __init__(self, alpha: float = 0.3, beta: float = 0.7, gamma: float = 0.75) -> None:
        super().__init__(alpha, beta)
        self.register_buffer("gamma", number(self.name, "gamma", gamma, above=0))

    def columns(self, probs: Tensor, labels: Tensor) -> Tensor:
        missed = super().columns(probs, labels)
        # the power of 0 has no gradient for gamma < 1; there the batch is overlaid perfectly, and nothing moves
        perfect = missed == 0
        return torch.where(perfect, 0, torch.where(perfect, 1, missed) ** self.gamma.to(probs.dtype))


class Mcc(Loss):
    """One minus the Matthews correlation of soft counts.

    1 - (TP TN - FP FN) / sqrt((TP + FP)(TP + FN)(TN + FP)(TN + FN)), over the batch; for more than two classes
    Gorodkin's R_K of the soft confusion matrix, which that is for two. In [0, 2]; probabilities that are 0 or 1
    give the metric. A batch of one class has the loss 0 and moves nothing; one in which every probability is for
    the same class has the loss 1, as the metric has it.

    Use it when you are judged by Matthews' correlation at the threshold .5, which looks at both classes, and
    probabilities do not matter.

    Source: Abhishek & Hamarneh 2021, https://arxiv.org/abs/2010.13454; Gorodkin 2004,
    https://doi.org/10.1016/j.compbiolchem.2004.09.006.

    Examples
    --------
    TP = TN = .75, FP = FN = .25: 1 - (.5625 - .0625) / 1.

    >>> loss = Mcc()
    >>> scores = torch.log(torch.tensor([[3.0], [1 / 3]]))
    >>> loss(Prediction(scores, loss.link), torch.tensor([1, 0]))
    tensor(0.5000)
    """

    link = Softmax()
    pointwise = False
    needs = frozenset({"both_classes"})

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        probs = prediction.probs
        labels = onehot(target, probs.shape[-1], probs)
        share = labels.mean(dim=0)
        # covariances over the batch, summed over classes: TP TN - FP FN = N^2 / 2 of theirs for two classes
        common = (probs * (labels - share)).sum(dim=-1).mean()
        spread = (probs.mean(dim=0) * (1 - probs).mean(dim=0)).sum() * (share * (1 - share)).sum()
        flat = spread <= 0
        correlation = torch.where(flat, 0, common / torch.where(flat, 1, spread).sqrt())
        return torch.where(labels.amin(dim=0).amax() == 1, 0, 1 - correlation)
