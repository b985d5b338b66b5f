"""What a config asks of one run, worked out and checked once; after this nobody asks a nested dict by its keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossbench.errors import UserError
from lossbench.training.settings import Components, FitSettings, TrainerSettings

_MOST_THREADS = 2**31 - 1  # as torch counts them


@dataclass(frozen=True)
class SelectSettings:
    """Which epoch counts, as `lossbench.training.selection.Rule` checks it for a task."""

    metric: str | None
    patience: int | None
    min_delta: float


@dataclass(frozen=True)
class TrackingSettings:
    """Where a run is recorded, and how much of it.

    Parameters
    ----------
    uri, experiment
        MLflow's; None is read from the environment or has a default.
    mlruns
        The folder of the database, artifacts and checkpoints.
    figures
        Whether curves are drawn for every run.
    history
        Every so many epochs are recorded; None records none.
    predictions
        Rows kept of each split; None keeps all.
    export
        Whether the model is logged ready to serve.
    """

    uri: str | None
    experiment: str | None
    mlruns: Path
    figures: bool
    history: int | None
    predictions: int | None
    export: bool


@dataclass(frozen=True)
class SweepJob:
    """What a sweep tells a job about itself; all None for a run of its own.

    Parameters
    ----------
    number
        Which job of the sweep it is, from 0.
    sweep, parent
        Ids of the sweep's run in MLflow, and of its objective's.
    objective
        The name of its objective.
    overrides
        How it differs from the others.
    identity
        The hash of all that decides its result.
    alone
        Why it is trained by itself in a sweep of stacks.
    trial
        Whether it is a trial of a tuning, which the tuning records.
    """

    number: int | None = None
    sweep: str | None = None
    parent: str | None = None
    objective: str | None = None
    overrides: str | None = None
    identity: str | None = None
    alone: str | None = None
    trial: bool = False


@dataclass(frozen=True)
class RunSettings:
    """What is asked of one run.

    Parameters
    ----------
    seed
        Of every stream of randomness, unless the data have seeds of their own.
    epochs
        Passes over the training split.
    data, components, metrics
        The configs of the source, of what is trained, and of the final evaluation's torchmetrics.
    decay_on, groups
        Which parameters the optimizer's weight decay reaches, and which have settings of their own.
    allow_double
        Whether a weighting may meet a loss that has class weights.
    """

    seed: int
    epochs: int
    data: Mapping[str, Any]
    components: Components
    metrics: Mapping[str, Any]
    select: SelectSettings
    fit: FitSettings
    decay_on: str
    groups: Sequence[Mapping[str, Any]]
    allow_double: bool
    tracking: TrackingSettings
    job: SweepJob


def read_settings(config: Mapping[str, Any]) -> RunSettings:
    """Return what a composed config asks of a run.

    Raises
    ------
    UserError
        For a value of the wrong type or out of range, naming its key. What the components refuse shows when they are
        built.
    """
    seed, trainer, training, select = config["seed"], config["trainer"], config["training"], config["select"]
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise UserError(f"seed is an integer, got {seed!r}")
    require_whole("trainer.max_epochs", trainer["max_epochs"])
    return RunSettings(
        seed=seed,
        epochs=trainer["max_epochs"],
        data=config["data"],
        components=_components(config),
        metrics=config["metrics"],
        select=SelectSettings(select["metric"], select["patience"], select["min_delta"]),
        fit=_fit(config),
        decay_on=training["decay_on"],
        groups=training["groups"],
        allow_double=training["allow_double"],
        tracking=read_tracking(config),
        job=_sweep_job(config.get("job", {})),
    )


def require_whole(key: str, value: Any, at_least: int = 1) -> None:
    """Raise a UserError unless a value is a whole number of at least this."""
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise UserError(f"{key} is a whole number >= {at_least}, got {value!r}")


def _components(config: Mapping[str, Any]) -> Components:
    rate = config["optimizer"].get("lr", 0.0)
    if isinstance(rate, bool) or not isinstance(rate, int | float):
        raise UserError(f"optimizer.lr is a number, got {rate!r}")
    for name, node in config["regularizer"].items():
        if not isinstance(node, Mapping):
            raise UserError(
                f"regularizer has components by their names, got {name}={node!r}: the first line of a regularizer's "
                "YAML is '# @package regularizer.NAME'"
            )
    return Components(
        model=config["model"],
        loss=config["loss"],
        weighting=config["weighting"],
        regularizers=config["regularizer"],
        optimizer=config["optimizer"],
        scheduler=config["scheduler"],
    )


def _fit(config: Mapping[str, Any]) -> FitSettings:
    training = config["training"]
    for key in ("resume_every", "threads"):
        if training[key] is not None:
            require_whole(f"training.{key}", training[key])
    if (training["threads"] or 0) > _MOST_THREADS:
        raise UserError(f"training.threads is at most {_MOST_THREADS}, got {training['threads']}")
    return FitSettings(
        trainer=TrainerSettings.read(config["trainer"]),
        callbacks=config["callbacks"],
        loggers=config["tracking"]["loggers"],
        threads=training["threads"],
        resume_every=training["resume_every"],
        resume_from=config["ckpt_path"],
    )


def read_tracking(config: Mapping[str, Any]) -> TrackingSettings:
    """Return where and how a composed config wants to be recorded; errors are those of `read_settings`."""
    tracking, export = config["tracking"], config["export"]
    if tracking["predictions"] is not None:
        require_whole("tracking.predictions", tracking["predictions"], at_least=0)
    history = tracking["history"]
    if history not in ("every", "none"):
        require_whole("tracking.history (every, none, or every so many epochs)", history)
    if export not in (True, False):
        raise UserError(f"export is true or false, got {export!r}")
    return TrackingSettings(
        uri=tracking["uri"],
        experiment=tracking["experiment"],
        mlruns=Path(config["paths"]["mlruns"]),
        figures=tracking["figures"],
        history=None if history == "none" else 1 if history == "every" else history,
        predictions=tracking["predictions"],
        export=export,
    )


def _sweep_job(job: Mapping[str, Any]) -> SweepJob:
    texts = {key: job.get(key) for key in ("sweep", "parent", "objective", "overrides", "identity", "alone")}
    for key, value in texts.items():
        if not isinstance(value, str | None):
            raise UserError(f"job.{key} is a text that a sweep gives its jobs, got {value!r}")
    number, trial = job.get("number"), job.get("trial", False)
    if number is not None:
        require_whole("job.number", number, at_least=0)
    if not isinstance(trial, bool):
        raise UserError(f"job.trial is true or false, got {trial!r}")
    return SweepJob(number, trial=trial, **texts)
