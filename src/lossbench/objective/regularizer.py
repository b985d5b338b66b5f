"""The contract of a penalty, what it may look at, and which parameters are weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lossbench.objective.hyperparameters import choice, number
from lossbench.objective.prediction import Prediction
from lossbench.objective.schedule import SCHEDULES, Schedule, factor
from lossbench.task import Task


@dataclass(frozen=True)
class Step:
    """What a penalty may look at in one training step.

    Parameters
    ----------
    weights
        The network's weight matrices by parameter name, as :func:`weight_names` chooses them.
    inputs
        The batch (N, F), scaled.
    features
        Last hidden layer (N, H), where the model has one.
    prediction
        The scores through the loss's link.
    target
        Class indices (N,).
    input_gradient
        Returns (N, F), differentiable: N times the gradient in the inputs of the mean loss, which for a
        pointwise loss is each row's own gradient. Penalties never differentiate by themselves, which fails
        under vmap.
    row_weights
        Weight of each row of the batch (N,), which the loss has; None where all weigh 1.
    """

    weights: Mapping[str, Tensor]
    inputs: Tensor
    features: Tensor | None
    prediction: Prediction
    target: Tensor
    input_gradient: Callable[[], Tensor] | None = None
    row_weights: Tensor | None = None


class Regularizer(nn.Module, ABC):
    """A penalty that owns its strength.

    Parameters
    ----------
    strength
        What :meth:`measure` is multiplied by; >= 0.
    schedule
        ``constant``, ``warm_up`` or ``cosine``: how strong it is from epoch to epoch; see
        :func:`lossbench.objective.schedule.factor`.
    until
        The epoch, >= 1, in which a warm-up or cosine schedule ends; a constant one does not read it.

    Attributes
    ----------
    needs
        Of ``features`` and ``input_gradient``: what :class:`Step` has to bring.
    acts_after_step
        :meth:`shrunk` has to be applied to the weights after an optimizer step (a proximal operator). The
        penalty is then reported without a gradient, which would shrink the weights twice.
    """

    needs: frozenset[str] = frozenset()
    acts_after_step: bool = False
    strength: Tensor
    until: Tensor
    epoch: Tensor

    def __init__(self, strength: float, schedule: Schedule = "constant", until: int | None = None) -> None:
        super().__init__()
        self.register_buffer("strength", number(self.name, "strength", strength, at_least=0))
        self.schedule: Schedule = choice(self.name, "schedule", schedule, SCHEDULES)
        if schedule != "constant" and until is None:
            raise ValueError(f"{self.name} needs until, the epoch in which schedule={schedule} ends, got until=None")
        if isinstance(until, float):
            raise ValueError(f"{self.name} needs until to be a whole epoch, got until={until}")
        self.register_buffer("until", number(self.name, "until", 1 if until is None else until, at_least=1))
        self.register_buffer("epoch", torch.zeros((), dtype=torch.float64))
        self._task: Task | None = None

    @property
    def name(self) -> str:
        """What error messages call it."""
        return type(self).__name__

    def bind(self, task: Task) -> None:
        """Check that this regularizer can serve the task (CannotServe); called once (RuntimeError when twice)."""
        if self._task is not None:
            raise RuntimeError(f"{self.name} is bound to a task already")
        self._task = task

    def at_epoch(self, epoch: int) -> None:
        """Set the epoch, from 0, that the schedule reads."""
        self.epoch.fill_(epoch)

    @property
    def present_strength(self) -> Tensor:
        """Strength of the present epoch, 0-dim."""
        return self.strength * factor(self.schedule, self.epoch, self.until)

    @abstractmethod
    def measure(self, step: Step) -> Tensor:
        """Return what is penalised, a scalar, before the strength."""

    def penalty(self, step: Step) -> Tensor:
        """Return the penalty, a scalar with its strength included."""
        measure = self.measure(step)
        value = self.present_strength.to(measure.dtype) * measure
        return value.detach() if self.acts_after_step else value

    def forward(self, step: Step) -> Tensor:
        return self.penalty(step)

    def shrunk(self, weights: Mapping[str, Tensor], rates: Mapping[str, float | Tensor]) -> dict[str, Tensor]:
        """Return the weights that a proximal step moves, by name, given each one's learning rate; pure."""
        return {}


# The kinds whose parameters of two or more dimensions are weight matrices (a bias and a normalisation's scale
# have one). Attention is apart: its bias_k and bias_v have three.
_KINDS = (
    nn.Linear,
    nn.Bilinear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Embedding,
    nn.EmbeddingBag,
    nn.RNNBase,
    nn.RNNCellBase,
)
_ATTENTION = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


def weight_names(module: nn.Module) -> tuple[str, ...]:
    """Return the names of the weight matrices among a network's parameters, in its own order.

    They are chosen by the *kind* of the module that holds them (linear, bilinear, convolution, embedding,
    recurrent, attention), never by a substring of a name: biases and normalisation layers are none. A matrix
    that two modules share is named once.

    >>> weight_names(nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Linear(3, 1)))
    ('0.weight', '2.weight')
    """
    chosen = set()
    for layer in module.modules():
        if isinstance(layer, nn.MultiheadAttention):
            chosen |= {id(getattr(layer, name)) for name in _ATTENTION}
        elif isinstance(layer, _KINDS):
            chosen |= {id(p) for p in layer.parameters(recurse=False) if p.ndim >= 2}
    return tuple(name for name, parameter in module.named_parameters() if id(parameter) in chosen)
