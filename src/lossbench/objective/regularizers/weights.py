"""Penalties on weight matrices."""

from __future__ import annotations

from torch import Tensor

from lossbench.objective.regularizer import Regularizer, Step


class L1(Regularizer):
    """strength * sum |w| over the weight matrices; biases and normalisation layers are none.

    It pulls every weight towards 0 at the same rate, so small ones arrive (nearly: a gradient step alone does
    not stop at 0).

    Source: Tibshirani 1996, https://doi.org/10.1111/j.2517-6161.1996.tb02080.x.

    Parameters
    ----------
    strength
        >= 0; 0 is no penalty.

    Examples
    --------
    >>> import torch
    >>> step = Step({"w": torch.tensor([[1.0, -2.0]])}, None, None, None, None)
    >>> L1(strength=0.5).penalty(step)
    tensor(1.5000)
    """

    def measure(self, step: Step) -> Tensor:
        return total(step, [weight.abs().sum() for weight in step.weights.values()])


class L2(Regularizer):
    """strength / 2 * sum w^2 over the weight matrices; biases and normalisation layers are none.

    Its gradient is strength * w, so in SGD it is torch's ``weight_decay=strength`` on the same parameters,
    step for step; in AdamW, which decays apart from the gradient, it is not.

    Source: Hoerl & Kennard 1970, https://doi.org/10.1080/00401706.1970.10488634.

    Parameters
    ----------
    strength
        >= 0; 0 is no penalty.

    Examples
    --------
    >>> import torch
    >>> step = Step({"w": torch.tensor([[1.0, -2.0]])}, None, None, None, None)
    >>> L2(strength=0.5).penalty(step)
    tensor(1.2500)
    """

    def measure(self, step: Step) -> Tensor:
        return total(step, [weight.square().sum() / 2 for weight in step.weights.values()])


def total(step: Step, terms: list[Tensor]) -> Tensor:
    """Return the sum of scalar terms; zero for a network without weight matrices."""
    return sum(terms[1:], start=terms[0]) if terms else step.prediction.scores.new_zeros(())
