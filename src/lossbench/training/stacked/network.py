"""Many networks of one shape as one: parameters (R, ...) for R replicates, every layer one call for all of them.

Features lie before samples, (R, F, N): a linear layer is then one ``baddbmm`` without a transposed copy, twice as fast
on a CPU as (R, N, F). What is no layer of ours goes through ``vmap``, which is slower and takes any module that
depends on its arguments, parameters and buffers alone.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap

from lossbench.models.dropout import Dropout
from lossbench.models.forward import ELEMENTWISE, propagate, walks_its_layers

ALL = slice(None)


def has_stacked_form(layer: nn.Module) -> bool:
    """Return whether a layer is computed here for all replicates at once; others go through ``vmap``, if they can."""
    if type(layer) is nn.BatchNorm1d:
        return layer.track_running_stats and layer.momentum is not None
    return type(layer) in (nn.Linear, nn.LayerNorm, Dropout, *ELEMENTWISE)


class StackedNetwork:
    """R networks with equal shapes, forward only; gradients flow into the stacked leaves.

    Parameters
    ----------
    networks
        One per replicate; they are copied.

    Attributes
    ----------
    parameters, buffers
        By the name that each has in a single network, (R, ...).
    drops
        Training needs the masks of dropout layers.

    Examples
    --------
    >>> from lossbench.models.network import Network
    >>> networks = [Network(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), nn.Linear(3, 1)) for _ in range(4)]
    >>> stacked = StackedNetwork(networks)
    >>> scores, features = stacked(torch.ones(4, 2, 5))
    >>> tuple(scores.shape), tuple(features.shape)
    ((4, 5, 1), (4, 5, 3))
    >>> torch.allclose(scores[2], networks[2](torch.ones(5, 2)))
    True
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self.template = copy.deepcopy(networks[0])
        self.parameters = stacked([dict(network.named_parameters()) for network in networks])
        for name, parameter in self.template.named_parameters():
            self.parameters[name].requires_grad_(parameter.requires_grad)
        self.buffers = stacked([dict(network.named_buffers()) for network in networks])
        self.drops = any(isinstance(layer, Dropout) for layer in self.template.modules())
        self._ours = walks_its_layers(self.template)
        body = self.template.get_submodule("body") if self._ours else nn.Sequential()
        self._body = [(f"body.{name}", layer) for name, layer in body.named_children()]
        # What a linear layer wrote nobody else reads.
        self._in_place = {name for (_, before), (name, _) in pairwise(self._body) if type(before) is nn.Linear}

    def __call__(
        self,
        x: Tensor,
        masks: Sequence[Tensor] = (),
        *,
        training: bool = False,
        rows: slice = ALL,
    ) -> tuple[Tensor, Tensor | None]:
        """Return scores (R, N, C) and features (R, N, H), None where the network has none.

        Parameters
        ----------
        x
            (R, F, N).
        masks
            (R, N, H) each, in layer order, for training.
        rows
            Which replicates ``x`` belongs to.
        """
        if not self._ours:
            return self._whole(x.transpose(1, 2), masks, training, rows)
        remaining = iter(masks)
        for name, layer in self._body:
            x = self._layer(name, layer, x, remaining, training, rows)
        features = x.transpose(1, 2)
        head = self.template.head
        if type(head) is nn.Linear:
            return self._linear("head", x, rows).transpose(1, 2), features
        assert isinstance(head, nn.Module)
        return self._alone("head", head, features, training, rows), features

    def _layer(self, name: str, layer: nn.Module, x: Tensor, masks: Any, training: bool, rows: slice) -> Tensor:
        if type(layer) is nn.Linear:
            return self._linear(name, x, rows)
        if type(layer) is nn.ReLU and name in self._in_place:
            return x.relu_()
        if type(layer) in ELEMENTWISE:
            return layer(x)
        if isinstance(layer, Dropout):
            if not training:
                return x
            mask = next(masks)  # every layer has one, also where p = 0
            return x * mask.transpose(1, 2) if layer.p else x
        if type(layer) is nn.BatchNorm1d and has_stacked_form(layer):
            return self._batch_norm(name, layer, x, training, rows)
        if type(layer) is nn.LayerNorm:
            normal = F.layer_norm(x.transpose(1, 2), layer.normalized_shape, eps=layer.eps).transpose(1, 2)
            return self._scaled(name, normal, rows)
        return self._alone(name, layer, x.transpose(1, 2), training, rows).transpose(1, 2)

    def _linear(self, name: str, x: Tensor, rows: slice) -> Tensor:
        weight, bias = self._parameter(f"{name}.weight", rows), self._parameter(f"{name}.bias", rows)
        assert weight is not None
        return weight.bmm(x) if bias is None else torch.baddbmm(bias.unsqueeze(2), weight, x)

    def _parameter(self, name: str, rows: slice) -> Tensor | None:
        """Return some replicates' parameter; of all the tensor itself, as a slice's gradient would be copied."""
        parameter = self.parameters.get(name)
        return parameter if parameter is None or rows == ALL else parameter[rows]

    def _batch_norm(self, name: str, layer: nn.BatchNorm1d, x: Tensor, training: bool, rows: slice) -> Tensor:
        assert layer.momentum is not None
        mean, variance = self.buffers[f"{name}.running_mean"], self.buffers[f"{name}.running_var"]
        # One call with (replicates x features) channels is batch normalisation of every replicate by itself.
        n_replicates, width, n_rows = x.shape
        running_mean, running_variance = mean[rows].flatten().clone(), variance[rows].flatten().clone()
        flat = F.batch_norm(
            x.permute(2, 0, 1).reshape(n_rows, -1),
            running_mean,
            running_variance,
            training=training,
            momentum=layer.momentum,
            eps=layer.eps,
        )
        if training:
            mean[rows] = running_mean.view(n_replicates, width)
            variance[rows] = running_variance.view(n_replicates, width)
            self.buffers[f"{name}.num_batches_tracked"][rows] += 1
        return self._scaled(name, flat.view(n_rows, n_replicates, width).permute(1, 2, 0), rows)

    def _scaled(self, name: str, x: Tensor, rows: slice) -> Tensor:
        weight, bias = self._parameter(f"{name}.weight", rows), self._parameter(f"{name}.bias", rows)
        x = x if weight is None else x * weight.unsqueeze(2)
        return x if bias is None else x + bias.unsqueeze(2)

    def _alone(self, name: str, layer: nn.Module, x: Tensor, training: bool, rows: slice) -> Tensor:
        """Run a layer (N, H) -> (N, .) of any other kind."""
        layer.train(training)
        tensors = {
            key.removeprefix(f"{name}."): tensor[rows]
            for key, tensor in (self.parameters | self.buffers).items()
            if key.startswith(f"{name}.")
        }
        return vmap(lambda state, batch: functional_call(layer, state, (batch,)))(tensors, x)

    def _whole(self, x: Tensor, masks: Sequence[Tensor], training: bool, rows: slice) -> tuple[Tensor, Tensor | None]:
        module = _Propagated(self.template).train(training)
        state = {f"network.{name}": tensor[rows] for name, tensor in (self.parameters | self.buffers).items()}

        def one(state: dict[str, Tensor], x: Tensor, masks: list[Tensor]) -> tuple[Tensor, ...]:
            scores, features = functional_call(module, state, (x, masks))
            return (scores,) if features is None else (scores, features)

        outputs = vmap(one)(state, x, list(masks))
        return outputs[0], outputs[1] if len(outputs) > 1 else None


class _Propagated(nn.Module):
    """`propagate` as a module, for functional_call."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, masks: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        return propagate(self.network, x, masks)


def stacked(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return one tensor (R, ...) per name, of R states with the same names."""
    return {name: torch.stack([state[name].detach() for state in states]) for name in states[0]}
