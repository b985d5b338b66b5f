"""Which jobs can be trained together, and why the others cannot."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import nn

from lossbench.errors import one_line
from lossbench.models.network import Network
from lossbench.objective.loss import Loss
from lossbench.objective.losses.external import External
from lossbench.objective.regularizer import Regularizer
from lossbench.objective.weighting import Weighting
from lossbench.training.fit import Fit
from lossbench.training.job import Job
from lossbench.training.settings import FitSettings, TrainerSettings
from lossbench.training.stacked.batches import sizes
from lossbench.training.stacked.clip import Clip
from lossbench.training.stacked.engine import fit
from lossbench.training.stacked.network import has_stacked_form
from lossbench.training.stacked.optimizer import OWN, may_differ

# Each cell of a parameter moves by itself, so that a stack of parameters moves as its replicates would.
_ELEMENTWISE = (
    torch.optim.Adadelta,
    torch.optim.Adagrad,
    torch.optim.Adam,
    torch.optim.Adamax,
    torch.optim.AdamW,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.RMSprop,
    torch.optim.SGD,
)
_DEVICES = {"cpu": "cpu", "cuda": "cuda", "gpu": "cuda"}


def why_alone(job: Job, settings: FitSettings) -> str | None:
    """Return why a job has to be trained by itself, by Lightning; None where a stack can hold it."""
    for key, parts in (("callbacks", settings.callbacks), ("tracking.loggers", settings.loggers)):
        if parts:
            return f"{key} ({', '.join(parts)}) are Lightning's and see one run at a time"
    if settings.resume_every or settings.resume_from:
        return "checkpoints to resume from are Lightning's"
    trainer = settings.trainer
    if trainer.strategy is not None:
        return f"trainer.strategy={trainer.strategy} is Lightning's"
    if trainer.others:
        key, value = next(iter(trainer.others.items()))
        return f"trainer.{key}={value} is Lightning's"
    if trainer.accelerator not in _DEVICES or trainer.devices not in (1, "1"):
        return f"trainer.accelerator={trainer.accelerator} with devices={trainer.devices} is Lightning's"
    if job.objective.loss.stackable == "no":
        return f"{job.objective.loss.name} states that it cannot be stacked"
    optimizer = getattr(job.optimizer, "func", job.optimizer)
    if optimizer not in _ELEMENTWISE:
        return f"the optimizer {_name(optimizer)} is not known to move every cell of a parameter by itself"
    scheduler = getattr(job.scheduler, "func", job.scheduler)
    ours = isinstance(scheduler, type) and scheduler.__module__.startswith("torch.")
    if scheduler is not None and not ours:
        return f"the scheduler {_name(scheduler)} may look at more than the epoch"
    return None if _all_ours(job) else _trial(job)


def _all_ours(job: Job) -> bool:
    """Whether all parts are lossbench's and those of torch's that the tests have seen stacked."""
    network = job.network
    layers = isinstance(network, Network) and all(
        type(layer).__module__.startswith("lossbench.") or type(layer) is nn.Sequential or has_stacked_form(layer)
        for layer in network.modules()
    )
    parts = [module for module in job.objective.modules() if isinstance(module, Loss | Weighting | Regularizer)]
    functions = [part.function for part in parts if isinstance(part, External)]
    known = [type(part).__module__ for part in parts] + [_origin(function) for function in functions]
    return layers and all(module.startswith(("lossbench.", "torch.")) for module in known)


def _origin(function: Callable[..., Any]) -> str:
    inner = getattr(function, "func", function)
    return str(getattr(inner, "__module__", None) or type(inner).__module__)


def _trial(job: Job) -> str | None:
    """Train for an epoch alone, and in a stack with an equal replicate and one of other weights.

    That shows whether a person's own parts run stacked; among equals alone, a mean over all rows would be that of one.
    """
    alone, *three = [
        replace(job, network=copy.deepcopy(job.network), objective=copy.deepcopy(job.objective), epochs=1)
        for _ in range(4)
    ]
    with torch.no_grad():
        for parameter in three[-1].network.parameters():
            parameter.neg_()
    try:
        (one,) = fit([alone], [None])
        first, second, _ = fit(three, [None] * 3)
    except Exception as error:
        said = one_line(error)
        if "random operation" in said:
            return "it does not run stacked: a part draws random numbers by itself"
        return f"it does not run stacked: {said[:200] or type(error).__name__}"
    if not (isinstance(one, Fit) and isinstance(first, Fit) and isinstance(second, Fit)):
        return None
    if not _alike(first, second):
        return "two equal runs end apart: a part draws at random by itself"
    if not _alike(one, first):
        return "it ends elsewhere in a stack than alone: a part mixes the rows of runs"
    return None


def _alike(one: Fit, other: Fit) -> bool:
    """Whether the first epoch's terms agree but for rounding, which depends on a row's place among the others."""
    return all(
        math.isclose(value, other.history[0][key], rel_tol=1e-3, abs_tol=1e-6)
        or (math.isnan(value) and math.isnan(other.history[0][key]))
        for key, value in one.history[0].items()
        if key.startswith("train/") or key == "val/loss"
    )


def device_of(trainer: TrainerSettings) -> str:
    """Return torch's name of the device on which a stack is trained."""
    return _DEVICES[trainer.accelerator]


def clip_of(trainer: TrainerSettings) -> Clip | None:
    """Return the gradient clipping that Lightning's Trainer would do."""
    limit = trainer.gradient_clip_val
    return Clip(float(limit), trainer.gradient_clip_algorithm or "norm") if limit else None


def stack_key(job: Job, settings: FitSettings) -> str:
    """Return what jobs of one stack have in common: shapes, optimizer, schedule, number of rows, sizes of batches."""
    components, optimizer = job.components, job.components.optimizer
    if may_differ(job):
        optimizer = {key: value for key, value in optimizer.items() if key not in OWN}
    asked = [components.model, optimizer, components.scheduler, job.decay_on, job.groups, job.epochs, asdict(job.rule),
             settings.trainer.arguments, settings.threads]  # fmt: skip
    shapes = {name: tuple(tensor.shape) for name, tensor in job.network.state_dict().items()}
    kinds = [_name(type(module)) for module in job.network.modules()]
    weighted = job.dataset.train.weight is not None
    rows = (len(job.dataset.val), sizes(job), job.dataset.sampler, job.dataset.task.n_classes, weighted)
    return json.dumps([asked, shapes, kinds, rows], sort_keys=True, default=str)


def kind_key(job: Job) -> str:
    """Return what jobs of one kind have in common: objectives that differ in buffers and own parameters alone."""
    components, objective = job.components, job.objective
    numeric = objective.loss.stackable == "all"
    parts = {
        "loss": _structure(components.loss, objective.loss if numeric else None),
        "weighting": _structure(components.weighting, objective.weighting),
        "regularizer": {
            name: _structure(node, objective.regularizers[name]) for name, node in components.regularizers.items()
        },
    }
    return json.dumps(parts, default=str)


def _structure(node: Mapping[str, Any], module: nn.Module | None) -> dict[str, Any]:
    """Return a component's config without the numbers that it keeps in buffers."""
    held = set() if module is None else {name for name, _ in module.named_buffers(recurse=False)}
    return {key: value for key, value in node.items() if key not in held}


def _name(kind: Callable[..., Any]) -> str:
    return getattr(kind, "__qualname__", repr(kind))
