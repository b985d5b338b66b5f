"""The floor: a model that ignores its inputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lossbench.task import Task


class ClassPrior(nn.Module):
    """Constant scores whose probabilities are the priors of the training split; nothing to train.

    Two classes: s = log(pi_1 / pi_0), of which the sigmoid is pi_1. Otherwise s_k = log pi_k, of which the
    softmax is pi (the normalised one-vs-rest sigmoid is so only for equal priors). It has a buffer and no
    parameters.

    Parameters
    ----------
    task
        Gives the priors.

    Examples
    --------
    >>> model = ClassPrior(Task(n_features=2, class_names=("outer", "inner"), class_counts=(6000, 200)))
    >>> torch.sigmoid(model(torch.zeros(3, 2))).mul(6200).round().tolist()
    [[200.0], [200.0], [200.0]]
    """

    scores: Tensor

    def __init__(self, task: Task) -> None:
        super().__init__()
        log_priors = torch.tensor(task.priors, dtype=torch.float64).log()
        self.register_buffer("scores", log_priors[1:] - log_priors[:1] if task.binary else log_priors)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 1) or (N, K) for inputs (N, F)."""
        return self.scores.to(x.dtype).expand(x.shape[0], -1)
