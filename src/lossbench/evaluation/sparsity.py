"""How many of a network's weights and inputs are still in use, as penalties left them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lossbench.objective.regularizer import weight_names

# A gradient step never leaves a weight at exactly 0, so "near zero" is relative to its layer.
NEAR = 1e-3


@torch.no_grad()
def measure_sparsity(network: nn.Module) -> dict[str, float]:
    """Return figures of a network's weight matrices, those that regularizers penalise; empty without any.

    Returns
    -------
    dict
        ``weights/near_zero``: share of the weights with |w| < 1e-3 of their layer's largest (all, in a layer of
        zeros); ``weights/zero``: share that is exactly 0; ``weights/norm``: Euclidean norm of all weights
        together; ``weights/features_used``: number of inputs with a weight in the first layer that is not near
        zero, where that layer is linear.

    Examples
    --------
    >>> layer = nn.Linear(3, 2, bias=False)
    >>> layer.weight = nn.Parameter(torch.tensor([[3.0, 0.0, 0.001], [4.0, 0.0, 0.0]]))
    >>> {key: round(value, 3) for key, value in measure_sparsity(layer).items()}
    {'weights/near_zero': 0.667, 'weights/zero': 0.5, 'weights/norm': 5.0, 'weights/features_used': 1.0}
    """
    names = weight_names(network)
    if not names:
        return {}
    weights = [network.get_parameter(name).double() for name in names]
    small = [_near_zero(weight) for weight in weights]
    n_weights = sum(weight.numel() for weight in weights)
    figures = {
        "weights/near_zero": sum(float(near.sum()) for near in small) / n_weights,
        "weights/zero": sum(float((weight == 0).sum()) for weight in weights) / n_weights,
        "weights/norm": float(torch.stack([weight.square().sum() for weight in weights]).sum().sqrt()),
    }
    if isinstance(network.get_submodule(names[0].rpartition(".")[0]), nn.Linear):
        figures["weights/features_used"] = float((~small[0]).any(dim=0).sum())
    return figures


def _near_zero(weight: Tensor) -> Tensor:
    return (weight.abs() < NEAR * weight.abs().max()) | (weight == 0)
