"""The batches of many jobs at once: jobs that share data, seed and order share their rows in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from lossbench.data.dataset import Rows
from lossbench.data.order import plan_batches
from lossbench.training.job import Job


class StackedBatches:
    """Training batches and validation rows of R jobs with equally many rows, features before samples.

    Parameters
    ----------
    jobs
        Their batches have to have the same sizes: see `sizes`.
    device
        Where the tensors live.

    Attributes
    ----------
    source
        (R,): the jobs' row in whatever is kept once per source, a source being data, seed and order together.
    """

    def __init__(self, jobs: Sequence[Job], device: torch.device) -> None:
        if len({sizes(job) for job in jobs}) > 1:
            raise ValueError("jobs that are trained together need batches of the same sizes")
        first: dict[tuple[int, int, str], int] = {}
        for number, job in enumerate(jobs):
            first.setdefault(_source(job), number)
        row_of = {source: row for row, source in enumerate(first)}
        self.jobs = [jobs[number] for number in first.values()]
        self.source = torch.tensor([row_of[_source(job)] for job in jobs], device=device)
        self._each_its_own = len(self.jobs) == len(jobs)
        dtype = jobs[0].dtype
        self._train_x, self._train_y = _stack([job.dataset.train for job in self.jobs], dtype, device)
        self._val_x, self._val_y = _stack([job.dataset.val for job in self.jobs], dtype, device)
        self._sizes = sizes(jobs[0])
        sampler = jobs[0].dataset.sampler
        self._fixed = jobs[0].batch_order == "full" and sampler == "natural"
        weights = [job.dataset.train.weight for job in self.jobs]
        row_weights = [weight for weight in weights if weight is not None]
        self._weight = torch.as_tensor(np.stack(row_weights), dtype=dtype, device=device) if row_weights else None
        self._labels = [torch.as_tensor(job.dataset.train.y) for job in self.jobs]

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Yield the batches (x (R, F, N), target (R, N), row weights (R, N) or None) of an epoch, from 0."""
        weight = self._weight
        if self._fixed:
            spread = None if weight is None else self._spread(weight)
            yield self._spread(self._train_x), self._spread(self._train_y), spread
            return
        order = torch.stack(
            [_order(job, labels, epoch) for job, labels in zip(self.jobs, self._labels, strict=True)]
        ).to(self._train_y.device)
        x = self._train_x.gather(2, order.unsqueeze(1).expand(-1, self._train_x.shape[1], -1))
        y = self._train_y.gather(1, order)
        weight = None if weight is None else weight.gather(1, order)
        start = 0
        for size in self._sizes:
            rows = slice(start, start + size)
            spread = None if weight is None else self._spread(weight[:, rows])
            yield self._spread(x[:, :, rows]), self._spread(y[:, rows]), spread
            start += size

    def val(self, replicates: slice) -> tuple[Tensor, Tensor]:
        """Return the validation rows (x (R, F, N), target (R, N)) of some of the replicates."""
        return self._spread(self._val_x, replicates), self._spread(self._val_y, replicates)

    def _spread(self, of_source: Tensor, replicates: slice = slice(None)) -> Tensor:
        if self._each_its_own:
            return of_source[replicates]
        # A batch is cut out of an epoch's rows; a copy of it first halves the time.
        return of_source.contiguous().index_select(0, self.source[replicates])


def sizes(job: Job) -> tuple[int, ...]:
    """Return the number of rows of each batch of a job's epochs, which is the same in all of them."""
    if job.batch_order == "full":
        return (len(job.dataset.train),)
    return tuple(len(rows) for rows in _plan(job, torch.as_tensor(job.dataset.train.y), 0))


def _order(job: Job, labels: Tensor, epoch: int) -> Tensor:
    """Return an epoch's rows in the order of its batches; they are cut into batches only where the order needs it."""
    if job.batch_order == "stratified":
        return torch.cat(_plan(job, labels, epoch))
    return plan_batches(labels, len(labels), job.seed, epoch, job.dataset.sampler)[0]


def _plan(job: Job, labels: Tensor, epoch: int) -> tuple[Tensor, ...]:
    size = job.dataset.batch_size or len(labels)
    stratified = job.batch_order == "stratified"
    return plan_batches(labels, min(size, len(labels)), job.seed, epoch, job.dataset.sampler, stratified)


def _source(job: Job) -> tuple[int, int, str]:
    return id(job.dataset), job.seed, job.batch_order


def _stack(rows: Sequence[Rows], dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    x = torch.as_tensor(np.stack([each.x for each in rows]), dtype=dtype, device=device).transpose(1, 2)
    return x.contiguous(), torch.as_tensor(np.stack([each.y for each in rows]), device=device)
