"""Train and evaluate a prepared job in this process; nothing is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lossbench.config.build import build_components
from lossbench.evaluation.evaluation import Evaluation
from lossbench.evaluation.evaluation import evaluate as evaluate_scores
from lossbench.models.forward import scores_of
from lossbench.runs.metrics import build_added_metrics, build_metrics
from lossbench.runs.settings import RunSettings
from lossbench.training.fit import Fit
from lossbench.training.job import Job
from lossbench.training.lightning.shared_batch import Ranks

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


def fit_rank(
    job: Job,
    settings: RunSettings,
    run_id: str,
    *,
    ranks: Ranks,
    report: Callable[[Mapping[str, float]], None] | None = None,
    resume_from: Path | None = None,
    live: bool = False,
) -> Fit:
    """Train a job with Lightning in this process, one of the ranks that share it: `lossbench.experiment.fit`."""
    from lossbench.training.lightning.trainer import fit as fit_with_lightning  # Lightning takes seconds to import

    asked = settings.fit
    return fit_with_lightning(
        job,
        asked.trainer,
        callbacks=build_components(asked.callbacks, "callbacks"),
        loggers=build_components(asked.loggers, "tracking.loggers"),
        checkpoint=checkpoint_path(settings.tracking.mlruns, run_id) if asked.resume_every else None,
        resume_every=asked.resume_every,
        resume_from=resume_from,
        report=report,
        live=live,
        ranks=ranks,
    )


def evaluate_with_torchmetrics(job: Job, settings: RunSettings) -> Evaluation:
    """Score the selected network on every split, with the config's torchmetrics."""
    return evaluate_job(job, build_metrics(settings.metrics, job.dataset.task))


def evaluate_fast(job: Job, settings: RunSettings) -> Evaluation:
    """Score the selected network on every split, with our own metrics for the shipped torchmetrics (equal to 1e-8)."""
    return evaluate_job(job, build_added_metrics(settings.metrics, job.dataset.task))


def evaluate_job(job: Job, metrics: MetricCollection | None = None) -> Evaluation:
    """Score a job's network as it stands; without metrics, by the built-in metrics."""
    splits = {"train": job.dataset.train, "val": job.dataset.val, "test": job.dataset.test}
    present = {name: rows for name, rows in splits.items() if rows is not None}
    job.network.eval()
    return evaluate_scores(
        {name: scores_of(job.network, rows.x) for name, rows in present.items()},
        {name: rows.y for name, rows in present.items()},
        job.objective.loss,
        job.dataset.task,
        class_weights=job.objective.class_weights,
        sampling_rates=job.dataset.sampling_rates,
        collection=metrics,
    )


def checkpoint_path(mlruns: Path, run_id: str) -> Path:
    """Return where a run keeps the checkpoint that it can be resumed from."""
    return mlruns / "checkpoints" / run_id / "last.ckpt"


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Let torch work with so many threads; its sums depend on the number."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if number is None else number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
