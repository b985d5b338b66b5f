"""Dropout whose mask comes from the caller."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """Multiply by a mask that the caller drew, in training; the identity in evaluation.

    A module that draws for itself would read a global generator, so that runs were no longer paired and many
    of them could not be trained as one. The mask is 0 with probability p and 1 / (1 - p) otherwise, so the
    mean stays (inverted dropout, https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html).

    Parameters
    ----------
    p
        Probability that an activation is dropped, in [0, 1).
    width
        Columns of its input.

    Raises
    ------
    ValueError
        For p or width out of range; in training, without a mask where p > 0.

    Examples
    --------
    >>> dropout = Dropout(p=0.5, width=2)
    >>> dropout(torch.ones(1, 2), mask=torch.tensor([[0.0, 2.0]])).tolist()
    [[0.0, 2.0]]
    >>> dropout.eval()(torch.ones(1, 2)).tolist()
    [[1.0, 1.0]]
    """

    def __init__(self, p: float, width: int) -> None:
        super().__init__()
        if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p < 1:
            raise ValueError(f"Dropout needs 0 <= p < 1, got p={p!r}")
        if isinstance(width, bool) or not isinstance(width, int) or width < 1:
            raise ValueError(f"Dropout needs an integer width >= 1, got width={width!r}")
        self.p = float(p)
        self.width = width

    def draw_mask(self, n_rows: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        """Draw a mask (n_rows, width); equal generators drop the same cells in float32 and in float64."""
        kept = torch.rand(n_rows, self.width, generator=generator, dtype=torch.float32) >= self.p
        return kept.to(dtype) / (1 - self.p)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if not self.training or self.p == 0:
            return x
        if mask is None:
            raise ValueError(f"Dropout needs a mask in training where p > 0 (see Network.draw_masks), got p={self.p}")
        return x * mask

    def extra_repr(self) -> str:
        return f"p={self.p}, width={self.width}"
