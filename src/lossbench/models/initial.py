"""A model with its initial weights, which depend on the seed alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from lossbench import randomness
from lossbench.task import Task


def build(model: Callable[[Task], nn.Module], task: Task, seed: int, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Construct a model on the CPU with weights from the stream ``init``, drawn in float32 and then cast.

    So every loss that is trained with one seed starts at the same weights, and a float64 run at those of its
    float32 twin. Torch's global generator, default dtype and default device neither matter nor change.

    Parameters
    ----------
    model
        Called with the task, as ``_partial_: true`` makes it.
    task
        Of the training split.
    seed
        Of the run.
    dtype
        Of parameters and floating buffers.

    Raises
    ------
    ValueError
        If the call returns something other than a ``torch.nn.Module``.

    Examples
    --------
    >>> from lossbench.models.linear import Linear
    >>> task = Task(n_features=2, class_names=("a", "b"), class_counts=(1, 1))
    >>> single, double = build(Linear, task, seed=0), build(Linear, task, seed=0, dtype=torch.float64)
    >>> torch.equal(single.head.weight.double(), double.head.weight)
    True
    """
    with randomness.seeded(seed, "init"), torch.device("cpu"), _default_dtype(torch.float32):
        network = model(task)
    if not isinstance(network, nn.Module):
        source = getattr(model, "func", model)  # what a partial calls
        name = getattr(source, "__qualname__", repr(source))
        raise ValueError(f"a model needs to be a torch.nn.Module, got {type(network).__qualname__} from {name}")
    return network.to(dtype)


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
