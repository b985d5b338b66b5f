"""Penalties on the network's probabilities and on its features."""

from __future__ import annotations

import torch
from torch import Tensor

from lossbench.errors import CannotServe
from lossbench.objective.regularizer import Regularizer, Step


class ConfidencePenalty(Regularizer):
    """-strength * H(p), mean over rows, H(p) = -sum_k p_k log p_k of the link's probabilities.

    It rewards uncertainty, so the term is negative: -strength log K for uniform probabilities, 0 for certain
    ones.

    Source: Pereyra et al. 2017, https://arxiv.org/abs/1701.06548.

    Parameters
    ----------
    strength
        >= 0; 0 is no penalty.
    schedule, until
        See :class:`lossbench.objective.regularizer.Regularizer`.

    Examples
    --------
    >>> from lossbench.objective.links import Sigmoid
    >>> from lossbench.objective.prediction import Prediction
    >>> step = Step({}, None, None, Prediction(torch.zeros(2, 1), Sigmoid()), None)
    >>> ConfidencePenalty(strength=1.0).penalty(step)  # -log 2
    tensor(-0.6931)
    """

    def measure(self, step: Step) -> Tensor:
        probs = step.prediction.probs
        # 0 log 0 = 0, with the gradient 0: a probability that is 0 comes from a link that is flat there
        positive = torch.where(probs > 0, probs, 1)
        return (positive * positive.log()).sum(dim=-1).mean()


class FeatureL2(Regularizer):
    """strength * mean over rows of |h_i|_2, h the features, the network's last hidden layer.

    Where the features are the inputs (a linear model) it is a constant.

    Source: pytorch-metric-learning's LpRegularizer,
    https://kevinmusgrave.github.io/pytorch-metric-learning/regularizers/.

    Parameters
    ----------
    strength
        >= 0; 0 is no penalty.
    schedule, until
        See :class:`lossbench.objective.regularizer.Regularizer`.

    Raises
    ------
    CannotServe
        For a network without features.

    Examples
    --------
    >>> step = Step({}, None, torch.tensor([[3.0, 4.0], [0.0, 1.0]]), None, None)
    >>> FeatureL2(strength=1.0).penalty(step)
    tensor(3.)
    """

    needs = frozenset({"features"})

    def measure(self, step: Step) -> Tensor:
        if step.features is None:
            raise CannotServe(f"{self.name} reads features, the last hidden layer, and the model gives none")
        return torch.linalg.vector_norm(step.features, dim=-1).mean()
