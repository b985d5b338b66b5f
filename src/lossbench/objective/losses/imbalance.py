"""Losses that know how rare each class is, from the class counts of the training split."""

from __future__ import annotations

import torch
from torch import Tensor

from lossbench.objective.hyperparameters import number
from lossbench.objective.links import Softmax, log_softmax
from lossbench.objective.loss import Loss
from lossbench.objective.prediction import Prediction
from lossbench.objective.targets import at, onehot
from lossbench.task import Task


def _log_priors(task: Task) -> Tensor:
    return torch.tensor(task.priors, dtype=torch.float64).log()


def _shifted(prediction: Prediction, shift: Tensor) -> Prediction:
    """Return the prediction whose logits are moved by (K,) numbers; of two classes the score by their difference."""
    scores = prediction.scores
    if scores.shape[-1] == 1:
        shift = shift[1:] - shift[:1]
    return Prediction(scores + shift.to(scores.dtype), prediction.link)


def _equal(values: tuple[int, ...]) -> bool:
    return len(set(values)) == 1


class BalancedSoftmax(Loss):
    """Cross-entropy of the logits shifted by the logarithm of the class counts.

    Per row cross_entropy(z + log n, y), n (K,) the class counts of the training split. So softmax(z) itself
    learns the posterior of a population with equal classes, which is what a balanced test set asks for; equal
    counts give cross-entropy. It is :class:`LogitAdjusted` with tau 1, since adding a constant to all logits
    changes nothing.

    Use it when classes are imbalanced in training and you are judged as if they were equal: balanced accuracy,
    macro recall.

    Source: Ren et al. 2020, https://arxiv.org/abs/2007.10740.

    Examples
    --------
    One negative and three positive rows: a score of 0 stands for the odds 3.

    >>> loss = BalancedSoftmax()
    >>> loss.bind(Task(1, ("negative", "positive"), (1, 3)))
    >>> loss(Prediction(torch.zeros(2, 1), loss.link), torch.tensor([0, 1])).neg().exp()
    tensor([0.2500, 0.7500])
    """

    link = Softmax()
    posterior = "gradient"
    class_parameters = ("log_counts",)
    needs = frozenset({"priors"})
    log_counts: Tensor

    def bind(self, task: Task) -> None:
        super().bind(task)
        self.register_buffer("log_counts", torch.tensor(task.class_counts, dtype=torch.float64).log())
        self.proper = self.symmetric_in_classes = _equal(task.class_counts)

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        return _shifted(prediction, self.log_counts).nll(target)


