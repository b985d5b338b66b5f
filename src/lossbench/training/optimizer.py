"""Building the optimizer and the scheduler of a job."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lossbench.errors import UserError
from lossbench.training.job import Job
from lossbench.training.parameters import parameter_groups
from lossbench.training.selection import Rule


def build_optimizer(job: Job) -> torch.optim.Optimizer:
    """Call the job's optimizer with its parameter groups.

    Raises
    ------
    UserError
        For a network without parameters to train.
    ValueError
        Where a group sets something that the optimizer does not know; see also :func:`parameter_groups`.
    """
    if not any(parameter.requires_grad for parameter in job.network.parameters()):
        raise UserError(f"{type(job.network).__name__} has no parameters to train; it is a reference, not a model")
    groups = parameter_groups(job.network, job.objective, job.decay_on, job.groups, _decays(job.optimizer))
    optimizer = job.optimizer(groups)
    for group in job.groups:
        _check_settings(job.optimizer, optimizer.defaults, group)
    return optimizer


def _decays(optimizer: Callable[..., torch.optim.Optimizer]) -> bool:
    given = getattr(optimizer, "keywords", {})
    if "weight_decay" in given:
        return bool(given["weight_decay"])
    own = inspect.signature(getattr(optimizer, "func", optimizer)).parameters.get("weight_decay")
    return own is not None and bool(own.default)


def _check_settings(
    optimizer: Callable[..., torch.optim.Optimizer], known: Mapping[str, Any], group: Mapping[str, Any]
) -> None:
    settings = {key: value for key, value in group.items() if key != "pattern"}
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ValueError(f"training.groups sets {unknown[0]!r}, but the optimizer takes {', '.join(sorted(known))}")
    try:
        # Only its constructor knows the ranges; it does not look into groups.
        optimizer([torch.nn.Parameter(torch.zeros(1))], **settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"training.groups pattern {group['pattern']!r}: {error}") from error


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
