"""The objective: a mean loss plus penalties, bound to a task."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import torch
from torch import Tensor, nn

from lossbench.errors import CannotServe
from lossbench.objective.loss import Loss
from lossbench.objective.prediction import Prediction
from lossbench.objective.regularizer import Regularizer, Step
from lossbench.objective.weighting import Weighting
from lossbench.task import Task


class Objective(nn.Module):
    """objective = weighted mean of the loss + sum of the penalties.

    There is no ``reduction="sum"``: it is the mean times N with another learning rate.

    Parameters
    ----------
    loss, weighting, regularizers
        Fresh instances; they are bound to the task here, once. Regularizers by the name of their term.
    task
        Classes and priors of the training split.
    allow_double
        Permit a weighting beside a loss that weighs classes already.

    Raises
    ------
    CannotServe
        When a part cannot serve the task, or two parts cannot serve each other.

    Examples
    --------
    >>> from lossbench.objective.losses.likelihood import cross_entropy
    >>> from lossbench.objective.weighting import NoWeighting
    >>> from lossbench.objective.regularizers.weights import L2
    >>> task = Task(n_features=1, class_names=("a", "b"), class_counts=(1, 1))
    >>> objective = Objective(cross_entropy(), NoWeighting(), {"l2": L2(0.5)}, task)
    >>> step = Step(
    ...     weights={"weight": torch.tensor([[2.0]])},
    ...     inputs=torch.zeros(2, 1),
    ...     features=None,
    ...     prediction=objective.predict(torch.zeros(2, 1)),
    ...     target=torch.tensor([0, 1]),
    ... )
    >>> {name: round(term.item(), 4) for name, term in objective(step).items()}
    {'loss': 0.6931, 'l2': 1.0, 'objective': 1.6931}
    """

    def __init__(
        self,
        loss: Loss,
        weighting: Weighting,
        regularizers: Mapping[str, Regularizer],
        task: Task,
        allow_double: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(loss, Loss):
            raise ValueError(
                f"loss needs a lossbench Loss, got {type(loss).__name__}; External makes one of a function or module"
            )
        if not isinstance(weighting, Weighting):
            raise ValueError(f"weighting needs a lossbench Weighting, got {type(weighting).__name__}")
        for name, regularizer in regularizers.items():
            if not isinstance(regularizer, Regularizer):
                raise ValueError(f"regularizer.{name} needs a lossbench Regularizer, got {type(regularizer).__name__}")
            if name in ("loss", "objective"):
                raise ValueError(f"a regularizer cannot be named {name!r}, which is a term of every objective")
        if not weighting.neutral:
            if not loss.pointwise:
                raise CannotServe(f"{loss.name} judges whole batches and takes no weighting, got {weighting.name}")
            if loss.has_class_weight and not allow_double:
                raise CannotServe(
                    f"{loss.name} has a class weight of its own; with {weighting.name} it needs allow_double=true"
                )
        loss.bind(task)
        weighting.bind(task)
        for regularizer in regularizers.values():
            regularizer.bind(task)
        self.task = task
        self.loss = loss
        self.weighting = weighting
        self.regularizers = nn.ModuleDict(regularizers)

    @property
    def needs(self) -> frozenset[str]:
        """What the loss and the regularizers need, together."""
        return self.loss.needs.union(*(part.needs for part in self._penalties().values()))

    @property
    def acts_after_step(self) -> bool:
        """Whether :meth:`after_step` does anything."""
        return self.loss.acts_after_step or any(part.acts_after_step for part in self._penalties().values())

    @property
    def class_weights(self) -> Tensor | None:
        """Class weights (K,) of the weighting at the present epoch; None when every row weighs 1."""
        return None if self.weighting.neutral else self.weighting.in_force

    def at_epoch(self, epoch: int) -> None:
        """Set the epoch, from 0, that weighting and penalties are scheduled by, before its first step."""
        self.weighting.at_epoch(epoch)
        for part in self._penalties().values():
            part.at_epoch(epoch)

    def predict(self, scores: Tensor, features: Tensor | None = None) -> Prediction:
        """Return the scores seen through the loss's link."""
        return Prediction(scores, self.loss.link, features)

    def mean_loss(self, prediction: Prediction, target: Tensor, row_weights: Tensor | None = None) -> Tensor:
        """Return the weighted mean of the loss over the rows that are not ignored, a scalar.

        A batch whose rows are all ignored has the loss 0 and moves nothing.

        Parameters
        ----------
        row_weights
            (N,), >= 0, beside the weights of the classes: a row of weight 2 counts as two rows, in the sum and in
            what it is divided by. None: all weigh 1.
        """
        return self.averaged(self.loss(prediction, target), target, row_weights)

    def averaged(self, value: Tensor, target: Tensor, row_weights: Tensor | None = None) -> Tensor:
        """Return the weighted mean over the last axis of the loss's own values, (..., N); of a scalar, itself."""
        if not self.loss.pointwise or self.weighs_alike(target, row_weights):
            # The mean, whose derivative would divide each row's by N.
            return value.sum(dim=-1) / value.shape[-1] if value.ndim else value
        kept = self.loss.kept(target)
        kept = torch.ones_like(value) if kept is None else kept.to(value.dtype)
        if row_weights is not None:
            kept = kept * row_weights.to(value.dtype)
        weights = kept
        if not self.weighting.neutral:
            # an ignored row's target may be no class at all, so it is looked up as class 0 and counts nothing
            weights = kept * self.weighting(torch.where(kept > 0, target, 0)).to(value.dtype)
        total = (weights if self.weighting.by == "weights" else kept).sum(dim=-1)
        return (weights * value).sum(dim=-1) / torch.where(total > 0, total, 1)

    def weighs_alike(self, target: Tensor, row_weights: Tensor | None = None) -> bool:
        """Return whether every row counts, and as much as any other."""
        return self.weighting.neutral and row_weights is None and self.loss.kept(target) is None

    def penalties(self, step: Step) -> dict[str, Tensor]:
        """Return the scalar term of each regularizer, by name."""
        return {name: part.penalty(step) for name, part in self._penalties().items()}

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return scalar terms by name: ``loss``, one per regularizer, and their sum, ``objective``."""
        terms = {"loss": self.mean_loss(step.prediction, step.target, step.row_weights), **self.penalties(step)}
        terms["objective"] = reduce(torch.add, terms.values())
        return terms

    def moved_after_step(
        self, weights: Mapping[str, Tensor], rates: Mapping[str, float | Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the loss's own parameters that a projection moves, and the weights that proximal operators do; pure.

        Parameters
        ----------
        weights
            The network's weight matrices by name, as in :class:`Step`.
        rates
            The learning rate of each in this step.
        """
        projected = self.loss.projected(dict(self.loss.named_parameters()))
        moved: dict[str, Tensor] = {}
        for part in self._penalties().values():
            moved |= part.shrunk({**weights, **moved}, rates)
        return projected, moved

    def after_step(self, weights: Mapping[str, Tensor], rates: Mapping[str, float | Tensor]) -> None:
        """Apply :meth:`moved_after_step` in place, after an optimizer step."""
        with torch.no_grad():
            projected, moved = self.moved_after_step(weights, rates)
            for name, value in projected.items():
                self.loss.get_parameter(name).copy_(value)
            for name, value in moved.items():
                weights[name].copy_(value)

    def _penalties(self) -> dict[str, Regularizer]:
        # read from the ModuleDict at each call, so that torch.func.functional_call swaps their buffers too
        return {name: part for name, part in self.regularizers.items() if isinstance(part, Regularizer)}


def reported_terms(terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the terms that a history keeps; without penalties the objective equals the loss and is left out.

    >>> list(reported_terms({"loss": torch.ones(()), "objective": torch.ones(())}))
    ['loss']
    """
    return {name: term for name, term in terms.items() if name != "objective" or len(terms) > 2}
