"""One job, from a config to a recorded result: prepare, fit, evaluate, record; ``run`` chains them."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from lossbench.components import blame, component, components
from lossbench.composition import compose
from lossbench.data.dataset import Dataset
from lossbench.data.source import Source
from lossbench.errors import UserError
from lossbench.evaluation.evaluation import Evaluation
from lossbench.evaluation.evaluation import evaluate as evaluate_scores
from lossbench.models.initial import build
from lossbench.objective.objective import Objective
from lossbench.training.forward import attach_head, scores_of
from lossbench.training.job import Job
from lossbench.training.optimizer import build_optimizer, build_scheduler
from lossbench.training.selection import Rule
from lossbench.training.trainer import Fit, build_trainer, dtype_of, quiet
from lossbench.training.trainer import fit as fit_with_lightning

if TYPE_CHECKING:
    import pandas as pd


__all__ = ["Result", "check", "compose", "draw", "evaluate", "execute", "fit", "prepare", "run"]


@dataclass(frozen=True)
class Result:
    """What one run found; the same figures stand in MLflow under ``run_id``.

    Parameters
    ----------
    run_id
        The MLflow run.
    config
        The resolved config in plain containers.
    job
        What was trained; its network and objective hold the selected epoch's parameters.
    fit
        The selected epoch and the history.
    evaluation
        Metrics of every split, thresholds, posterior or calibrator.
    """

    run_id: str
    config: dict[str, Any]
    job: Job
    fit: Fit
    evaluation: Evaluation

    @property
    def metrics(self) -> dict[str, float]:
        """Final metrics by key, such as ``test/auroc``."""
        return self.evaluation.metrics

    @property
    def history(self) -> pd.DataFrame:
        """One row per epoch: training terms and validation metrics."""
        import pandas as pd

        return pd.DataFrame(self.fit.history).set_index("epoch")

    @property
    def score(self) -> float:
        """The selecting metric, on validation: what a sweeper may optimise. Never a test figure."""
        return self.metrics[self.config["select"]["metric"] or "val/auroc"]


def run(config: Mapping[str, Any] | DictConfig, *, live: bool = False) -> Result:
    """Prepare, fit, evaluate and record one job.

    Parameters
    ----------
    config
        What :func:`compose` returns, or any mapping of that shape.
    live
        Show a progress bar.

    Returns
    -------
    Result

    Raises
    ------
    UserError
        For anything in the config that cannot work; nothing is recorded then.
    Exception
        Whatever training raises, after the run is recorded as FAILED with its traceback.

    Examples
    --------
    A notebook needs no command line::

        from lossbench.experiment import compose, run
        result = run(compose(["data=iris", "loss=focal", "seed=3"]))
        result.metrics["test/auroc"], result.history
    """
    plain = _plain(config)
    return execute(prepare(plain), plain, live=live)


def execute(job: Job, config: dict[str, Any], *, live: bool = False) -> Result:
    """Fit, evaluate and record a job that :func:`prepare` made of this config."""
    from lossbench import recording
    from lossbench.tracking.store import open_store

    mlruns = Path(config["paths"]["mlruns"])
    resume_from = _checkpoint(config["ckpt_path"], mlruns)
    _check_around(config, job.dataset.task)
    store = open_store(mlruns, config["tracking"]["uri"], config["tracking"]["experiment"])
    with _threads(config["training"]["threads"]), recording.started(store, config, job) as record:
        fitted = fit(job, config, record.id, report=recording.reporter(record), resume_from=resume_from, live=live)
        evaluation = evaluate(job, config)
        recording.finish(record, config, job, fitted, evaluation)
    return Result(record.id, config, job, fitted, evaluation)


def draw(config: Mapping[str, Any]) -> Dataset:
    """Draw, split and scale the config's data."""
    with blame("data"):
        source = component(config, "data")
        if not isinstance(source, Source):
            raise UserError(f"data is a lossbench.data.source.Source, got {type(source).__name__}")
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
            {name: component(config, f"regularizer.{name}") for name in config["regularizer"]},
            task,
            allow_double=training["allow_double"],
        )
    with blame("model"):
        network = build(component(config, "model"), task, seed, dtype)
        attach_head(network, objective, seed, dtype)
        _require_two_rows(network, dataset)
    with blame("select"):
        rule = _rule(config["select"], task)
    epochs = config["trainer"]["max_epochs"]
    _require_whole("trainer.max_epochs", epochs)
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
    with blame("optimizer, scheduler"):
        build_scheduler(job, build_optimizer(job))
    return job


