"""Penalties on how the loss changes with the inputs."""

from __future__ import annotations

from torch import Tensor

from lossbench.errors import CannotServe
from lossbench.objective.regularizer import Regularizer, Step


class InputGradient(Regularizer):
    """strength * mean over rows of |grad_x l_i|_2^2, the loss's gradient in the (scaled) inputs of the row.

    Double backpropagation. The gradient is that of N times the mean loss, so a weighting weighs it too, and for
    a whole-batch loss it is how N times the batch's value changes with each row.

    Source: Drucker & LeCun 1992, https://doi.org/10.1109/72.165600; Ross & Doshi-Velez 2018,
    https://arxiv.org/abs/1711.09404.

    Parameters
    ----------
    strength
        >= 0; 0 is no penalty.
    schedule, until
        See :class:`lossbench.objective.regularizer.Regularizer`.

    Examples
    --------
    >>> import torch
    >>> step = Step({}, None, None, None, None, input_gradient=lambda: torch.tensor([[1.0, 2.0], [0.0, 3.0]]))
    >>> InputGradient(strength=1.0).penalty(step)  # (5 + 9) / 2
    tensor(7.)
    """

    needs = frozenset({"input_gradient"})

    def measure(self, step: Step) -> Tensor:
        if step.input_gradient is None:
            raise CannotServe(f"{self.name} reads the input gradient, and this step has none")
        return step.input_gradient().flatten(1).square().sum(dim=-1).mean()
