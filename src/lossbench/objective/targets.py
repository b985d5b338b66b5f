"""Class indices seen as the columns that a loss compares with; an index outside 0..K-1 is a row of zeros."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor


def onehot(target: Tensor, n_classes: int, like: Tensor) -> Tensor:
    """Return (N, K) zeros with a one at each row's class, in the dtype and on the device of ``like``.

    >>> onehot(torch.tensor([1, 0]), 3, like=torch.zeros(()))
    tensor([[0., 1., 0.],
            [1., 0., 0.]])
    """
    # torch's one_hot looks at the values, which vmap cannot
    classes = torch.arange(n_classes, device=like.device)
    return (target.unsqueeze(-1) == classes).to(like.dtype)


def indicator(target: Tensor, scores: Tensor) -> Tensor:
    """Return 0/1 shaped like the scores: one where a score speaks for the row's class.

    >>> indicator(torch.tensor([1, 0]), torch.zeros(2, 1))
    tensor([[1.],
            [0.]])
    """
    n_scores = scores.shape[-1]
    if n_scores == 1:
        return (target == 1).to(scores.dtype).unsqueeze(-1)
    return onehot(target, n_scores, scores)


def signs(target: Tensor, scores: Tensor) -> Tensor:
    """Return +1/-1 shaped like the scores: +1 where a score speaks for the row's class.

    >>> signs(torch.tensor([1, 0]), torch.zeros(2, 1))
    tensor([[ 1.],
            [-1.]])
    """
    return 2 * indicator(target, scores) - 1


def over_columns(values: Tensor, how: Literal["mean", "sum"] = "mean") -> Tensor:
    """Return mean or sum over the last axis, (N,) of (N, C); of one column itself, which costs nothing.

    >>> over_columns(torch.tensor([[0.5, 1.5]])), over_columns(torch.tensor([[2.0], [3.0]]))
    (tensor([1.]), tensor([2., 3.]))
    """
    if values.shape[-1] == 1:
        return values.squeeze(-1)
    return values.mean(dim=-1) if how == "mean" else values.sum(dim=-1)


def at(columns: Tensor, target: Tensor) -> Tensor:
    """Return each row's entry at its class, (N,) from (N, K).

    >>> at(torch.tensor([[.2, .8], [.9, .1]]), torch.tensor([1, 1]))
    tensor([0.8000, 0.1000])
    """
    return columns.gather(-1, target.unsqueeze(-1)).squeeze(-1)


def log_others(log_probs: Tensor, target: Tensor) -> Tensor:
    """Return log(1 - p_y), (N,), as the log-sum of the other columns: exact where p_y rounds to one.

    >>> log_others(torch.tensor([[.25, .75]]).log(), torch.tensor([0])).exp()
    tensor([0.7500])
    """
    if log_probs.shape[-1] == 2:
        return at(log_probs.flip(-1), target)
    is_class = onehot(target, log_probs.shape[-1], log_probs).bool()
    return log_probs.masked_fill(is_class, -torch.inf).logsumexp(dim=-1)
