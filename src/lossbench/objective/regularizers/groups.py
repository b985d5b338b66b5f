"""Penalties on rows or columns of weight matrices as wholes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from lossbench.objective.hyperparameters import choice, switch
from lossbench.objective.regularizer import Regularizer, Step
from lossbench.objective.regularizers.weights import total
from lossbench.objective.schedule import Schedule


class GroupLasso(Regularizer):
    """strength * sum_g sqrt(|g|) |w_g|_2 over the rows or the columns g of each weight matrix, |g| their size.

    A group goes to 0 as a whole: a row is a unit with all its inputs, a column an input with all its uses, so
    ``columns`` selects features in the first layer and units in the others. Row and column are the first and the
    second axis, further ones belong to the group; in an embedding and a transposed convolution the first axis is
    the input. With ``proximal`` each step of the optimizer is followed by block soft thresholding,
    w_g <- w_g max(0, 1 - rate * strength * sqrt(|g|) / |w_g|_2), which makes true zeros; what
    :class:`lossbench.objective.regularizers.weights.L1` says of optimizers holds here too.

    Source: Yuan & Lin 2006, https://doi.org/10.1111/j.1467-9868.2005.00532.x; in networks: Scardapane et al.
    2017, https://arxiv.org/abs/1607.00485.

    Parameters
    ----------
    strength
        >= 0; 0 is no penalty.
    groups
        ``rows`` or ``columns``.
    proximal
        Threshold after each step; the penalty is reported and not differentiated.
    schedule, until
        See :class:`lossbench.objective.regularizer.Regularizer`.

    Examples
    --------
    >>> step = Step({"w": torch.tensor([[3.0, 0.0], [4.0, 0.0]])}, None, None, None, None)
    >>> GroupLasso(strength=1.0, groups="columns").penalty(step)  # sqrt(2) * (5 + 0)
    tensor(7.0711)
    >>> GroupLasso(strength=1.0, groups="rows").penalty(step)  # sqrt(2) * (3 + 4)
    tensor(9.8995)
    """

    def __init__(
        self,
        strength: float,
        groups: Literal["rows", "columns"] = "columns",
        proximal: bool = False,
        schedule: Schedule = "constant",
        until: int | None = None,
    ) -> None:
        super().__init__(strength, schedule, until)
        self.groups = choice(self.name, "groups", groups, ("rows", "columns"))
        self.acts_after_step = switch(self.name, "proximal", proximal)

    def measure(self, step: Step) -> Tensor:
        return total(step, [self._size(weight) ** 0.5 * self._norms(weight).sum() for weight in step.weights.values()])

    def shrunk(self, weights: Mapping[str, Tensor], rates: Mapping[str, float | Tensor]) -> dict[str, Tensor]:
        if not self.acts_after_step:
            return {}
        strength = self.present_strength
        result = {}
        for name, weight in weights.items():
            norms = self._norms(weight)
            threshold = (rates[name] * strength).to(weight.dtype) * self._size(weight) ** 0.5
            survives = norms > threshold
            result[name] = weight * torch.where(survives, 1 - threshold / torch.where(survives, norms, 1), 0)
        return result

    def _norms(self, weight: Tensor) -> Tensor:
        """Return the norm of each group, with the other axes kept at length 1."""
        return torch.linalg.vector_norm(weight, dim=self._axes(weight), keepdim=True)

    def _size(self, weight: Tensor) -> int:
        return weight.numel() // weight.shape[0 if self.groups == "rows" else 1]

    def _axes(self, weight: Tensor) -> tuple[int, ...]:
        kept = 0 if self.groups == "rows" else 1
        return tuple(axis for axis in range(weight.ndim) if axis != kept)
