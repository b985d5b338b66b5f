"""Losses of the margin m = yt s, where yt is +1 for a score that speaks for the row's class and -1 else."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbench.objective.hyperparameters import number
from lossbench.objective.links import Sigmoid
from lossbench.objective.loss import Loss
from lossbench.objective.losses.external import External
from lossbench.objective.prediction import Prediction
from lossbench.objective.targets import over_columns, signs


def _margins(prediction: Prediction, target: Tensor) -> Tensor:
    return signs(target, prediction.scores) * prediction.scores


class Hinge(Loss):
    """The loss of support vector machines.

    Per score max(0, margin - yt s); more than two classes are one-vs-rest columns, and their mean. At its minimum
    every score is plus or minus the margin, so a score says which class is likelier and not by how much.

    Use it when only the decision matters: rows beyond the margin no longer pull. For probabilities it needs a
    calibrator.

    Source: Cortes & Vapnik 1995, https://doi.org/10.1007/BF00994018.

    Parameters
    ----------
    margin
        > 0; it sets the unit of the scores.

    Raises
    ------
    ValueError
        Outside this range.

    Examples
    --------
    >>> loss = Hinge()
    >>> loss(Prediction(torch.tensor([[0.25], [0.25], [2.0]]), loss.link), torch.tensor([1, 0, 1]))
    tensor([0.7500, 1.2500, 0.0000])
    """

    link = Sigmoid()
    kinks = "yt s = margin"
    margin: Tensor

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("margin", number(self.name, "margin", margin, above=0))

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        margins = _margins(prediction, target)
        return over_columns(F.relu(self.margin.to(margins.dtype) - margins))


class SquaredHinge(Loss):
    """The hinge, squared, which has a gradient everywhere and a posterior behind its scores.

    Per score max(0, margin - yt s)^2; more than two classes are one-vs-rest columns, and their mean. At the minimum
    s = margin (2 eta - 1).

    Use it when you want a margin and probabilities as well. A row on the wrong side weighs with the square of its
    distance, so wrong labels mislead it more than the hinge.

    Source: Chang et al. 2008, https://www.jmlr.org/papers/v9/chang08a.html.

    Parameters
    ----------
    margin
        > 0; it sets the unit of the scores.

    Raises
    ------
    ValueError
        Outside this range.

    Examples
    --------
    >>> loss = SquaredHinge()
    >>> loss(Prediction(torch.tensor([[0.5], [0.5], [2.0]]), loss.link), torch.tensor([1, 0, 1]))
    tensor([0.2500, 2.2500, 0.0000])
    """

    link = Sigmoid()
    posterior = "gradient"
    margin: Tensor

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("margin", number(self.name, "margin", margin, above=0))

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        margins = _margins(prediction, target)
        return over_columns(F.relu(self.margin.to(margins.dtype) - margins).square())


class Exponential(Loss):
    """The loss that AdaBoost descends.

    Per score exp(-yt s); more than two classes are one-vs-rest columns, and their mean. At the minimum
    s = log(eta / (1 - eta)) / 2. It overflows in float32 for scores beyond 80, and one wrong label far out outweighs
    all other rows.

    Use it to train what boosting optimises, on clean labels.

    Source: Freund & Schapire 1997, https://doi.org/10.1006/jcss.1997.1504.

    Examples
    --------
    >>> loss = Exponential()
    >>> loss(Prediction(torch.tensor([[0.0], [2.0]]), loss.link), torch.tensor([1, 1]))
    tensor([1.0000, 0.1353])
    """

    link = Sigmoid()
    posterior = "gradient"
    finite_scores = 80.0

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        return over_columns((-_margins(prediction, target)).exp())


def multi_margin(p: int = 1, margin: float = 1.0) -> External:
    """Return torch's multiclass hinge of the logits.

    Per row 1/K sum_{k != y} max(0, margin - z_y + z_k)^p; for two classes max(0, margin - yt s)^p / 2. Unlike
    one-vs-rest hinges it only asks that the true class leads. It does not stack: torch computes it one run at a time.

    Use it for more than two classes when the true class has to lead and by which probability does not matter.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiMarginLoss.html; Crammer & Singer 2001
    take the largest violation instead of the mean.

    Parameters
    ----------
    p
        Exponent, 1 or 2.
    margin
        > 0; it sets the unit of the scores.

    Raises
    ------
    ValueError
        Outside these ranges.

    Examples
    --------
    (max(0, 1 - 2 + 1.5) + max(0, 1 - 2 + 0)) / 3.

    >>> loss = multi_margin()
    >>> loss(Prediction(torch.tensor([[2.0, 1.5, 0.0]]), loss.link), torch.tensor([0]))
    tensor([0.1667])
    """
    if isinstance(p, bool) or p not in (1, 2):
        raise ValueError(f"multi_margin needs p to be 1 or 2, got p={p!r}")
    size = number("multi_margin", "margin", margin, above=0).item()
    return External(
        torch.nn.MultiMarginLoss(p=int(p), margin=size, reduction="none"),
        reads="logits",
        target="index",
        kinks="z_y - z_k = margin" if p == 1 else "",
        posterior="gradient" if p == 2 else "calibrator",
        stackable="no",  # torch has no batching rule for it
    )
