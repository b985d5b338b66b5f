"""Training batches of data that is in memory: index tensors by a plan, collate nothing."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from lossbench.data.checks import is_integer, require
from lossbench.data.order import Sampler, plan_batches


class Batches:
    """An iterable over the batches ``(x, y)`` of one epoch, ``(x, y, weight)`` where rows have weights.

    Where one batch holds all rows as they are there is nothing to permute, and it consists of the tensors
    themselves. The order depends on seed, epoch and, balanced or stratified, the labels; call `set_epoch` before
    each epoch.

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
    weight
        Weight of each row (N,); None: they have none.
    sampler, stratified
        How shuffled rows are drawn and spread over the batches: see `lossbench.data.order.plan_batches`.

    Raises
    ------
    ValueError
        For a wrong batch size or sampler, no rows, or tensors of different lengths.

    Examples
    --------
    >>> import torch
    >>> batches = Batches(torch.arange(5.0).unsqueeze(1), torch.arange(5), batch_size=2, seed=0)
    >>> len(batches), [len(y) for x, y in batches]
    (3, [2, 2, 1])
    >>> [y.tolist() for x, y in Batches(torch.zeros(3, 1), torch.arange(3), batch_size=None, seed=0)]
    [[0, 1, 2]]
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        batch_size: int | None,
        seed: int,
        shuffle: bool = True,
        sampler: Sampler = "natural",
        stratified: bool = False,
        weight: Tensor | None = None,
    ) -> None:
        valid = batch_size is None or (is_integer(batch_size) and batch_size >= 1)
        require(valid, "Batches", "batch_size None or an integer >= 1", batch_size=batch_size)
        require(len(x) == len(y) > 0, "Batches", "x and y with the same rows, at least one", x=len(x), y=len(y))
        require(sampler in ("natural", "balanced"), "Batches", "sampler 'natural' or 'balanced'", sampler=sampler)
        if weight is not None:
            require(len(weight) == len(y), "Batches", "one weight per row", weight=len(weight), y=len(y))
        self.x = x
        self.y = y
        self._parts = (x, y) if weight is None else (x, y, weight)
        self.batch_size = len(y) if batch_size is None else min(batch_size, len(y))
        self.seed = seed
        self.shuffle = shuffle
        self._sampler = sampler  # Lightning takes an attribute `sampler` for that of torch's DataLoader
        self.stratified = stratified
        self.epoch = 0
        self._labels = y.cpu()

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch (from 0) whose order the next iteration follows."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.y) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        if len(self) == 1 and (self._sampler == "natural" or not self.shuffle):
            yield self._parts
        elif not self.shuffle:
            yield from zip(*(part.split(self.batch_size) for part in self._parts), strict=True)
        else:
            # index_select batch by batch costs a third of x[rows], and makes no second copy of a large table.
            device = self.x.device
            planned = plan_batches(self._labels, self.batch_size, self.seed, self.epoch, self._sampler, self.stratified)
            for rows in (rows.to(device) for rows in planned):
                yield tuple(part.index_select(0, rows) for part in self._parts)
