"""What of a job goes into the record: its start, its epochs, and all that it leaves."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from lossbench.config import compose, labels
from lossbench.config.identity import fingerprint, objective_fingerprint, parameters
from lossbench.errors import UserError
from lossbench.evaluation.row_table import predictions
from lossbench.evaluation.sparsity import sparsity
from lossbench.inference import model_file
from lossbench.models.forward import scores_of
from lossbench.tracking import row_tables
from lossbench.tracking.run import RunRecord
from lossbench.tracking.store.address import masked
from lossbench.tracking.store.outbox import PATIENCE_SECONDS

if TYPE_CHECKING:
    from lossbench.data.dataset import Dataset
    from lossbench.evaluation.evaluation import Evaluation
    from lossbench.tracking.store.open import Store
    from lossbench.training.fit import Fit
    from lossbench.training.job import Job

VERSIONED = (
    "lossbench",
    "torch",
    "lightning",
    "hydra-core",
    "mlflow",
    "torchmetrics",
    "numpy",
    "scikit-learn",
)
_WEIGHED = "in the training loss; metrics count every row once"
_MLFLOW_TYPES = {"numeric": "double", "boolean": "boolean", "categorical": "string", "date": "datetime"}


def started(store: Store, config: Mapping[str, Any], job: Job, *, hold: bool = False) -> RunRecord:
    """Start the run of a job with all that is known before it trains; ``hold`` is `RunRecord.start`'s."""
    tracking = config["tracking"]
    objective = tracking["objective"] or labels.objective_labels([config])[0]
    record = RunRecord.start(
        store,
        labels.run_name(config, objective),
        role="run",
        params=parameters(config),
        tags=tags(config, job),
        parent=tracking["parent"],
        sweep=tracking["sweep"],
        objective=objective,
        hold=hold,
    )
    try:
        record.artifacts.text(_as_yaml(without_secrets(config)), "config.yaml")
        dataset = job.dataset
        record.dataset(
            dataset.name,
            dataset.digest,
            columns={
                **{name: _MLFLOW_TYPES[kind] for name, kind in dataset.preprocessing.schema.items()},
                "target": "string",
            },
            rows=sum(len(rows) for rows in (dataset.train, dataset.val, dataset.test) if rows is not None),
            source=str(
                config["data"].get("path") or f"{config['data']['_target_']}, seed {config['data']['source_seed']}"
            ),
        )
    except BaseException as error:
        record.__exit__(type(error), error, error.__traceback__)
        raise
    return record


