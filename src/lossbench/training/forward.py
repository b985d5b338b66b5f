"""Scores and features of a network, whether it is one of ours or a plain module of the user's."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lossbench.errors import CannotServe
from lossbench.models.network import Network
from lossbench.objective.loss import Loss
from lossbench.objective.objective import Objective
from lossbench.streams import seeded


def propagate(network: nn.Module, x: Tensor, masks: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor | None]:
    """Return scores (N, 1) or (N, K) and features (N, H); a plain module has scores alone."""
    if isinstance(network, Network):
        features = network.features(x, masks)
        return network.head(features), features
    return network(x), None


def attach_head(network: nn.Module, objective: Objective, seed: int, dtype: torch.dtype) -> None:
    """Replace the network's last layer by the loss's own, where it brings one.

    Raises
    ------
    CannotServe
        Where a loss or regularizer needs features, or a loss brings an output layer, and the network is a plain
        module that returns scores.
    """
    if not isinstance(network, Network):
        kind = type(network).__name__
        for part in (objective.loss, *objective.regularizers.values()):
            if "features" in part.needs:  # type: ignore[operator]
                raise CannotServe(f"{part.name} needs features, and {kind} returns scores alone")
        if type(objective.loss).head is not Loss.head:
            raise CannotServe(f"{objective.loss.name} brings an output layer, and {kind} has no head to replace")
        return
    with seeded(seed, "init", 1):
        head = objective.loss.head(objective.task, network.n_features)
    if head is not None:
        network.head = head.to(dtype)


@torch.no_grad()
def scores_of(network: nn.Module, x: NDArray[np.float64], rows: int = 8192) -> NDArray[np.float64]:
    """Return the scores of all rows in evaluation mode as float64, so many at a time that they stay in the caches."""
    floating = (tensor for tensor in chain(network.parameters(), network.buffers()) if tensor.is_floating_point())
    first = next(floating, torch.empty(0))
    training = network.training
    if training:
        network.eval()
    try:
        blocks = [
            propagate(network, torch.as_tensor(block, dtype=first.dtype, device=first.device))[0].double().cpu()
            for block in np.split(x, range(rows, len(x), rows))
        ]
    finally:
        if training:
            network.train()
    return torch.cat(blocks).numpy()
