"""Cross-entropy in its forms, and the Brier score: losses whose minimum is the class posterior."""

from __future__ import annotations

import torch
from torch import Tensor

from lossbench.objective.hyperparameters import number
from lossbench.objective.links import Softmax
from lossbench.objective.loss import Loss
from lossbench.objective.losses.external import External
from lossbench.objective.prediction import Prediction
from lossbench.objective.targets import indicator, over_columns


def cross_entropy(label_smoothing: float = 0.0, ignore_index: int | None = None) -> External:
    """Return torch's cross-entropy of the logits.

    Per row (1 - e) (-log p_y) + e/K sum_k (-log p_k), p = softmax(z), z (N, K), e = ``label_smoothing``; 0 is
    the plain -log p_y, 1 ignores the labels. Smoothing moves the minimum to (1 - e) eta + e/K, so the loss is
    then not proper; the posterior undoes it. Rows with ``ignore_index`` leave the mean.

    Use it first, and as the baseline: it is proper and convex in the scores. Smoothing keeps scores of separable
    rows from growing without end.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html; Szegedy et al.
    2016, https://arxiv.org/abs/1512.00567.

    Parameters
    ----------
    label_smoothing
        e, in [0, 1).
    ignore_index
        Target of rows that do not count; None: every row does.

    Raises
    ------
    ValueError
        Outside these ranges.

    Examples
    --------
    >>> loss = cross_entropy()
    >>> scores = torch.tensor([[10.0, 0.0, -10.0], [8.0, 8.0, 8.0]])
    >>> loss(Prediction(scores, loss.link), torch.tensor([0, 2])).mean()
    tensor(0.5493)
    """
    smoothing = number("cross_entropy", "label_smoothing", label_smoothing, at_least=0, below=1).item()
    kind = External if smoothing else _PlainCrossEntropy
    return kind(
        torch.nn.CrossEntropyLoss(reduction="none", label_smoothing=smoothing),
        reads="logits",
        target="index",
        ignore_index=ignore_index,
        proper=smoothing == 0,
        posterior="gradient",
    )


class _PlainCrossEntropy(External):
    """torch's module without smoothing, which is -log p_y: for two classes that is a sixth of the module's work."""

    def _value(self, prediction: Prediction, target: Tensor) -> Tensor:
        return prediction.nll(target)


def bce_with_logits(pos_weight: float = 1.0) -> External:
    """Return torch's binary cross-entropy of the scores.

    Per score y w softplus(-s) + (1 - y) softplus(s), w = ``pos_weight``, divided by the count; more than two
    classes are one-vs-rest columns and their mean. w = 1 is :class:`torch.nn.BCELoss` of the sigmoid. With w
    the score at the minimum is log(w eta / (1 - eta)), so sigmoid(s) is no probability; the posterior undoes
    it.

    Use it for two classes, where it is cross-entropy, with ``pos_weight`` when a missed positive costs more than a
    false alarm; for more classes when every score should be a log-odds of its own.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html.

    Parameters
    ----------
    pos_weight
        Weight of the positive class (of a column's own class), > 0.

    Raises
    ------
    ValueError
        Outside this range.

    Examples
    --------
    >>> loss = bce_with_logits(pos_weight=3)
    >>> loss(Prediction(torch.zeros(2, 1), loss.link), torch.tensor([0, 1]))
    tensor([0.6931, 2.0794])
    """
    weight = number("bce_with_logits", "pos_weight", pos_weight, above=0)
    return External(
        torch.nn.BCEWithLogitsLoss(reduction="none", pos_weight=weight),
        reads="scores",
        target="indicator",
        proper=weight.item() == 1,
        symmetric_in_classes=weight.item() == 1,
        posterior="gradient",
        stackable="all",
        has_class_weight=weight.item() != 1,
    )


class Brier(Loss):
    """Squared distance of the probabilities to the one-hot target.

    Per row sum_k (p_k - onehot_k)^2 for K > 2 and (p_1 - y)^2, counted once, for two classes; in [0, 2] and
    [0, 1]. The *sum* over columns, where ``mse`` takes torch's mean. The metric ``brier`` is its mean over
    rows.

    Use it when probabilities matter and no single row should dominate: a row's loss is bounded. Where a row is
    confidently wrong its gradient vanishes, so it starts more slowly than cross-entropy.

    Source: Brier 1950, https://doi.org/10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.

    Examples
    --------
    >>> loss = Brier()
    >>> loss(Prediction(torch.zeros(1, 1), loss.link), torch.tensor([1]))
    tensor([0.2500])
    >>> loss(Prediction(torch.zeros(1, 4), loss.link), torch.tensor([1]))
    tensor([0.7500])
    """

    link = Softmax()
    proper = True
    posterior = "gradient"

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        # Of two classes the positive one alone, which is what counts once.
        error = prediction.positive_prob - indicator(target, prediction.scores)
        return over_columns(error.square(), "sum")


class Poly1(Loss):
    """Cross-entropy with another first coefficient of its expansion in 1 - p_y.

    Per row -log p_y + epsilon (1 - p_y), p = softmax(z); -log p = sum_j (1 - p)^j / j has epsilon 0. A positive
    epsilon pushes on rows that are nearly right, a negative one less.

    Use it as cross-entropy with one knob to tune: how much more rows that are nearly right should count.

    Source: Leng et al. 2022, https://arxiv.org/abs/2204.12511.

    Parameters
    ----------
    epsilon
        >= -1, where the first coefficient is 0.

    Raises
    ------
    ValueError
        Outside this range.

    Examples
    --------
    .6931 + 2 * .5.

    >>> loss = Poly1(epsilon=2)
    >>> loss(Prediction(torch.zeros(1, 1), loss.link), torch.tensor([1]))
    tensor([1.6931])
    """

    link = Softmax()
    posterior = "gradient"
    epsilon: Tensor

    def __init__(self, epsilon: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("epsilon", number(self.name, "epsilon", epsilon, at_least=-1))
        self.proper = epsilon == 0

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        nll, log_rest = prediction.nll_and_log_rest(target)
        return nll + self.epsilon.to(nll.dtype) * log_rest.exp()