def without_secrets(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config whose tracking address has no password, as it may be kept."""
    uri = config["tracking"]["uri"]
    return {**config, "tracking": {**config["tracking"], "uri": uri and masked(str(uri))}}


def _as_yaml(config: Mapping[str, Any]) -> str:
    # Of a sweep's configs most sections are equal.
    return "".join(_section_as_yaml(pickle.dumps({key: value})) for key, value in config.items())


@lru_cache(1024)
def _section_as_yaml(pickled: bytes) -> str:
    # libyaml's dumper, where there is one, takes a tenth of the time.
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(pickle.loads(pickled), Dumper=dumper, sort_keys=False, allow_unicode=True))


def store_of(config: Mapping[str, Any]) -> Store:
    """Open the store that a config names; a job of a sweep waits for one that does not answer just now."""
    from lossbench.tracking.store.open import open_store

    tracking = config["tracking"]
    until = time.monotonic() + (0.0 if tracking["sweep"] is None else PATIENCE_SECONDS)
    while True:
        try:
            return open_store(Path(config["paths"]["mlruns"]), tracking["uri"], tracking["experiment"])
        except UserError:
            if time.monotonic() >= until:
                raise
        time.sleep(1.0)


def reporter(record: RunRecord, config: Mapping[str, Any]) -> Callable[[Mapping[str, float]], None]:
    """Return what takes an epoch's row and puts it into the run's history."""

    def report(row: Mapping[str, float]) -> None:
        record.log(_history([row], config))

    return report


def keep_history(record: RunRecord, config: Mapping[str, Any], history: Iterable[Mapping[str, float]]) -> None:
    """Put a whole history into the record of a run that ends at once."""
    record.log(_history(history, config), hold=True)


def _history(rows: Iterable[Mapping[str, float]], config: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield the epochs that ``tracking.history`` wants."""
    density = config["tracking"]["history"]
    every = 1 if density == "every" else density
    for row in rows:
        if every != "none" and row["epoch"] % every == 0:
            yield int(row["epoch"]), {key: value for key, value in row.items() if key != "epoch"}


def tags(config: Mapping[str, Any], job: Job) -> dict[str, Any]:
    """Return a run's tags: what identifies the job, and what it ran on."""
    fold = config["data"].get("fold")
    return {
        "lossbench.fingerprint": fingerprint(config),
        "lossbench.identity": config["tracking"]["identity"],
        "lossbench.objective_fingerprint": objective_fingerprint(config),
        "lossbench.data": job.dataset.name,
        "lossbench.seeds": job.dataset.seeds,
        "lossbench.classes": json.dumps(job.dataset.task.class_names, ensure_ascii=False),
        "lossbench.positive": job.dataset.task.class_names[1] if job.dataset.task.binary else None,
        "lossbench.row_weights": _WEIGHED if job.dataset.train.weight is not None else None,
        **rows_tags(job.dataset),
        "lossbench.seed": config["seed"],
        "lossbench.fold": fold,
        "lossbench.batch_order": job.batch_order,
        "lossbench.job": config["tracking"]["job"],
        "lossbench.overrides": config["tracking"]["overrides"],
        "lossbench.resumed_from": config["ckpt_path"],
        "lossbench.alone": config["tracking"]["alone"],
        **environment(),
    }


def rows_tags(dataset: Dataset) -> dict[str, Any]:
    """Return how many rows each split has, and a digest of which rows the judged ones are."""
    splits = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    found: dict[str, Any] = {f"lossbench.rows_{name}": len(rows) for name, rows in splits.items() if rows is not None}
    for name in ("val", "test"):
        rows = splits[name]
        if rows is not None:
            found[f"lossbench.{name}_digest"] = rows_digest(dataset, np.sort(rows.index))
    return found


def rows_digest(dataset: Dataset, index: NDArray[np.int64]) -> str:
    """Return a digest of rows of a draw.

    For what the runs were judged on it is that of sorted rows: a split that is given is shuffled by the seed, and its
    rows are the same ones for that.
    """
    # The draw's digest covers an independent test draw, whose rows are numbered from 0 in every draw.
    return hashlib.sha256(dataset.digest.encode() + np.ascontiguousarray(index).tobytes()).hexdigest()[:16]


@cache
def environment() -> dict[str, str]:
    """Return the git commit of the current folder and the versions of what computes."""
    found = {f"version.{name}": version(name) for name in VERSIONED}
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, cwd=compose.project()
        )
    except (OSError, subprocess.CalledProcessError):  # no git, or no repository
        return found
    return {**found, "mlflow.source.git.commit": commit.stdout.strip()}


def finish(record: RunRecord, config: Mapping[str, Any], job: Job, fitted: Fit, evaluation: Evaluation) -> None:
    """Write what a job leaves and end its run as FINISHED; the selected epoch's figures are its final values."""
    tracking = config["tracking"]
    if tracking["predictions"] != 0 or tracking["figures"]:
        table = predictions(job.dataset, evaluation, lambda x: scores_of(job.network, x), tracking["predictions"])
    if tracking["predictions"] != 0:
        row_tables.keep(record, tracking["sweep"], Path(config["paths"]["mlruns"]), table)
    model = model_file.dump(
        without_secrets(config), job.dataset, job.network, job.objective, evaluation, fitted.selected_epoch
    )
    record.artifacts.bytes(model, "model.pt")
    if config["export"]:
        from lossbench.runs.export import export  # it imports what serves models, which takes seconds

        export(store_of(config), record.id, model)
    if evaluation.undefined:
        record.artifacts.json(evaluation.undefined, "undefined.json")
    if tracking["figures"]:
        _draw(record, job, fitted, evaluation, table.to_pandas())
    chosen = next(row for row in fitted.history if row["epoch"] == fitted.selected_epoch)
    training = {key: value for key, value in chosen.items() if key.startswith(("train/", "val/"))}
    record.finish(
        {
            **training,
            **evaluation.metrics,
            **sparsity(job.network),
            **{f"threshold/{name}": value for name, value in evaluation.thresholds.items()},
            # A metric, not a tag: known at the end only, where tags would cost a session of the database, and their
            # mean over an objective's runs says how often its posterior did not stand.
            "posterior/calibrated": float(evaluation.posterior_kind != "gradient"),
            "selected_epoch": fitted.selected_epoch,
            "epochs": fitted.epochs,
            "seconds": fitted.seconds,
        }
    )


def _draw(record: RunRecord, job: Job, fitted: Fit, evaluation: Evaluation, table: pd.DataFrame) -> None:
    from lossbench.runs import figures

    drawn = {
        "training_curves": figures.training_curves(fitted.history, fitted.selected_epoch),
        "roc": figures.roc(job.dataset, evaluation, lambda x: scores_of(job.network, x)),
    }
    if (table["split"] == "grid").any():
        drawn["decision_regions"] = figures.decision_regions(job.dataset, table)
    for name, figure in drawn.items():
        record.artifacts.bytes(figures.png(figure), f"figures/{name}.png")
