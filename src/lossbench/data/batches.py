"""Training batches of data that is in memory: index tensors with a permutation, collate nothing."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from lossbench import streams
from lossbench.data.checks import is_integer, require


def order(seed: int, epoch: int, n_rows: int) -> Tensor:
    """Return the order in which an epoch visits its rows: a permutation (n_rows,) int64, stream ``order``.

    >>> sorted(order(0, epoch=3, n_rows=4).tolist())
    [0, 1, 2, 3]
    """
    return torch.randperm(n_rows, generator=streams.generator(seed, "order", epoch))


class Batches:
    """An iterable over the batches ``(x, y)`` of one epoch.

    A last, smaller batch is kept. Where one batch holds all rows there is nothing to permute, and it consists
    of the tensors themselves. The order depends on seed and epoch alone; call `set_epoch` before each epoch.

    Parameters
    ----------
    x, y
        Tensors with the same number of rows, on any one device.
    batch_size
        Rows of a batch, >= 1; None for all rows.
    seed
        Of the stream ``order``.
    shuffle
        False visits the rows in their own order.

    Raises
    ------
    ValueError
        For a wrong batch size, no rows, or tensors of different lengths.

    Examples
    --------
    >>> batches = Batches(torch.arange(5.0).unsqueeze(1), torch.arange(5), batch_size=2, seed=0)
    >>> len(batches), [len(y) for x, y in batches]
    (3, [2, 2, 1])
    >>> [y.tolist() for x, y in Batches(torch.zeros(3, 1), torch.arange(3), batch_size=None, seed=0)]
    [[0, 1, 2]]
    """

    def __init__(self, x: Tensor, y: Tensor, batch_size: int | None, seed: int, shuffle: bool = True) -> None:
        valid = batch_size is None or (is_integer(batch_size) and batch_size >= 1)
        require(valid, "Batches", "batch_size None or an integer >= 1", batch_size=batch_size)
        require(len(x) == len(y) > 0, "Batches", "x and y with the same rows, at least one", x=len(x), y=len(y))
        self.x = x
        self.y = y
        self.batch_size = len(y) if batch_size is None else min(batch_size, len(y))
        self.seed = seed
        self.shuffle = shuffle
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch (from 0) whose order the next iteration follows."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.y) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if len(self) == 1:
            yield self.x, self.y
        elif not self.shuffle:
            yield from zip(self.x.split(self.batch_size), self.y.split(self.batch_size), strict=True)
        else:
            # index_select batch by batch costs a third of x[rows], and makes no second copy of a large table.
            permutation = order(self.seed, self.epoch, len(self.y)).to(self.x.device)
            for rows in permutation.split(self.batch_size):
                yield self.x.index_select(0, rows), self.y.index_select(0, rows)
