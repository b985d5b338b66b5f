"""The linear model: logistic regression, under the loss that belongs to it."""

from __future__ import annotations

from torch import nn

from lossbench.models.network import Network
from lossbench.task import Task


class Linear(Network):
    """Scores that are linear in the inputs, with a bias; its features are the inputs.

    Parameters
    ----------
    task
        Gives the number of inputs and of scores.

    Examples
    --------
    >>> Linear(Task(n_features=4, class_names=("a", "b", "c"), class_counts=(30, 30, 30))).head
    Linear(in_features=4, out_features=3, bias=True)
    """

    def __init__(self, task: Task) -> None:
        super().__init__(body=nn.Sequential(), head=nn.Linear(task.n_features, task.n_scores))
