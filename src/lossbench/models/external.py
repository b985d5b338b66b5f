"""Models from other packages, built with the task's number of inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from lossbench.task import Task


def external(
    task: Task, module: Callable[..., nn.Module], inputs: str = "in_features", outputs: str = "out_features"
) -> nn.Module:
    """Return ``module`` built with the numbers of the task; it maps (N, F) to raw scores, (N, 1) or (N, K).

    Parameters
    ----------
    task
        Gives the number of inputs, and of scores: 1 for two classes, K otherwise.
    module
        A class of modules, or a partial with its other arguments.
    inputs, outputs
        The names of its arguments that take the two numbers.

    Examples
    --------
    >>> external(Task(n_features=4, class_names=("a", "b", "c"), class_counts=(30, 30, 30)), nn.Linear)
    Linear(in_features=4, out_features=3, bias=True)
    """
    return module(**{inputs: task.n_features, outputs: task.n_scores})
