"""Scores and features of a network, whether it is one of ours or a plain module of the user's."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lossbench.errors import CannotServe
from lossbench.models.dropout import Dropout
from lossbench.models.network import Network
from lossbench.objective.links import REGISTER
from lossbench.objective.loss import Loss
from lossbench.objective.objective import Objective
from lossbench.randomness import seeded

# Layers that act on each number alone, so that the order of the axes does not matter to them.
ELEMENTWISE = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh)


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
    with seeded(seed, "init", 1), torch.device("cpu"):
        head = objective.loss.head(objective.task, network.n_features)
    if head is not None:
        network.head = head.to(dtype)


def walks_its_layers(network: nn.Module) -> bool:
    """Return whether a network is its body and then its head, layer by layer, as ours are."""
    methods = [getattr(type(network), name, None) for name in ("features", "forward")]
    return methods == [Network.features, Network.forward]


@torch.no_grad()
def scores_of(network: nn.Module, x: NDArray[np.float64], rows: int = 4096) -> NDArray[np.float64]:
    """Return the scores of all rows in evaluation mode as float64, in blocks that fit the caches."""
    floating = (tensor for tensor in chain(network.parameters(), network.buffers()) if tensor.is_floating_point())
    first = next(floating, torch.empty(0))
    layers = _narrow(network)
    training = network.training
    if training:
        network.eval()
    try:
        blocks = []
        for block in np.split(x, range(rows, len(x), rows)):
            inputs = torch.as_tensor(block, dtype=first.dtype, device=first.device)
            scores = propagate(network, inputs)[0] if layers is None else _by_columns(layers, inputs)
            blocks.append(scores.double().cpu())
    finally:
        if training:
            network.train()
    return torch.cat(blocks).contiguous().numpy()


def _narrow(network: nn.Module) -> list[nn.Module] | None:
    """Return the layers of a network that runs faster with features before rows, or None."""
    if not walks_its_layers(network):
        return None
    body, head = network.get_submodule("body"), network.get_submodule("head")
    layers = [layer for layer in (*body.children(), head) if not isinstance(layer, Dropout)]
    return layers if all(map(_is_narrow, layers)) else None


def _is_narrow(layer: nn.Module) -> bool:
    if layer._forward_pre_hooks or layer._forward_hooks:  # they may compute the weights, or change what comes out
        return False
    if type(layer) is nn.Linear:
        return max(layer.in_features, layer.out_features) < REGISTER
    return type(layer) in ELEMENTWISE


def _by_columns(layers: Sequence[nn.Module], x: Tensor) -> Tensor:
    """Return the scores (N, C) of rows (N, F), computed with features before rows.

    That takes a fifth of the time where a row's features are fewer than a vector register holds, and longer elsewhere.
    """
    x = x.T.contiguous()
    for layer in layers:
        if isinstance(layer, nn.Linear):
            x = layer.weight @ x if layer.bias is None else torch.addmm(layer.bias.unsqueeze(1), layer.weight, x)
        else:
            x = layer(x)
    return x.T
