"""Building the optimizer and the scheduler of a job."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lossbench.training.job import Job
from lossbench.training.parameters import parameter_groups
from lossbench.training.selection import Rule


def build_optimizer(job: Job) -> torch.optim.Optimizer:
    """Call the job's optimizer with its parameter groups.

    Raises
    ------
    ValueError
        Where a group sets something that the optimizer does not know.
    """
    decays = inspect.signature(job.optimizer).parameters.get("weight_decay")
    # Without weight decay there is nothing to spare, and one group steps faster than two.
    decay_on = job.decay_on if decays is not None and decays.default else "all"
    groups = parameter_groups(job.network, job.objective, decay_on, job.groups)
    optimizer = job.optimizer(groups)
    for group in groups:
        unknown = sorted(set(group) - set(optimizer.defaults) - {"params", "weight_decay"})
        if unknown:
            raise ValueError(
                f"training.groups sets {unknown[0]!r}, but {type(optimizer).__name__} takes "
                f"{', '.join(sorted(optimizer.defaults))}"
            )
    return optimizer


def build_scheduler(job: Job, optimizer: torch.optim.Optimizer) -> Any:
    """Call the job's scheduler, if it has one; a plateau watches the selecting metric in its own direction."""
    if job.scheduler is None:
        return None
    if getattr(job.scheduler, "func", job.scheduler) is not ReduceLROnPlateau:
        return job.scheduler(optimizer)
    if job.rule.metric is None:
        raise ValueError("scheduler=plateau needs a select.metric to watch, got null")
    plateau: Callable[..., Any] = job.scheduler
    return plateau(optimizer, mode="max" if job.rule.maximize else "min")


def step_scheduler(scheduler: Any, figures: Mapping[str, Any], rule: Rule) -> None:
    """End an epoch for the scheduler."""
    if isinstance(scheduler, ReduceLROnPlateau):
        scheduler.step(float(figures[str(rule.metric)]))
    else:
        scheduler.step()
