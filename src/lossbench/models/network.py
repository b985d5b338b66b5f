"""The contract of our models: a body that makes features, and a linear head that makes scores."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lossbench.models.dropout import Dropout


class Network(nn.Module):
    """``body``: x (N, F) -> features (N, H); ``head``: features -> raw scores (N, 1) or (N, K).

    `forward` depends on its arguments, parameters and buffers alone, so many networks of one shape can be
    stacked and run as one (``torch.func.functional_call`` under ``vmap``).

    Parameters
    ----------
    body
        Layers in order; empty where the features are the inputs.
    head
        The last layer, (N, H) -> scores; a loss that owns an output layer replaces it. ``n_features`` is H.

    Examples
    --------
    >>> network = Network(nn.Sequential(nn.Linear(2, 3), Dropout(0.5, width=3)), nn.Linear(3, 1))
    >>> masks = network.draw_masks(5, torch.Generator().manual_seed(0), torch.float32)
    >>> [tuple(mask.shape) for mask in masks], tuple(network(torch.ones(5, 2), masks).shape)
    ([(5, 3)], (5, 1))
    """

    def __init__(self, body: nn.Sequential, head: nn.Linear) -> None:
        super().__init__()
        self.body = body
        self.head: nn.Module = head  # a loss that owns its output layer puts another kind here
        self.n_features = head.in_features

    def features(self, x: Tensor, masks: Sequence[Tensor] | None = None) -> Tensor:
        """Return the last hidden layer, (N, H); ``masks`` as `draw_masks` draws them, ignored in evaluation.

        Raises
        ------
        ValueError
            In training, for a number of masks other than the number of dropout layers.
        """
        drawn = list(masks or ())
        wanted = sum(isinstance(layer, Dropout) for layer in self.body)
        if self.training and drawn and len(drawn) != wanted:
            raise ValueError(f"a network needs one mask per dropout layer, {wanted}, got {len(drawn)} masks")
        remaining = iter(drawn)
        for layer in self.body:
            x = layer(x, next(remaining, None)) if isinstance(layer, Dropout) else layer(x)
        return x

    def forward(self, x: Tensor, masks: Sequence[Tensor] | None = None) -> Tensor:
        """Return raw scores, (N, 1) for two classes and (N, K) otherwise."""
        return self.head(self.features(x, masks))

    def draw_masks(self, n_rows: int, generator: torch.Generator, dtype: torch.dtype) -> list[Tensor]:
        """Draw the masks of one step in layer order, on the network's device; empty without dropout.

        ``generator`` is the CPU generator of the stream ``dropout``, carried on from step to step of an
        epoch.
        """
        layers = [layer for layer in self.body if isinstance(layer, Dropout)]
        device = next(self.parameters()).device
        return [layer.draw_mask(n_rows, generator, dtype).to(device) for layer in layers]
