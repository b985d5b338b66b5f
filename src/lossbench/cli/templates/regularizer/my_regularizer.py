"""my_regularizer: what it is, and where it comes from."""

import torch
from torch import Tensor

from lossbench.objective.hyperparameters import number
from lossbench.objective.regularizer import Regularizer, Step
from lossbench.objective.regularizers.weights import total
from lossbench.objective.schedule import Schedule


class MyRegularizer(Regularizer):
    """strength * sum log(1 + (w / width)^2) over the weight matrices, which spares large weights.

    Parameters
    ----------
    strength
        >= 0; 0 is no penalty.
    width
        > 0; weights far beyond it hardly pay more.
    schedule, until
        See Regularizer.
    """

    width: Tensor

    def __init__(
        self, strength: float, width: float = 1.0, schedule: Schedule = "constant", until: int | None = None
    ) -> None:
        super().__init__(strength, schedule, until)
        # A buffer, so that runs with other values can be trained as one stack.
        self.register_buffer("width", number(self.name, "width", width, above=0))

    def measure(self, step: Step) -> Tensor:
        """Return the sum before the strength; ``step`` also has inputs, features, prediction and target."""
        return total(step, [self._of(weight) for weight in step.weights.values()])

    def _of(self, weight: Tensor) -> Tensor:
        return torch.log1p((weight / self.width.to(weight.dtype)).square()).sum()
