"""Penalties on the singular values of weight matrices; further axes than two are one with the second."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from lossbench.objective.hyperparameters import choice
from lossbench.objective.regularizer import Regularizer, Step
from lossbench.objective.regularizers.weights import total
from lossbench.objective.schedule import Schedule


class Orthogonal(Regularizer):
    """strength * |W^T W - I|_F^2 on the smaller side of each weight matrix: all singular values towards 1.

    A wide matrix takes W W^T, so that 0 can be reached. In singular values it is sum_i (sigma_i^2 - 1)^2.

    Source: Brock et al. 2017, https://arxiv.org/abs/1609.07093; Bansal et al. 2018,
    https://arxiv.org/abs/1810.09102.

    Parameters
    ----------
    strength
        >= 0; 0 is no penalty.
    schedule, until
        See :class:`lossbench.objective.regularizer.Regularizer`.

    Examples
    --------
    >>> step = Step({"w": torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]])}, None, None, None, None)
    >>> Orthogonal(strength=1.0).penalty(step)  # (4 - 1)^2 + (1 - 1)^2
    tensor(9.)
    """

    def measure(self, step: Step) -> Tensor:
        return total(step, [self._of(weight.flatten(1)) for weight in step.weights.values()])

    def _of(self, matrix: Tensor) -> Tensor:
        tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.mT
        product = tall.mT @ tall
        return (product - torch.eye(len(product), dtype=matrix.dtype, device=matrix.device)).square().sum()


class Spectral(Regularizer):
    """strength / 2 * sigma_max^2, summed over the weight matrices: half the squared largest singular value.

    ``exact`` takes it from the singular value decomposition. ``power`` iterates v <- W^T W v, normalised, from a
    fixed start, without gradient, and takes |W v|^2, whose gradient at the converged v is the exact one: for
    large matrices, and on a GPU. Its value is never above the exact one and falls short by a relative error of
    at most (|v_perp| / |v_1|)^2 (sigma_2 / sigma_1)^(4 iterations), where v_1 and v_perp are the start's parts
    along the leading right singular vector and across it: 1e-9 after 30 iterations at sigma_2 / sigma_1 = .8
    and a start at 85 degrees.

    Source: Yoshida & Miyato 2017, https://arxiv.org/abs/1705.10941.

    Parameters
    ----------
    strength
        >= 0; 0 is no penalty.
    method
        ``exact`` or ``power``.
    iterations
        Of ``power``, >= 1.
    schedule, until
        See :class:`lossbench.objective.regularizer.Regularizer`.

    Examples
    --------
    >>> step = Step({"w": torch.tensor([[3.0, 0.0], [0.0, 1.0]])}, None, None, None, None)
    >>> Spectral(strength=1.0).penalty(step), Spectral(strength=1.0, method="power").penalty(step)
    (tensor(4.5000), tensor(4.5000))
    """

    def __init__(
        self,
        strength: float,
        method: Literal["exact", "power"] = "exact",
        iterations: int = 30,
        schedule: Schedule = "constant",
        until: int | None = None,
    ) -> None:
        super().__init__(strength, schedule, until)
        self.method = choice(self.name, "method", method, ("exact", "power"))
        if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 1:
            raise ValueError(f"{self.name} needs iterations to be an integer >= 1, got iterations={iterations!r}")
        self.iterations = iterations

    def measure(self, step: Step) -> Tensor:
        largest_squared = self._exact if self.method == "exact" else self._power
        return total(step, [largest_squared(weight.flatten(1)) / 2 for weight in step.weights.values()])

    def _exact(self, matrix: Tensor) -> Tensor:
        return torch.linalg.svdvals(matrix)[0].square()

    def _power(self, matrix: Tensor) -> Tensor:
        fixed = matrix.detach()
        # Entries of both signs and no pattern: a start such as (1, ..., 1) is orthogonal to W's leading vector
        # whenever that one's entries sum to 0.
        v = torch.sin(torch.arange(1, matrix.shape[1] + 1, dtype=matrix.dtype, device=matrix.device).square())
        for _ in range(self.iterations):
            v = _normalised(fixed.mT @ (fixed @ v))
        return (matrix @ v).square().sum()


class Nuclear(Regularizer):
    """strength * sum_i sigma_i, summed over the weight matrices: a low rank, as L1 of the singular values.

    Where a singular value is 0 (a matrix of zeros) the gradient is one of the subgradients.

    Source: Fazel et al. 2001, https://doi.org/10.1109/ACC.2001.945730.

    Parameters
    ----------
    strength
        >= 0; 0 is no penalty.
    schedule, until
        See :class:`lossbench.objective.regularizer.Regularizer`.

    Examples
    --------
    >>> step = Step({"w": torch.tensor([[3.0, 0.0], [0.0, -1.0]])}, None, None, None, None)
    >>> Nuclear(strength=1.0).penalty(step)
    tensor(4.)
    """

    def measure(self, step: Step) -> Tensor:
        return total(step, [torch.linalg.svdvals(weight.flatten(1)).sum() for weight in step.weights.values()])


def _normalised(v: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(v)
    return v / torch.where(norm > 0, norm, 1)
