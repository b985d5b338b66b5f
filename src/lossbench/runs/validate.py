"""Refuse what a job would refuse before its first epoch, before anything is recorded."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lossbench.config.build import components
from lossbench.data.dataset import Dataset
from lossbench.errors import UserError
from lossbench.inference.rebuild import rebuild
from lossbench.runs.prepare import collection, prepare, require_whole, shipped_metrics
from lossbench.task import Task
from lossbench.training.job import PRECISIONS

if TYPE_CHECKING:
    pass


_MOST_THREADS = 2**31 - 1  # as torch counts them


def check(config: Mapping[str, Any], dataset: Dataset) -> None:
    """Raise whatever a job would raise before its first epoch, at the cost of building its parts once."""
    prepare(config, dataset)
    check_around(config, dataset.task)


def check_around(config: Mapping[str, Any], task: Task) -> None:
    """Raise whatever would be refused around the training: recording, trainer, callbacks, loggers, metrics."""
    for key in ("resume_every", "threads"):
        if config["training"][key] is not None:
            require_whole(f"training.{key}", config["training"][key])
    if (config["training"]["threads"] or 0) > _MOST_THREADS:
        raise UserError(f"training.threads is at most {_MOST_THREADS}, got {config['training']['threads']}")
    if config["tracking"]["predictions"] is not None:
        require_whole("tracking.predictions", config["tracking"]["predictions"], at_least=0)
    for key in ("parent", "sweep", "objective", "identity", "overrides", "alone"):
        if not isinstance(config["job"][key], str | None):
            raise UserError(f"job.{key} is a text that a sweep gives its jobs, got {config['job'][key]!r}")
    history = config["tracking"]["history"]
    if history not in ("every", "none"):
        require_whole("tracking.history (every, none, or every so many epochs)", history)
    _check_export(config)
    # Lightning and torchmetrics take seconds to import, and would not refuse what lossbench ships.
    around = {"trainer": config["trainer"], "callbacks": config["callbacks"], "loggers": config["tracking"]["loggers"]}
    if around["callbacks"] or around["loggers"] or not _known_trainer(around["trainer"]):
        _check_trainer(json.dumps(around, sort_keys=True, default=str))
    if config["metrics"] != shipped_metrics():
        _check_metrics(json.dumps(config["metrics"], default=str), task)


def _known_trainer(trainer: Mapping[str, Any]) -> bool:
    """Whether these are settings of which Lightning refuses none: those of conf/trainer/cpu.yaml."""
    clip = trainer.get("gradient_clip_val")
    number = isinstance(clip, int | float) and not isinstance(clip, bool) and 0 <= clip < math.inf
    rest = {key: value for key, value in trainer.items() if key not in ("max_epochs", "gradient_clip_val")}
    return (clip is None or number) and rest in (
        {"accelerator": "cpu", "devices": 1, "precision": precision, "gradient_clip_algorithm": algorithm}
        for precision in PRECISIONS
        for algorithm in ("norm", "value")
    )


def _check_export(config: Mapping[str, Any]) -> None:
    """Refuse to export a model with a person's own parts, which has to be told where their code is."""
    if config["export"] not in (True, False):
        raise UserError(f"export is true or false, got {config['export']!r}")
    if config["export"]:
        for part in ("loss", "model"):
            try:
                rebuild(config[part], part)
            except UserError as error:
                raise UserError(
                    f"export=true takes parts of lossbench and torch, and {error.args[0].partition(':')[0]}: "
                    "leave it out, then lossbench export RUN --trust --code FILE ships your code with the model"
                ) from error


# The many jobs of a sweep have few different trainers and metrics, and these take longer to build than a job's parts.
@functools.lru_cache(maxsize=64)
def _check_trainer(around: str) -> None:
    from lossbench.training.lightning.trainer import build_trainer, quiet

    config = json.loads(around)
    with quiet():
        build_trainer(config["trainer"], components(config, "callbacks"), components(config, "loggers"))


@functools.lru_cache(maxsize=64)
def _check_metrics(metrics: str, task: Task) -> None:
    collection({"metrics": json.loads(metrics)}, task)
