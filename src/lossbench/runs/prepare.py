"""From a config to the job that it describes; whatever cannot work is refused here, before anything is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lossbench.config.build import blame, build_component
from lossbench.data.dataset import Dataset
from lossbench.data.order import plan_batches
from lossbench.data.source import Source
from lossbench.errors import UserError
from lossbench.evaluation.catalogue import direction_of, names_for
from lossbench.models.forward import attach_head, scores_of
from lossbench.models.initial import build
from lossbench.models.network import Network
from lossbench.objective.losses.external import External
from lossbench.objective.objective import Objective
from lossbench.runs.description import Description, describe
from lossbench.runs.settings import RunSettings, SelectSettings, read_settings
from lossbench.task import Task
from lossbench.training.job import Job, dtype_of
from lossbench.training.optimizer import build_optimizer, build_scheduler
from lossbench.training.selection import Rule


@dataclass(frozen=True)
class PlannedRun:
    """A job with all that is known of its run before it trains.

    Parameters
    ----------
    job
        What is trained.
    settings
        What else the config asks.
    config
        The config itself, to be kept and handed over; nobody reads values in it.
    description
        What the record says of the run; None where nothing is recorded, as for a trial, and for a job that is trained
        along since the last bits of a stack's numbers depend on all that is in it.
    """

    job: Job
    settings: RunSettings
    config: dict[str, Any]
    description: Description | None


def plan_run(config: Mapping[str, Any]) -> PlannedRun:
    """Work out all that a composed config says of a run, and build its job."""
    settings = read_settings(config)
    return planned(build_job(settings), config, settings)


def planned(job: Job, config: Mapping[str, Any], settings: RunSettings, *, recorded: bool = True) -> PlannedRun:
    """Return the run of a job that was built from this config, whose settings these are.

    ``recorded`` is False for a trial, and for a job that is trained along with others of its stack.
    """
    return PlannedRun(job, settings, dict(config), describe(config, settings, job) if recorded else None)


def draw(config: Mapping[str, Any]) -> Dataset:
    """Draw, split and scale a config's data."""
    return prepare_data(config["data"])


def prepare_data(data: Mapping[str, Any]) -> Dataset:
    """Build the source of a ``data`` section, and draw, split and scale its rows."""
    with blame("data"):
        source = build_component(data, "data")
        if not isinstance(source, Source):
            raise UserError(
                f"data is a lossbench.data.source.Source, got {type(source).__name__}: "
                "lossbench new data NAME writes one"
            )
        return source.prepare()


def prepare_job(config: Mapping[str, Any], dataset: Dataset | None = None) -> Job:
    """Build all that a run trains, knowing neither Trainer nor MLflow.

    Parameters
    ----------
    config
        A composed config.
    dataset
        Data drawn already, for checking many configs against one draw.

    Raises
    ------
    UserError
        Naming the component, the rule and the value; :class:`~lossbench.errors.CannotServe` where components
        refuse the task or each other.
    """
    return build_job(read_settings(config), dataset)


def build_job(settings: RunSettings, dataset: Dataset | None = None) -> Job:
    """Build the job of settings that have been read: `prepare_job`."""
    dataset = prepare_data(settings.data) if dataset is None else dataset
    components, task, dtype = settings.components, dataset.task, dtype_of(settings.fit.trainer)
    with blame("loss, weighting, regularizer"):
        objective = Objective(
            build_component(components.loss, "loss"),
            build_component(components.weighting, "weighting"),
            {name: build_component(node, f"regularizer.{name}") for name, node in components.regularizers.items()},
            task,
            allow_double=settings.allow_double,
        )
    with blame("model"):
        network = build(build_component(components.model, "model"), task, settings.seed, dtype)
        attach_head(network, objective, settings.seed, dtype)
    _try_own_parts(network, objective, dataset)
    with blame("select"):
        rule = _rule(settings.select, task)
    job = Job(
        seed=settings.seed,
        dataset=dataset,
        network=network,
        objective=objective,
        optimizer=build_component(components.optimizer, "optimizer"),
        scheduler=build_component(components.scheduler, "scheduler"),
        epochs=settings.epochs,
        dtype=dtype,
        rule=rule,
        decay_on=settings.decay_on,
        groups=settings.groups,
        components=components,
    )
    _require_two_rows(job, settings.fit.trainer.world)
    with blame("optimizer, scheduler"):
        build_scheduler(job, build_optimizer(job))
    return job


def _try_own_parts(network: nn.Module, objective: Objective, dataset: Dataset) -> None:
    """Call a plain model and a loss from elsewhere on a few rows: a wrong shape costs no training, and none passes."""
    loss, task = objective.loss, dataset.task
    plain = not isinstance(network, Network)
    if not plain and type(loss).__module__.startswith("lossbench.") and not isinstance(loss, External):
        return
    rows = slice(0, 8)
    scores = torch.as_tensor(scores_of(network, dataset.train.x[rows]))
    if plain and tuple(scores.shape) != (len(scores), task.n_scores):
        raise UserError(
            f"model: {task.n_classes} classes need raw scores (N, {task.n_scores}), "
            f"got {tuple(scores.shape)} from {type(network).__name__} for {len(scores)} rows"
        )
    if "features" in loss.needs:
        return
    # Whatever else it raises belongs into the record of a run.
    with suppress(RuntimeError), blame("loss"), torch.no_grad():
        try:
            loss(objective.predict(scores), torch.as_tensor(dataset.train.y[rows]))
        except AttributeError as error:  # what it returns is no tensor
            raise UserError(f"loss: {error}") from error


def _require_two_rows(job: Job, world: int) -> None:
    """Refuse batches of a single row to batch normalisation, which would raise in the middle of an epoch."""
    if not any(isinstance(module, nn.BatchNorm1d) for module in job.network.modules()):
        return
    dataset, rows = job.dataset, len(job.dataset.train)
    size = rows if dataset.batch_size is None else dataset.batch_size
    batches = plan_batches(
        torch.as_tensor(dataset.train.y), size, job.seed, 0, stratified=job.batch_order == "stratified"
    )
    fewest = min(len(batch) for batch in batches)
    if fewest == 1:
        raise UserError(
            f"data.batch_size={dataset.batch_size} leaves a batch of one of the {rows} training rows, and batch "
            "normalisation needs two rows in every batch: choose another"
        )
    if fewest < 2 * world:
        raise UserError(
            f"data.batch_size={dataset.batch_size} leaves a batch of {fewest} of the {rows} training rows, and batch "
            f"normalisation needs two rows for each of {world} processes: choose another"
        )


def _rule(select: SelectSettings, task: Task) -> Rule:
    metric = select.metric
    if metric is None:
        return Rule(None, True, select.patience, select.min_delta)
    names = [f"val/{name}" for name in names_for(task.n_classes, per_epoch=True)]
    if str(metric).startswith("val/") and metric not in names:
        raise ValueError(f"select.metric is one of {', '.join(names)}, got {metric!r}")
    maximize = str(metric).startswith("val/") and direction_of(str(metric)) == "max"
    return Rule(metric, maximize, select.patience, select.min_delta)
