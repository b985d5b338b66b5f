"""The contract of a loss: what it computes, and the facts that it states about itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn

from lossbench.objective.links import Link
from lossbench.objective.prediction import Prediction
from lossbench.task import Task


class Loss(nn.Module, ABC):
    """A loss of predictions and class indices, never reduced over rows by itself when it is pointwise.

    Its facts are attributes of the *instance*, since they may depend on hyperparameters, and the laws of
    ``lossbench.testing`` read them. The defaults are the careful ones: nothing is claimed.

    Attributes
    ----------
    proper
        The population minimum, read through the link, is the class posterior (unweighted; for every number of
        classes).
    pointwise
        ``forward`` returns one value per row, (N,), and rows do not mix; otherwise a scalar for the whole
        batch.
    kinks
        Where value or gradient jump, in words and formula; empty for a smooth loss.
    finite_scores
        Value and gradient stay finite in float32 for scores within plus and minus this.
    symmetric_in_classes
        Renaming the classes changes nothing.
    class_parameters
        Else: parameters and buffers with the class axis last, along which renaming the classes changes
        nothing.
    posterior
        ``gradient``: :func:`lossbench.objective.posterior.recover_posterior` recovers the class posterior from the
        scores, and near the minimum it is near the truth: the excess risk is at least H / 8 times the squared
        error of the posterior, H what knowing nothing costs more than knowing all (the loss is strongly proper in
        it: Agarwal 2014, https://arxiv.org/abs/1207.0268). ``calibrator``: it has to be fitted on validation rows.
    stackable
        ``all``: every numeric hyperparameter is a buffer and instances that differ in them can be stacked;
        ``equal_hyperparameters``: instances with equal ones can; ``no``: none can.
    needs
        Of ``priors``, ``features``, ``both_classes`` (in a batch), ``two_rows_of_a_class`` (in a batch),
        ``parameters`` (of its own, which the optimizer trains).
    has_class_weight
        It weighs classes already (focal's alpha, pos_weight), so a weighting would weigh them twice.
    acts_after_step
        :meth:`projected` has to be applied to its parameters after an optimizer step.
    """

    proper: bool = False
    pointwise: bool = True
    kinks: str = ""
    finite_scores: float = 1e3
    symmetric_in_classes: bool = True
    class_parameters: tuple[str, ...] = ()
    posterior: Literal["gradient", "calibrator"] = "calibrator"
    stackable: Literal["all", "equal_hyperparameters", "no"] = "all"
    needs: frozenset[str] = frozenset()
    has_class_weight: bool = False
    acts_after_step: bool = False

    def __init__(self) -> None:
        super().__init__()
        self._task: Task | None = None

    @property
    @abstractmethod
    def link(self) -> Link:
        """The map from scores to probabilities."""

    @property
    def name(self) -> str:
        """What error messages call it."""
        return type(self).__name__

    @property
    def smooth(self) -> bool:
        """Value and gradient are continuous in the scores."""
        return not self.kinks

    def bind(self, task: Task) -> None:
        """Check that this loss can serve the task, and make the buffers that depend on it.

        Called once, before parameters are collected.

        Raises
        ------
        CannotServe
            When this loss cannot serve the task.
        RuntimeError
            When called twice.
        """
        if self._task is not None:
            raise RuntimeError(f"{self.name} is bound to a task already")
        self._task = task

    @abstractmethod
    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        """Return the loss, (N,) when pointwise and a scalar otherwise, of int64 class indices (N,)."""

    def kept(self, target: Tensor) -> Tensor | None:
        """Return 1.0 for rows that count and 0.0 for ignored ones, (N,); None when every row counts."""
        return None

    def head(self, task: Task, n_features: int) -> nn.Module | None:
        """Return the layer, (N, n_features) -> scores, that replaces the model's last; None keeps it."""
        return None

    def projected(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return those of this loss's parameters that a projection moves after a step, by name; pure."""
        return {}