def check(config: Mapping[str, Any], dataset: Dataset) -> None:
    """Raise whatever a job would raise before its first epoch, at the cost of building its parts once."""
    prepare(config, dataset)
    _check_around(config, dataset.task)


def _check_around(config: Mapping[str, Any], task: Task) -> None:
    """Raise whatever would be refused around the training: recording, trainer, callbacks, loggers, metrics."""
    for key in ("resume_every", "threads"):
        if config["training"][key] is not None:
            _require_whole(f"training.{key}", config["training"][key])
    if config["tracking"]["predictions"] is not None:
        _require_whole("tracking.predictions", config["tracking"]["predictions"], at_least=0)
    settings = {**config["trainer"], "callbacks": components(config, "callbacks")}
    _check_metrics(json.dumps(config["metrics"], default=str), task)
    # Most jobs have no callbacks, and the many jobs of a sweep few different trainers.
    if settings.pop("callbacks") ...
def fit(
    job: Job,
    config: Mapping[str, Any],
    run_id: str,
    *,
    report: Callable[[Mapping[str, float]], None] | None = None,
    resume_from: Path | None = None,
    live: bool = False,
) -> Fit:
    """Train a job with Lightning; its network and objective end with the selected epoch's parameters."""
    every, threads = config["training"]["resume_every"], config["training"]["threads"]
    if threads is not None:
        torch.set_num_threads(threads)
    return fit_with_lightning(
        job,
        config["trainer"],
        callbacks=components(config, "callbacks"),
        loggers=components(config, "tracking.loggers"),
        checkpoint=checkpoint_path(Path(config["paths"]["mlruns"]), run_id) if every else None,
        resume_every=every,
        resume_from=resume_from,
        report=report,
        live=live,
    )


def evaluate(job: Job, config: Mapping[str, Any]) -> Evaluation:
    """Score the selected network on every split, with the config's torchmetrics."""
    from lossbench.evaluation.collection import build as build_collection

    with blame("metrics"):
        metrics = build_collection(component(config, "metrics"), job.dataset.task)
    return evaluate_job(job, metrics)


def evaluate_job(job: Job, collection: Any = None) -> Evaluation:
    """Score a job's network as it stands; without a collection, by the built-in metrics."""
    splits = {"train": job.dataset.train, "val": job.dataset.val, "test": job.dataset.test}
    present = {name: rows for name, rows in splits.items() if rows is not None}
    return evaluate_scores(
        {name: scores_of(job.network, rows.x) for name, rows in present.items()},
        {name: rows.y for name, rows in present.items()},
        job.objective.loss,
        job.dataset.task,
        class_weights=job.objective.class_weights,
        collection=collection,
    )


def checkpoint_path(mlruns: Path, run_id: str) -> Path:
    """Return where a run keeps the checkpoint that it can be resumed from."""
    return mlruns / "checkpoints" / run_id / "last.ckpt"


def _checkpoint(given: str | None, mlruns: Path) -> Path | None:
    if given is None:
        return None
    for path in (Path(given), checkpoint_path(mlruns, str(given))):
        if path.is_file():
            return path
    raise UserError(
        f"ckpt_path is a checkpoint file or the id of a run trained with training.resume_every, got {given!r}"
    )


def _require_whole(key: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"{key} is a whole number >= 1, got {value!r}")


def _rule(select: Mapping[str, Any]) -> Rule:
    from lossbench.evaluation.metrics import DIRECTION

    metric = select["metric"]
    if metric is None:
        return Rule(None, True, select["patience"], select["min_delta"])
    name = str(metric).removeprefix("val/")
    if str(metric).startswith("val/") and name not in DIRECTION:
        raise ValueError(f"select.metric is one of {', '.join('val/' + known for known in DIRECTION)}, got {metric!r}")
    return Rule(metric, DIRECTION.get(name) == "max", select["patience"], select["min_delta"])
