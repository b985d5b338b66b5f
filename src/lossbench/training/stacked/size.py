"""How many replicates a stack holds: as many as stay near the processor's caches, and in memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lossbench.models.forward import propagate
from lossbench.training.job import Job

# A step touches all of a stack's tensors once. Training and evaluation in ms a run, where it may touch 4, 8, 12, 16 or
# 32 MB: a 32-32 network takes 34.9, 29.8, 27.1, 26.9 and 32.5, a 4-8 network 11.7, 11.4, 10.6, 10.8 and 10.8, iris with
# a 50-50 network and all rows in a batch 12.8, 10.8, 9.7, 10.6 and 10.7.
_CACHE = 12 << 20
_FEWEST = 16  # below, Python costs more than what the cache saves
_DATA = 1 << 30  # bytes of rows that a stack may copy


def replicates(job: Job, device: str, processes: int = 1) -> int:
    """Return how many jobs like this one are best trained together.

    On a GPU, whose caches do not matter so, half of the free memory is the limit, for the stacks of all processes.
    """
    free = torch.cuda.mem_get_info()[0] // (2 * processes) if device == "cuda" else _CACHE
    fewest = 1 if device == "cuda" else _FEWEST
    return max(1, min(max(fewest, free // bytes_of_step(job)), _DATA // bytes_of_rows(job)))


def validated_together(job: Job) -> int:
    """Return how many jobs like this one are best validated at a time.

    Measured on the 1,240 rows of rings: a 4-8 network costs 50 us a run and epoch when there are 30 at a time, 59 when
    16; a 32-32 network, of five times as many numbers, is slowest from 32 on.
    """
    size = torch.empty(0, dtype=job.dtype).element_size()
    return max(1, _CACHE // (2 * size * len(job.dataset.val) * _cells_of_row(job)))


def bytes_of_step(job: Job) -> int:
    """Return what a training step touches: parameters, gradients, two moments, and every layer's output twice."""
    rows = job.dataset.batch_size or len(job.dataset.train)
    size = torch.empty(0, dtype=job.dtype).element_size()
    parameters = sum(tensor.numel() for tensor in job.network.parameters())
    return size * (4 * parameters + 2 * min(rows, len(job.dataset.train)) * _cells_of_row(job))


def bytes_of_rows(job: Job) -> int:
    """Return the size of the rows that a stack copies for a job: training (in order, and permuted) and validation."""
    size = torch.empty(0, dtype=job.dtype).element_size()
    rows = 2 * len(job.dataset.train) + len(job.dataset.val)
    return rows * (size * job.dataset.task.n_features + 8)


@torch.no_grad()
def _cells_of_row(job: Job) -> int:
    """Count the numbers that one row becomes on its way through the network."""
    counts = [job.dataset.task.n_features]

    def count(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        if isinstance(output, Tensor):
            counts.append(output.numel() // 2)

    leaves = [module for module in job.network.modules() if not any(module.children())]
    hooks = [module.register_forward_hook(count) for module in leaves]
    training = job.network.training
    try:
        # Two rows, since a normalisation that keeps no statistics refuses a single one.
        propagate(job.network.eval(), torch.zeros(2, job.dataset.task.n_features, dtype=job.dtype))
    finally:
        job.network.train(training)
        for hook in hooks:
            hook.remove()
    return sum(counts)
