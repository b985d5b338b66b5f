"""Building the optimizer and the scheduler of a job."""

from __future__ import annotations

import fnmatch
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lossbench.errors import UserError
from lossbench.objective.regularizer import weight_names
from lossbench.training.job import Job
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
    keywords = getattr(optimizer, "keywords", {})
    if "weight_decay" in keywords:
        return bool(keywords["weight_decay"])
    argument = inspect.signature(getattr(optimizer, "func", optimizer)).parameters.get("weight_decay")
    return argument is not None and bool(argument.default)


def _check_settings(
    optimizer: Callable[..., torch.optim.Optimizer], defaults: Mapping[str, Any], group: Mapping[str, Any]
) -> None:
    settings = {key: value for key, value in group.items() if key != "pattern"}
    unknown = sorted(set(settings) - set(defaults))
    if unknown:
        raise ValueError(f"training.groups sets {unknown[0]!r}, but the optimizer takes {', '.join(sorted(defaults))}")
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
    """Step the scheduler at the end of an epoch."""
    if isinstance(scheduler, ReduceLROnPlateau):
        scheduler.step(float(figures[str(rule.metric)]))
    else:
        scheduler.step()


DECAY_ON = ("weights", "all")


def parameter_groups(
    network: nn.Module,
    objective: nn.Module,
    decay_on: str = "weights",
    groups: Sequence[Mapping[str, Any]] = (),
    decays: bool = True,
) -> list[dict[str, Any]]:
    """Split the trainable parameters into the groups that an optimizer takes.

    Parameters
    ----------
    network
        Its parameters, by name.
    objective
        Parameters of the loss follow the optimizer without weight decay.
    decay_on
        ``weights`` sets ``weight_decay`` to 0 for all but the weight matrices (of Linear, Conv, Embedding ...);
        ``all`` leaves the optimizer's weight decay on every parameter, as torch does.
    groups
        Mappings with ``pattern`` (a shell pattern on parameter names, such as ``head.*``) and any settings that
        the optimizer takes per group, such as ``lr`` or ``weight_decay``. The first pattern that matches counts,
        and what it sets wins over ``decay_on``: a ``weight_decay`` given to ``body.*`` decays its biases too.
    decays
        False where the optimizer decays nothing: there is nothing to spare then, and one group steps faster than two.

    Raises
    ------
    ValueError
        For an unknown ``decay_on``, a group without a pattern or setting, or a pattern that takes no parameter.
    """
    if decay_on not in DECAY_ON:
        raise ValueError(f"training.decay_on is one of {', '.join(DECAY_ON)}, got {decay_on!r}")
    for group in groups:
        if not isinstance(group, Mapping) or "pattern" not in group or len(group) < 2:
            raise ValueError(f"training.groups needs a pattern and a setting (lr, ...) in each, got {group!r}")

    names = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    weights = set(weight_names(network))
    parameters = dict(network.named_parameters())
    result: list[tuple[dict[str, Any], list[nn.Parameter]]] = []

    def join(settings_of_one: dict[str, Any], members: Sequence[nn.Parameter]) -> None:
        for settings, joined in result:
            if settings == settings_of_one:
                joined.extend(members)
                return
        result.append((settings_of_one, list(members)))

    taken: set[int] = set()
    for name in names:
        settings_of_one: dict[str, Any] = {}
        if decays and decay_on == "weights" and name not in weights:
            settings_of_one["weight_decay"] = 0.0
        for position, group in enumerate(groups):
            if fnmatch.fnmatchcase(name, str(group["pattern"])):
                taken.add(position)
                settings_of_one |= {str(key): value for key, value in group.items() if key != "pattern"}
                break
        join(settings_of_one, [parameters[name]])
    for position, group in enumerate(groups):
        if position not in taken:
            raise ValueError(
                f"training.groups pattern {group['pattern']!r} takes no parameter; they are {', '.join(names)}, "
                "and the first pattern that matches counts"
            )
    of_loss = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    if of_loss:
        join({"weight_decay": 0.0} if decays else {}, of_loss)
    return [{"params": members, **settings_of_one} for settings_of_one, members in result]
