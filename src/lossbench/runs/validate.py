"""Refuse what a job would refuse before its first epoch, before anything is recorded."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from lossbench.config.build import build_components
from lossbench.data.dataset import Dataset
from lossbench.errors import UserError
from lossbench.inference.rebuild import rebuild
from lossbench.runs.metrics import build_metrics, shipped_metrics
from lossbench.runs.prepare import build_job
from lossbench.runs.settings import RunSettings, read_settings
from lossbench.task import Task
from lossbench.training.settings import TrainerSettings

# The many jobs of a sweep have few different trainers and metrics, and these take longer to build than a job's parts.
_passed: set[str] = set()
_MOST_PASSED = 128


def check(config: Mapping[str, Any], dataset: Dataset) -> None:
    """Raise whatever a job would raise before its first epoch, at the cost of building its parts once."""
    settings = read_settings(config)
    build_job(settings, dataset)
    check_around(settings, dataset.task)


def check_around(settings: RunSettings, task: Task) -> None:
    """Raise whatever would be refused around the training: trainer, callbacks, loggers, metrics, export."""
    if settings.tracking.export:
        _check_export(settings)
    # Lightning and torchmetrics take seconds to import, and would not refuse what lossbench ships.
    if settings.fit.callbacks or settings.fit.loggers or not _is_shipped(settings.fit.trainer):
        around = [asdict(settings.fit.trainer), settings.fit.callbacks, settings.fit.loggers]
        _once(around, lambda: _check_trainer(settings))
    if settings.metrics != shipped_metrics():
        _once([settings.metrics, str(task)], lambda: build_metrics(settings.metrics, task))


def _once(subject: list[Any], check: Callable[[], object]) -> None:
    """Run a check, unless the same subject has passed it before."""
    key = json.dumps(subject, sort_keys=True, default=str)
    if key in _passed:
        return
    check()
    if len(_passed) >= _MOST_PASSED:
        _passed.clear()
    _passed.add(key)


def _is_shipped(trainer: TrainerSettings) -> bool:
    """Whether these are settings of which Lightning refuses none: those of conf/trainer/cpu.yaml."""
    clip = trainer.gradient_clip_val
    return (
        trainer.accelerator == "cpu"
        and trainer.devices == 1
        and trainer.strategy is None
        and not trainer.others
        and (clip is None or (isinstance(clip, int | float) and not isinstance(clip, bool) and 0 <= clip < math.inf))
        and trainer.gradient_clip_algorithm in ("norm", "value")
    )


def _check_trainer(settings: RunSettings) -> None:
    from lossbench.training.lightning.trainer import build_trainer, hide_tips

    asked = settings.fit
    with hide_tips():
        build_trainer(
            asked.trainer,
            build_components(asked.callbacks, "callbacks"),
            build_components(asked.loggers, "tracking.loggers"),
            epochs=settings.epochs,
        )


def _check_export(settings: RunSettings) -> None:
    """Refuse to export a model with a person's own parts: `lossbench export` asks where their code is."""
    for part, node in (("loss", settings.components.loss), ("model", settings.components.model)):
        try:
            rebuild(node, part)
        except UserError as error:
            raise UserError(
                f"export=true takes parts of lossbench and torch, and {error.args[0].partition(':')[0]}: "
                "leave it out, then lossbench export RUN --trust --code FILE ships your code with the model"
            ) from error
