"""How a function from elsewhere is called: by its argument names, one row at a time, with a batch as an image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Function = Callable[..., Tensor]


@dataclass(frozen=True)
class Calling:
    """A call of ``function(view, target)`` for rows (N, C) and targets (N,) or (N, C).

    Parameters
    ----------
    arguments
        Names under which the function takes view and target; None: in this order.
    pixels
        The function is of images: the batch is one image of N pixels, the view (1, C, N, 1) and the target (1, N, 1)
        or (1, C, N, 1). A value per pixel comes back as one per row.
    """

    arguments: tuple[str, str] | None = None
    pixels: bool = False

    def batch(self, function: Function, view: Tensor, target: Tensor) -> Tensor:
        """Return the function's value for a whole batch.

        >>> Calling(pixels=True).batch(lambda view, target: view[:, 0], torch.zeros(5, 3), torch.zeros(5)).shape
        torch.Size([5])
        """
        if self.pixels:
            view, target = _image(view), _image(target)
        if self.arguments is None:
            value = function(view, target)
        else:
            value = function(**dict(zip(self.arguments, (view, target), strict=True)))
        return _rows(value) if self.pixels else value

    def rows(self, function: Function, view: Tensor, target: Tensor, *, loop: bool) -> Tensor:
        """Return the function's value for each row alone, (N,); under vmap, or in a ``loop``.

        >>> mean = torch.nn.MSELoss()
        >>> Calling().rows(mean, torch.tensor([[0.0], [3.0]]), torch.zeros(2, 1), loop=False)
        tensor([0., 9.])
        """

        def one(row: Tensor, label: Tensor) -> Tensor:
            return self.batch(function, row.unsqueeze(0), label.unsqueeze(0))

        if loop:
            return torch.stack([one(row, label) for row, label in zip(view, target, strict=True)])
        values: Tensor = torch.vmap(one)(view, target)
        return values


def _image(rows: Tensor) -> Tensor:
    """(N, C) -> (1, C, N, 1), (N,) -> (1, N, 1)."""
    return rows.movedim(0, -1).unsqueeze(0).unsqueeze(-1)


def _rows(value: Tensor) -> Tensor:
    """(1, C, N, 1) -> (N, C), (1, N, 1) -> (N,); any other shape is no value per pixel and stays."""
    if value.ndim < 3 or value.shape[0] != 1 or value.shape[-1] != 1:
        return value
    return value.squeeze(0).squeeze(-1).movedim(-1, 0)
