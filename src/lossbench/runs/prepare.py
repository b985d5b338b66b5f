"""From a config to the job that it describes; whatever cannot work is refused here, before anything is recorded."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import OmegaConf
from torch import nn

from lossbench.config.build import blame, component
from lossbench.config.compose import conf_dir
from lossbench.data.dataset import Dataset
from lossbench.data.order import plan_batches
from lossbench.data.source import Source
from lossbench.errors import UserError
from lossbench.models.forward import attach_head, scores_of
from lossbench.models.initial import build
from lossbench.models.network import Network
from lossbench.objective.losses.external import External
from lossbench.objective.objective import Objective
from lossbench.task import Task
from lossbench.training.job import Job, dtype_of
from lossbench.training.lightning.shared_batch import world_of
from lossbench.training.optimizer import build_optimizer, build_scheduler
from lossbench.training.selection import Rule

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


def draw(config: Mapping[str, Any]) -> Dataset:
    """Draw, split and scale the config's data."""
    with blame("data"):
        source = component(config, "data")
        if not isinstance(source, Source):
            raise UserError(
                f"data is a lossbench.data.source.Source, got {type(source).__name__}: "
                "lossbench new data NAME writes one"
            )
        return source.prepare()


def prepare(config: Mapping[str, Any], dataset: Dataset | None = None) -> Job:
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
    seed = config["seed"]
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise UserError(f"seed is an integer, got {seed!r}")
    dataset = draw(config) if dataset is None else dataset
    task, dtype = dataset.task, dtype_of(config["trainer"])
    training = config["training"]
    with blame("loss, weighting, regularizer"):
        objective = Objective(
            component(config, "loss"),
            component(config, "weighting"),
            _regularizers(config),
            task,
            allow_double=training["allow_double"],
        )
    with blame("model"):
        network = build(component(config, "model"), task, seed, dtype)
        attach_head(network, objective, seed, dtype)
    _try_own_parts(network, objective, dataset)
    with blame("select"):
        rule = _rule(config["select"], task)
    epochs = config["trainer"]["max_epochs"]
    require_whole("trainer.max_epochs", epochs)
    rate = config["optimizer"].get("lr", 0.0)
    if isinstance(rate, bool) or not isinstance(rate, int | float):
        raise UserError(f"optimizer.lr is a number, got {rate!r}")
    job = Job(
        seed=seed,
        dataset=dataset,
        network=network,
        objective=objective,
        optimizer=component(config, "optimizer"),
        scheduler=component(config, "scheduler"),
        epochs=epochs,
        dtype=dtype,
        rule=rule,
        decay_on=training["decay_on"],
        groups=training["groups"],
    )
    _require_two_rows(job, world_of(config["trainer"]))
    with blame("optimizer, scheduler"):
        build_scheduler(job, build_optimizer(job))
    return job


def _regularizers(config: Mapping[str, Any]) -> dict[str, Any]:
    for name, node in config["regularizer"].items():
        if not isinstance(node, Mapping):
            raise UserError(
                f"regularizer has components by their names, got {name}={node!r}: the first line of a regularizer's "
                "YAML is '# @package regularizer.NAME'"
            )
    return {name: component(config, f"regularizer.{name}") for name in config["regularizer"]}


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


def collection(config: Mapping[str, Any], task: Task) -> MetricCollection:
    """Build the final evaluation's torchmetrics for a task."""
    from lossbench.evaluation.collection import build as build_collection

    with blame("metrics"):
        return build_collection(component(config, "metrics"), task)


def direction_of(config: Mapping[str, Any], metric: str, task: Task) -> str | None:
    """Return ``max`` or ``min`` as the metric itself says by ``higher_is_better``; None where it does not."""
    made = collection(config, task)
    for name in sorted(set(metric.split("/")) & set(config["metrics"])):
        better = made[name].higher_is_better if name in made else None
        if better is not None:
            return "max" if better else "min"
    return None


def added_metrics(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a config's metrics that are a person's own: not as lossbench ships them."""
    shipped = shipped_metrics()
    return {name: node for name, node in config["metrics"].items() if shipped.get(name) != node}


@functools.cache
def shipped_metrics() -> dict[Any, Any]:
    shipped = OmegaConf.to_container(OmegaConf.load(conf_dir() / "metrics" / "default.yaml"))
    assert isinstance(shipped, dict)
    return shipped


def require_whole(key: str, value: Any, at_least: int = 1) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise UserError(f"{key} is a whole number >= {at_least}, got {value!r}")


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


def _rule(select: Mapping[str, Any], task: Task) -> Rule:
    from lossbench.evaluation.metrics import DIRECTION, names_for

    metric = select["metric"]
    if metric is None:
        return Rule(None, True, select["patience"], select["min_delta"])
    # The calibration error is not computed every epoch, and not every metric exists for every number of classes.
    known = [f"val/{name}" for name in names_for(task.n_classes, ece=False)]
    if str(metric).startswith("val/") and metric not in known:
        raise ValueError(f"select.metric is one of {', '.join(known)}, got {metric!r}")
    maximize = DIRECTION.get(str(metric).removeprefix("val/")) == "max"
    return Rule(metric, maximize, select["patience"], select["min_delta"])
