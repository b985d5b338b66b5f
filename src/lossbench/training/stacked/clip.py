"""Gradient clipping, replicate by replicate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Clip:
    """Gradient clipping as Lightning's: each replicate's gradients by their common norm, or by value."""

    limit: float
    by: str = "norm"

    def __call__(self, replicates: int, trained: Sequence[tuple[str, Tensor, slice]]) -> None:
        """Clip the gradients of stacked parameters: name, tensor (R, ...), and which of the replicates have it."""
        gradients = [(tensor.grad, rows) for _, tensor, rows in trained if tensor.grad is not None]
        if self.by == "value":
            for gradient, _ in gradients:
                gradient.clamp_(-self.limit, self.limit)
            return
        square = torch.zeros(replicates, device=gradients[0][0].device, dtype=gradients[0][0].dtype)
        for gradient, rows in gradients:
            square[rows] += gradient.flatten(1).square().sum(dim=1)
        # The 1e-6 is torch's (torch.nn.utils.clip_grad_norm_).
        factor = (self.limit / (square.sqrt() + 1e-6)).clamp(max=1.0)
        for gradient, rows in gradients:
            gradient.mul_(factor[rows].view(-1, *(1,) * (gradient.ndim - 1)))
