"""From a config to the job that it describes; whatever cannot work is refused here, before anything is recorded."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import OmegaConf
from torch import nn

from lossbench.components import blame, component, components
from lossbench.composition import conf_dir
from lossbench.data.dataset import Dataset
from lossbench.data.order import plan
from lossbench.data.source import Source
from lossbench.errors import UserError
from lossbench.inference.rebuild import rebuild
from lossbench.models.initial import build
from lossbench.models.network import Network
from lossbench.objective.losses.external import External
from lossbench.objective.objective import Objective
from lossbench.task import Task
from lossbench.training.forward import attach_head, scores_of
from lossbench.training.job import Job
from lossbench.training.optimizer import build_optimizer, build_scheduler
from lossbench.training.precision import PRECISIONS, dtype_of
from lossbench.training.ranks import world_of
from lossbench.training.selection import Rule

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


_MOST_THREADS = 2**31 - 1  # as torch counts them


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
    _require_whole("trainer.max_epochs", epochs)
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


def check(config: Mapping[str, Any], dataset: Dataset) -> None:
    """Raise whatever a job would raise before its first epoch, at the cost of building its parts once."""
    prepare(config, dataset)
    check_around(config, dataset.task)


def check_around(config: Mapping[str, Any], task: Task) -> None:
    """Raise whatever would be refused around the training: recording, trainer, callbacks, loggers, metrics."""
    for key in ("resume_every", "threads"):
        if config["training"][key] is not None:
            _require_whole(f"training.{key}", config["training"][key])
    if (config["training"]["threads"] or 0) > _MOST_THREADS:
        raise UserError(f"training.threads is at most {_MOST_THREADS}, got {config['training']['threads']}")
    if config["tracking"]["predictions"] is not None:
        _require_whole("tracking.predictions", config["tracking"]["predictions"], at_least=0)
    for key in ("parent", "sweep", "objective", "identity", "overrides", "alone"):
        if not isinstance(config["tracking"][key], str | None):
            raise UserError(f"tracking.{key} is a text that a sweep gives its jobs, got {config['tracking'][key]!r}")
    history = config["tracking"]["history"]
    if history not in ("every", "none"):
        _require_whole("tracking.history (every, none, or every so many epochs)", history)
    _check_export(config)
    # Lightning and torchmetrics take seconds to import, and would not refuse what lossbench ships.
    around = {"trainer": config["trainer"], "callbacks": config["callbacks"], "loggers": config["tracking"]["loggers"]}
    if around["callbacks"] or around["loggers"] or not _known_trainer(around["trainer"]):
        _check_trainer(json.dumps(around, sort_keys=True, default=str))
    if config["metrics"] != _shipped_metrics():
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
    from lossbench.training.trainer import build_trainer, quiet

    config = json.loads(around)
    with quiet():
        build_trainer(config["trainer"], components(config, "callbacks"), components(config, "loggers"))


@functools.lru_cache(maxsize=64)
def _check_metrics(metrics: str, task: Task) -> None:
    collection({"metrics": json.loads(metrics)}, task)


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
    shipped = _shipped_metrics()
    return {name: node for name, node in config["metrics"].items() if shipped.get(name) != node}


@functools.cache
def _shipped_metrics() -> dict[Any, Any]:
    shipped = OmegaConf.to_container(OmegaConf.load(conf_dir() / "metrics" / "default.yaml"))
    assert isinstance(shipped, dict)
    return shipped


def _require_whole(key: str, value: Any, at_least: int = 1) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise UserError(f"{key} is a whole number >= {at_least}, got {value!r}")


def _require_two_rows(job: Job, world: int) -> None:
    """Refuse batches of a single row to batch normalisation, which would raise in the middle of an epoch."""
    if not any(isinstance(module, nn.BatchNorm1d) for module in job.network.modules()):
        return
    dataset, rows = job.dataset, len(job.dataset.train)
    size = rows if dataset.batch_size is None else dataset.batch_size
    batches = plan(torch.as_tensor(dataset.train.y), size, job.seed, 0, stratified=job.batch_order == "stratified")
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
