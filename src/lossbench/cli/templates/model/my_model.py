"""my_model: what it is, and where it comes from."""

import torch
from torch import Tensor, nn

from lossbench.task import Task


class MyModel(nn.Module):
    """One hidden layer and a linear path around it.

    Parameters
    ----------
    task
        Has n_features, the number of inputs, and n_scores: 1 for two classes, one per class otherwise.
    width
        Units of the hidden layer.
    """

    def __init__(self, task: Task, width: int = 32) -> None:
        super().__init__()
        self.hidden = nn.Linear(task.n_features, width)
        self.out = nn.Linear(width, task.n_scores)
        self.around = nn.Linear(task.n_features, task.n_scores, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return raw scores (N, n_scores), never probabilities, of inputs (N, n_features)."""
        return self.out(torch.tanh(self.hidden(x))) + self.around(x)
