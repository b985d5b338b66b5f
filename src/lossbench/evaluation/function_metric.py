"""A plain function as a metric of the final evaluation: one of your own, or any of scikit-learn's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

Seen = Literal["labels", "positive", "probs"]
_SEEN = ("labels", "positive", "probs")


class FunctionMetric(Metric):
    """``function(target, seen)`` of all rows of a split, as scikit-learn's metrics are called; returns a number.

    Parameters
    ----------
    function
        Of numpy arrays: target (N,) int64, and what it reads.
    reads
        ``labels``: the likeliest class, (N,) int64; ``positive``: the positive class's probability (N,) of two
        classes, all of them (N, K) of more; ``probs``: (N, K).
    higher_is_better
        Which way it is better, so that ``compare.metric`` may name it.

    Raises
    ------
    ValueError
        For an argument out of its choices.

    Examples
    --------
    >>> from sklearn.metrics import cohen_kappa_score
    >>> kappa = FunctionMetric(cohen_kappa_score, reads="labels", higher_is_better=True)
    >>> kappa.update(torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([0, 1]))
    >>> kappa.compute()
    tensor(1., dtype=torch.float64)
    """

    full_state_update = False
    seen: list[Tensor]
    targets: list[Tensor]

    def __init__(self, function: Callable[..., Any], reads: Seen, higher_is_better: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not callable(function):
            raise ValueError(f"FunctionMetric needs a function, got function={function!r}")
        if reads not in _SEEN:
            raise ValueError(f"FunctionMetric needs reads to be one of {', '.join(_SEEN)}, got reads={reads!r}")
        if not isinstance(higher_is_better, bool):
            raise ValueError(f"FunctionMetric needs higher_is_better true or false, got {higher_is_better!r}")
        self.function = function
        self.reads = reads
        self._better = higher_is_better
        self.add_state("seen", [], dist_reduce_fx="cat")
        self.add_state("targets", [], dist_reduce_fx="cat")

    @property
    def higher_is_better(self) -> bool:  # type: ignore[override]  # torchmetrics lets a class say it, no instance
        return self._better

    def update(self, probs: Tensor, target: Tensor) -> None:
        if self.reads == "labels":
            probs = probs.argmax(dim=1)
        elif self.reads == "positive" and probs.shape[1] == 2:
            probs = probs[:, 1]
        self.seen.append(probs)
        self.targets.append(target)

    def compute(self) -> Tensor:
        target, seen = (torch.cat(part).cpu().numpy() for part in (self.targets, self.seen))
        value = np.asarray(self.function(target, seen), dtype=np.float64)
        if value.shape != ():
            raise ValueError(f"FunctionMetric needs a number of its function, got shape {value.shape}")
        return torch.from_numpy(value).clone()
