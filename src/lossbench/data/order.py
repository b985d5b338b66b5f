"""Which rows make each batch of an epoch, as a function of seed, epoch and labels alone."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from lossbench import randomness

# How often the rows of a class are drawn: as they are, or every class equally often.
Sampler = Literal["natural", "balanced"]


def shuffled_order(seed: int, epoch: int, n_rows: int) -> Tensor:
    """Return the order in which an epoch visits its rows: a permutation (n_rows,) int64, stream ``order``.

    >>> sorted(shuffled_order(0, epoch=3, n_rows=4).tolist())
    [0, 1, 2, 3]
    """
    return torch.randperm(n_rows, generator=randomness.generator(seed, "order", epoch))


def balanced_order(y: Tensor, seed: int, epoch: int) -> Tensor:
    """Return row numbers (N,) int64 drawn with replacement so that every class comes equally often.

    Each class has N / K places (a remainder goes to random classes), each place a random row of its class, and
    the places are shuffled; stream ``order``.

    >>> y = torch.tensor([0, 0, 0, 0, 0, 1])
    >>> y[balanced_order(y, seed=0, epoch=0)].bincount()
    tensor([3, 3])
    """
    generator = randomness.generator(seed, "order", epoch)
    _, label, counts = y.unique(return_inverse=True, return_counts=True)
    class_of_place = torch.randperm(len(counts), generator=generator)[torch.arange(len(y)) % len(counts)]
    nth = (torch.rand(len(y), generator=generator, dtype=torch.float64) * counts[class_of_place]).long()
    first = counts.cumsum(0) - counts
    rows = label.argsort(stable=True)[first[class_of_place] + nth]
    return rows[torch.randperm(len(y), generator=generator)]


def plan_batches(
    y: Tensor, batch_size: int, seed: int, epoch: int, sampler: Sampler = "natural", stratified: bool = False
) -> tuple[Tensor, ...]:
    """Return the row numbers of each batch of an epoch, on the CPU.

    Parameters
    ----------
    y
        Class indices (N,), on the CPU.
    batch_size
        Rows of a batch at most, >= 1.
    seed, epoch
        Of the stream ``order``.
    sampler
        ``natural`` visits every row once; ``balanced`` is :func:`balanced_order`.
    stratified
        Spread each class over the batches as evenly as can be: of n rows each of B batches gets floor(n / B) or
        one more. There are as many batches as without, their sizes differ by one at most, and the larger ones
        come first. Not stratified: batches of ``batch_size`` in shuffled order, the last one smaller.

    Examples
    --------
    >>> y = torch.tensor([0, 0, 0, 0, 0, 1, 1])
    >>> [sorted(y[rows].tolist()) for rows in plan_batches(y, batch_size=4, seed=0, epoch=0, stratified=True)]
    [[0, 0, 0, 1], [0, 0, 1]]
    """
    rows = shuffled_order(seed, epoch, len(y)) if sampler == "natural" else balanced_order(y, seed, epoch)
    if not stratified:
        return rows.split(batch_size)
    # Sorted by class, and in random order within each, the rows are dealt to the batches like cards.
    by_class = rows[y[rows].argsort(stable=True)]
    n_batches = -(-len(y) // batch_size)
    return tuple(by_class[first::n_batches] for first in range(n_batches))
