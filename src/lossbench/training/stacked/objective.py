"""Many objectives of one kind as one: terms (R,) for R replicates that may differ in buffers and own parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from lossbench.objective.objective import Objective
from lossbench.objective.prediction import Prediction
from lossbench.objective.regularizer import Step
from lossbench.training.stacked.network import stacked

# Of one batch: scores (R, N, C), features (R, N, H) or None, target (R, N), row weights (R, N) or None.
Seen = tuple[Tensor, Tensor | None, Tensor, Tensor | None]


class StackedObjective:
    """R bound objectives that differ in their buffers and parameters alone.

    A pointwise loss whose replicates have equal buffers sees all their rows as one batch of R N rows, which costs one
    call without ``vmap``; everything else goes through ``vmap`` over the replicates.

    Parameters
    ----------
    objectives
        One per replicate; they are copied.

    Attributes
    ----------
    template
        Holds what the replicates share: the epoch of the schedules.
    parameters, buffers
        By the name that each has in a single objective, (R, ...); buffers without the epochs.
    acts_after_step, penalises, differentiates_inputs
        As the objectives have it: `after_step` does something; there are `penalties`; they need an input gradient.
    reads_features
        Where not, features need not be given.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.template = copy.deepcopy(objectives[0])
        self.parameters = stacked([dict(objective.named_parameters()) for objective in objectives])
        for name, parameter in self.template.named_parameters():
            self.parameters[name].requires_grad_(parameter.requires_grad)
        # The epoch is the schedules' clock, one for all.
        self.buffers = stacked(
            [
                {name: buffer for name, buffer in objective.named_buffers() if name.rpartition(".")[2] != "epoch"}
                for objective in objectives
            ]
        )
        of_loss = [buffer for name, buffer in self.buffers.items() if not name.startswith("regularizers.")]
        alike = not self.parameters and all(bool((buffer == buffer[:1]).all()) for buffer in of_loss)
        loss = self.template.loss
        self._one_batch = alike and loss.pointwise and "features" not in loss.needs
        self.penalises = len(self.template.regularizers) > 0
        self.reads_features = self.penalises or not self._one_batch
        self.acts_after_step = self.template.acts_after_step
        self.differentiates_inputs = "input_gradient" in self.template.needs

    def mean_loss(
        self,
        scores: Tensor,
        features: Tensor | None,
        target: Tensor,
        row_weights: Tensor | None = None,
        rows: slice = slice(None),
    ) -> Tensor:
        """Return the mean loss of each replicate, (R,).

        Parameters
        ----------
        scores, features, target
            (R, N, C), (R, N, H) or None, and (R, N).
        row_weights
            (R, N); None where all rows weigh 1.
        rows
            Which replicates they belong to.
        """
        if not self._one_batch:
            return self._each(_MeanLoss, rows, scores, features, target, row_weights)
        return self.template.averaged(self._row_losses(scores, target).view(target.shape), target, row_weights)

    def summands(self, scores: Tensor, target: Tensor, row_weights: Tensor | None = None) -> Tensor | None:
        """Return the losses of all rows, (R N,), where their plain mean is the mean loss; None elsewhere."""
        plain = self._one_batch and self.template.weighs_alike(target, row_weights)
        return self._row_losses(scores, target) if plain else None

    def _row_losses(self, scores: Tensor, target: Tensor) -> Tensor:
        prediction = Prediction(scores.reshape(-1, scores.shape[2]), self.template.loss.link)
        losses: Tensor = self.template.loss(prediction, target.reshape(-1))
        return losses

    def probs(self, scores: Tensor, rows: slice = slice(None)) -> Tensor:
        """Return the link's probabilities (R, N, K) of scores (R, N, C)."""
        if not self._one_batch:
            return self._each(_Probs, rows, scores)
        return self.template.loss.link.probs(scores.reshape(-1, scores.shape[2])).view(*scores.shape[:2], -1)

    def penalties(
        self,
        loss: Tensor,
        weights: Mapping[str, Tensor],
        x: Tensor,
        scores: Tensor,
        features: Tensor | None,
        target: Tensor,
        row_weights: Tensor | None = None,
        input_gradient: Callable[[Tensor], Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Return the penalties of a training step by name, (R,) each, as `Objective` returns them for one.

        Parameters
        ----------
        loss
            The mean losses (R,).
        weights
            The networks' weight matrices, (R, ...).
        x, scores, features, target
            (R, N, F), (R, N, C), (R, N, H) or None, (R, N).
        row_weights
            (R, N); None where all rows weigh 1.
        input_gradient
            Called with the sum of the mean losses; returns its gradient in ``x``, differentiable.
        """
        gradient = None if input_gradient is None else target.shape[1] * input_gradient(loss.sum())
        arguments = (dict(weights), x, features, scores, target, gradient, row_weights)
        terms: dict[str, Tensor] = self._each(_Penalties, slice(None), *arguments)
        return terms

    def after_step(self, weights: Mapping[str, Tensor], rates: Mapping[str, Tensor]) -> None:
        """Project own parameters and shrink the networks' weights, in place, after an optimizer step."""
        with torch.no_grad():
            projected, moved = self._each(_AfterStep, slice(None), dict(weights), dict(rates))
            for name, value in projected.items():
                self.parameters[f"loss.{name}"].copy_(value)
            for name, value in moved.items():
                weights[name].copy_(value)

    def _each(self, kind: Callable[[Objective], nn.Module], rows: slice, *arguments: Any) -> Any:
        """Call a function of one objective, for all replicates, along the first axis of every argument."""
        module = kind(self.template)
        state = {f"objective.{name}": tensor[rows] for name, tensor in (self.parameters | self.buffers).items()}
        return vmap(
            lambda state, *rest: functional_call(module, state, rest),
            in_dims=(0, *(None if argument is None else 0 for argument in arguments)),
        )(state, *arguments)


def mean_losses(objectives: Sequence[StackedObjective], seen: Sequence[Seen]) -> list[Tensor]:
    """Return the mean losses of several kinds, (R,) each, of what each of them sees of one batch.

    One mean serves all whose rows count alike: with its derivative it is a tenth of what a kind costs a step. A kind
    whose gradient in the inputs is differentiated again has its own: through a common one it would go through the
    others' losses too, whose second derivative may be infinite.
    """
    summands = [
        None if objective.differentiates_inputs else objective.summands(scores, target, row_weights)
        for objective, (scores, _, target, row_weights) in zip(objectives, seen, strict=True)
    ]
    alike = [losses for losses in summands if losses is not None]
    n_rows = seen[0][2].shape[1]
    means = torch.cat(alike).view(-1, n_rows).sum(dim=1) / n_rows if alike else torch.empty(0)
    parts = iter(means.split([len(losses) // n_rows for losses in alike]))
    return [
        objective.mean_loss(*of_kind) if losses is None else next(parts)
        for objective, of_kind, losses in zip(objectives, seen, summands, strict=True)
    ]


# functional_call swaps a module's tensors around its forward, so each function of an objective is a module here.
class _OfObjective(nn.Module):
    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.objective = objective


class _MeanLoss(_OfObjective):
    def forward(self, scores: Tensor, features: Tensor | None, target: Tensor, row_weights: Tensor | None) -> Tensor:
        return self.objective.mean_loss(self.objective.predict(scores, features), target, row_weights)


class _Probs(_OfObjective):
    def forward(self, scores: Tensor) -> Tensor:
        return self.objective.predict(scores).probs


class _Penalties(_OfObjective):
    def forward(
        self,
        weights: dict[str, Tensor],
        x: Tensor,
        features: Tensor | None,
        scores: Tensor,
        target: Tensor,
        gradient: Tensor | None,
        row_weights: Tensor | None,
    ) -> dict[str, Tensor]:
        prediction = self.objective.predict(scores, features)
        step = Step(weights, x, features, prediction, target, lambda: gradient, row_weights)  # type: ignore[arg-type, return-value]  # given where needed
        return self.objective.penalties(step)


class _AfterStep(_OfObjective):
    def forward(
        self, weights: dict[str, Tensor], rates: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return self.objective.moved_after_step(weights, rates)
