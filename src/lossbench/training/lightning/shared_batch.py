"""One batch shared by several processes, its ranks: each propagates its rows, all see the whole batch's scores.

The objective is computed of the whole batch on every rank, so that weighted means, losses of whole batches, penalties
on outputs and an uneven last batch are what they are for one process. Its gradient reaches the network through each
rank's own rows alone: the sum over the ranks is the gradient of one process, and `Ranks.gather` multiplies by the
number of ranks what averaging the gradients (torch's DistributedDataParallel) divides by it. What reaches a parameter
by another way (penalties on weights, a loss's own parameters) is whole on every rank, and its average is itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True)
class Ranks:
    """Which of the processes that share a run this one is.

    Parameters
    ----------
    rank
        This process's number, from 0.
    world
        How many there are, >= 1.

    Examples
    --------
    Shares differ by one row at most, and follow each other:

    >>> [Ranks(rank, 3).share(7) for rank in range(3)]
    [slice(0, 3, None), slice(3, 5, None), slice(5, 7, None)]
    """

    rank: int = 0
    world: int = 1

    def share(self, rows: int) -> slice:
        """Return which rows of a batch this rank propagates."""
        each, more = divmod(rows, self.world)
        start = self.rank * each + min(self.rank, more)
        return slice(start, start + each + (self.rank < more))

    def gather(self, part: Tensor, rows: int) -> Tensor:
        """Return (rows, ...) of this rank's share of them (n, ...), differentiable, on every rank the same."""
        share = self.share(rows)
        whole: Tensor = _Sum.apply(pad(part, [0, 0] * (part.ndim - 1) + [share.start, rows - share.stop]))
        return whole


ALONE = Ranks()


class _Sum(torch.autograd.Function):
    """The sum over all ranks, whose gradient is the sum of the ranks' gradients; twice differentiable.

    torch has the same in `torch.distributed.nn.functional.all_reduce`, deprecated in favour of one without a gradient.
    """

    @staticmethod
    def forward(_: Any, part: Tensor) -> Tensor:
        whole = part.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        summed: Tensor = _Sum.apply(gradient)
        return summed
