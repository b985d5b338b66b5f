"""A loss as a function of scores."""

from __future__ import annotations

from torch import Tensor, nn

from lossbench.objective.loss import Loss
from lossbench.objective.prediction import Prediction


class Judge(nn.Module):
    """A loss as a function of raw scores, so that stacking swaps the buffers of its link too."""

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, scores: Tensor, target: Tensor, features: Tensor) -> Tensor:
        value: Tensor = self.loss(
            Prediction(scores, self.loss.link, features if "features" in self.loss.needs else None), target
        )
        return value
