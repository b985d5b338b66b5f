"""The multilayer perceptron."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from torch import nn

from lossbench.models.dropout import Dropout
from lossbench.models.network import Network
from lossbench.task import Task

Activation = Literal["relu", "leaky_relu", "elu", "gelu", "silu", "tanh"]
Normalization = Literal["batch", "layer"]

_ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}
_NORMALIZATIONS: Mapping[str, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


class Mlp(Network):
    """Hidden layers, each Linear, normalisation, activation, dropout in this order; then a linear head.

    Weights start as torch draws them (https://docs.pytorch.org/docs/stable/generated/torch.nn.Linear.html).

    Parameters
    ----------
    task
        Gives the number of inputs and of scores.
    widths
        Units of each hidden layer, at least one layer (`Linear` has none).
    activation
        ``relu``, ``leaky_relu``, ``elu``, ``gelu``, ``silu`` or ``tanh``, with torch's defaults.
    dropout
        Probability that a hidden unit is dropped in training, in [0, 1), in every hidden layer; the masks
        come from the caller. 0 makes no dropout layer.
    normalization
        ``"batch"`` (BatchNorm1d with running statistics; training needs two rows in a batch), ``"layer"`` or
        None.

    Raises
    ------
    ValueError
        For an argument of the wrong type or out of range.

    Examples
    --------
    >>> task = Task(n_features=2, class_names=("negative", "positive"), class_counts=(6000, 200))
    >>> model = Mlp(task, widths=(4, 8))
    >>> [tuple(weight.shape) for name, weight in model.named_parameters() if "weight" in name]
    [(4, 2), (8, 4), (1, 8)]
    >>> Mlp(task, widths=[4, 0])
    Traceback (most recent call last):
        ...
    ValueError: Mlp needs widths of integers >= 1, at least one (Linear has none), got widths=[4, 0]
    """

    def __init__(
        self,
        task: Task,
        widths: Sequence[int] = (32, 32),
        activation: Activation = "relu",
        dropout: float = 0.0,
        normalization: Normalization | None = None,
    ) -> None:
        whole = isinstance(widths, (list, tuple)) and all(type(width) is int and width >= 1 for width in widths)
        if not whole or len(widths) == 0:
            raise ValueError(f"Mlp needs widths of integers >= 1, at least one (Linear has none), got {widths=}")
        if not isinstance(activation, str) or activation not in _ACTIVATIONS:
            raise ValueError(f"Mlp needs an activation of {', '.join(_ACTIVATIONS)}, got {activation=}")
        if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
            raise ValueError(f"Mlp needs 0 <= dropout < 1, got {dropout=}")
        if normalization is not None and (not isinstance(normalization, str) or normalization not in _NORMALIZATIONS):
            raise ValueError(f"Mlp needs a normalization of {', '.join(_NORMALIZATIONS)} or null, got {normalization=}")
        layers: list[nn.Module] = []
        for inputs, width in zip((task.n_features, *widths), widths, strict=False):
            layers.append(nn.Linear(inputs, width))
            if normalization is not None:
                layers.append(_NORMALIZATIONS[normalization](width))
            layers.append(_ACTIVATIONS[activation]())
            if dropout > 0:
                layers.append(Dropout(dropout, width))
        super().__init__(body=nn.Sequential(*layers), head=nn.Linear(widths[-1], task.n_scores))