class LogitAdjusted(Loss):
    """Cross-entropy of the logits shifted by tau times the logarithm of the class priors.

    Per row cross_entropy(z + tau log pi, y), pi the class frequencies of the training split; for two classes
    bce(s + tau log(pi_1 / pi_0)). With tau 1 the score 0 is the Bayes threshold of the balanced error; tau 0 or
    equal classes give cross-entropy. (The paper's other proposal adjusts the scores of a network that is trained
    with cross-entropy, after training; here the shift belongs to the loss alone, and the scores are read as they
    are.)

    Use it when you are judged by balanced accuracy, or by something between it (tau 1) and accuracy (tau 0).

    Source: Menon et al. 2021, https://arxiv.org/abs/2007.07314.

    Parameters
    ----------
    tau
        Size of the shift, >= 0.

    Raises
    ------
    ValueError
        Outside this range.

    Examples
    --------
    >>> loss = LogitAdjusted(tau=2)
    >>> loss.bind(Task(1, ("negative", "positive"), (1, 3)))
    >>> loss(Prediction(torch.zeros(2, 1), loss.link), torch.tensor([0, 1])).neg().exp()
    tensor([0.1000, 0.9000])
    """

    link = Softmax()
    posterior = "gradient"
    class_parameters = ("log_priors",)
    needs = frozenset({"priors"})
    tau: Tensor
    log_priors: Tensor

    def __init__(self, tau: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("tau", number(self.name, "tau", tau, at_least=0))

    def bind(self, task: Task) -> None:
        super().bind(task)
        self.register_buffer("log_priors", _log_priors(task))
        self.proper = self.symmetric_in_classes = self.tau.item() == 0 or _equal(task.class_counts)

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        return _shifted(prediction, self.tau * self.log_priors).nll(target)


class Ldam(Loss):
    """Cross-entropy with a margin for the true class that is the larger the rarer it is.

    Per row cross_entropy(scale (z - m_y onehot), y), m_c = max_m n_c^(-1/4) / max_k n_k^(-1/4), so the rarest
    class has the margin max_m; for two classes softplus(-scale (yt s - m_y)), yt = +-1. max_m 0 with scale 1 is
    cross-entropy. The paper uses scale 30 with a normalised last layer, whose scores lie in [-1, 1]; our networks
    emit unbounded scores, for which the scale is 1 (``loss=cosface`` is the relative with a normalised layer).
    Its deferred re-weighting (DRW) is a weighting with a start: ``weighting=effective_number weighting.start=160``.

    Use it when rare classes have few rows and should keep a larger distance from the boundary, with deferred
    re-weighting, as the paper has it.

    Source: Cao et al. 2019, https://arxiv.org/abs/1906.07413.

    Parameters
    ----------
    max_m
        Margin of the rarest class, >= 0.
    scale
        Inverse temperature of the scores, > 0.

    Raises
    ------
    ValueError
        Outside these ranges.

    Examples
    --------
    Counts 16 and 1: the margins are .25 and .5, and scores of minus and plus the margin stand for probability 1/2.

    >>> loss = Ldam(max_m=0.5)
    >>> loss.bind(Task(1, ("negative", "positive"), (16, 1)))
    >>> loss(Prediction(torch.tensor([[-0.25], [0.5]]), loss.link), torch.tensor([0, 1])).neg().exp()
    tensor([0.5000, 0.5000])
    """

    link = Softmax()
    posterior = "gradient"
    class_parameters = ("relative_margins",)
    needs = frozenset({"priors"})
    max_m: Tensor
    scale: Tensor
    relative_margins: Tensor

    def __init__(self, max_m: float = 0.5, scale: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("max_m", number(self.name, "max_m", max_m, at_least=0))
        self.register_buffer("scale", number(self.name, "scale", scale, above=0))

    def bind(self, task: Task) -> None:
        super().bind(task)
        counts = torch.tensor(task.class_counts, dtype=torch.float64)
        self.register_buffer("relative_margins", (counts.min() / counts) ** 0.25)
        self.symmetric_in_classes = self.max_m.item() == 0 or _equal(task.class_counts)
        self.proper = self.max_m.item() == 0 and self.scale.item() == 1

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        logits = prediction.logits
        margins = (self.max_m * self.relative_margins).to(logits.dtype)
        behind = logits - margins * onehot(target, logits.shape[-1], logits)
        return -at(log_softmax(self.scale.to(logits.dtype) * behind), target)


class VectorScaling(Loss):
    """Cross-entropy of the logits, scaled and shifted class by class.

    Per row cross_entropy(z Delta + iota, y), Delta_c = (n_c / n_max)^gamma, iota_c = tau log pi_c. The shift acts
    early in training, the scale also when the training rows are separated and a shift has no effect any more.
    gamma 0 is :class:`LogitAdjusted`. For two classes z = [0, s], so that only Delta_1 scales; the paper's binary
    form scales a row by its own class's Delta and shifts it by its own class's iota.

    Use it on imbalanced rows that the network separates in training, where a shift or a weighting alone stops
    acting.

    Source: Kini et al. 2021, https://arxiv.org/abs/2103.01550.

    Parameters
    ----------
    gamma
        Exponent of the scale, >= 0.
    tau
        Size of the shift, >= 0.

    Raises
    ------
    ValueError
        Outside these ranges.

    Examples
    --------
    Counts 4 and 1, gamma .5: the score is halved, then shifted by log(1/4).

    >>> loss = VectorScaling(gamma=0.5, tau=1)
    >>> loss.bind(Task(1, ("negative", "positive"), (4, 1)))
    >>> score = 2 * torch.log(torch.tensor([[4.0]]))
    >>> loss(Prediction(score, loss.link), torch.tensor([1])).neg().exp()
    tensor([0.5000])
    """

    link = Softmax()
    posterior = "gradient"
    needs = frozenset({"priors"})
    gamma: Tensor
    tau: Tensor
    log_priors: Tensor
    log_relative_counts: Tensor

    def __init__(self, gamma: float = 0.3, tau: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("gamma", number(self.name, "gamma", gamma, at_least=0))
        self.register_buffer("tau", number(self.name, "tau", tau, at_least=0))

    def bind(self, task: Task) -> None:
        super().bind(task)
        counts = torch.tensor(task.class_counts, dtype=torch.float64)
        self.register_buffer("log_priors", _log_priors(task))
        self.register_buffer("log_relative_counts", (counts / counts.max()).log())
        off = self.gamma.item() == 0 and self.tau.item() == 0
        self.proper = self.symmetric_in_classes = off or _equal(task.class_counts)
        if not task.binary or self.gamma.item() == 0:  # two classes: class 0's Delta multiplies a zero
            self.class_parameters = ("log_priors", "log_relative_counts")

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        scores = prediction.scores
        scale = (self.gamma * self.log_relative_counts).exp().to(scores.dtype)[-scores.shape[-1] :]
        scaled = Prediction(scores * scale, self.link)
        return _shifted(scaled, self.tau * self.log_priors).nll(target)
