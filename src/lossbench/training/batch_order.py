"""In which order a job's batches come, which its objective's needs decide."""

from __future__ import annotations

from typing import Literal

from lossbench.data.dataset import Dataset
from lossbench.errors import CannotServe
from lossbench.objective.objective import Objective

BatchOrder = Literal["full", "shuffled", "stratified"]


def batch_order(dataset: Dataset, objective: Objective) -> BatchOrder:
    """Return how the training rows are spread over batches.

    ``full`` is one batch of all rows. An objective that needs both classes in a batch, or two rows of a class,
    has a ``stratified`` order, which gives each batch its share of every class; all others the ``shuffled`` one.
    Runs of one seed that are ``shuffled`` share their batches, and so do those that are ``stratified``.

    Raises
    ------
    CannotServe
        Where there are too few rows of a class for so many batches; it says which batch size would do.
    """
    task = dataset.task
    batch_size = task.n_train if dataset.batch_size is None else min(dataset.batch_size, task.n_train)
    n_batches = -(-task.n_train // batch_size)
    counts = dict(zip(task.class_names, task.class_counts, strict=True))
    if dataset.sampler == "balanced":
        counts = dict.fromkeys(task.class_names, task.n_train // task.n_classes)
    loss = objective.loss.name
    rarest, most = min(counts, key=lambda name: counts[name]), max(counts.values())
    if "both_classes" in objective.needs and counts[rarest] < n_batches:
        raise CannotServe(
            f"{loss} needs every class in every batch, but class {rarest!r} has {counts[rarest]} training rows for "
            f"{n_batches} batches; {_would_do(task.n_train, counts[rarest])}"
        )
    if "two_rows_of_a_class" in objective.needs and most // n_batches < 2:
        raise CannotServe(
            f"{loss} needs two rows of a class in every batch, but no class has more than {most} training rows for "
            f"{n_batches} batches; {_would_do(task.n_train, most // 2)}"
        )
    if n_batches == 1:
        return "full"
    return "stratified" if objective.needs & {"both_classes", "two_rows_of_a_class"} else "shuffled"


def _would_do(n_rows: int, n_batches: int) -> str:
    return f"data.batch_size={-(-n_rows // n_batches)} would do" if n_batches else "no batch size would do"
