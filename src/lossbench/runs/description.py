"""What the record says of a run before it trains: its name, params, tags, data and config."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from numpy.typing import NDArray

from lossbench.config import compose, labels
from lossbench.config.identity import fingerprint, objective_fingerprint, parameters
from lossbench.runs.settings import RunSettings
from lossbench.tracking.schema import Tag, digest_tag, rows_tag, version_tag

if TYPE_CHECKING:
    from lossbench.data.dataset import Dataset
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


@dataclass(frozen=True)
class Description:
    """What is recorded of a run as it starts.

    Parameters
    ----------
    name
        Such as ``s3 · focal · l2``.
    objective
        The name of its objective.
    params, tags
        What a person compares, and everything else.
    config
        The composed config as it may be kept: its tracking address has no password.
    source
        Where the data come from, in words or as a path.
    """

    name: str
    objective: str
    params: Mapping[str, Any]
    tags: Mapping[str, Any]
    config: Mapping[str, Any]
    source: str

    @property
    def config_yaml(self) -> str:
        """The config as a document."""
        # Of a sweep's configs most sections are equal.
        return "".join(_section_as_yaml(pickle.dumps({key: value})) for key, value in self.config.items())


def describe(config: Mapping[str, Any], settings: RunSettings, job: Job) -> Description:
    """Return what is recorded of a run that trains this job; the settings are those of the config."""
    objective = settings.job.objective or labels.objective_labels([config])[0]
    data = settings.data
    fold = data.get("fold")
    return Description(
        name=labels.run_name(settings.seed, fold, objective),
        objective=objective,
        params=parameters(config),
        tags={
            Tag.FINGERPRINT: fingerprint(config),
            Tag.IDENTITY: settings.job.identity,
            Tag.OBJECTIVE_FINGERPRINT: objective_fingerprint(config),
            **_tags_of_data(job.dataset),
            Tag.SEED: settings.seed,
            Tag.FOLD: fold,
            Tag.BATCH_ORDER: job.batch_order,
            Tag.JOB: settings.job.number,
            Tag.OVERRIDES: settings.job.overrides,
            Tag.RESUMED_FROM: settings.fit.resume_from,
            Tag.ALONE: settings.job.alone,
            **environment(),
        },
        config=without_secrets(config),
        source=str(data.get("path") or f"{data['_target_']}, seed {data['source_seed']}"),
    )


def without_secrets(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config whose tracking address has no password, as it may be kept."""
    uri = config["tracking"]["uri"]
    if not uri:
        return dict(config)
    from lossbench.tracking.store.address import masked  # what reads addresses of databases takes a moment to import

    return {**config, "tracking": {**config["tracking"], "uri": masked(str(uri))}}


def _tags_of_data(dataset: Dataset) -> dict[str, Any]:
    task = dataset.task
    return {
        Tag.DATA: dataset.name,
        Tag.SEEDS: dataset.seeds,
        Tag.CLASSES: json.dumps(task.class_names, ensure_ascii=False),
        Tag.POSITIVE: task.class_names[1] if task.binary else None,
        Tag.ROW_WEIGHTS: _WEIGHED if dataset.train.weight is not None else None,
        **rows_tags(dataset),
    }


def rows_tags(dataset: Dataset) -> dict[str, Any]:
    """Return how many rows each split has, and a digest of which rows the judged ones are."""
    splits = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    tags: dict[str, Any] = {rows_tag(name): len(rows) for name, rows in splits.items() if rows is not None}
    for name in ("val", "test"):
        rows = splits[name]
        if rows is not None:
            # Sorted: a given split is shuffled by the seed, and its rows are the same ones for that.
            tags[digest_tag(name)] = rows_digest(dataset, np.sort(rows.index))
    return tags


def rows_digest(dataset: Dataset, index: NDArray[np.int64]) -> str:
    """Return a digest of rows of a draw, by their numbers in this order."""
    # The draw's digest covers an independent test draw, whose rows are numbered from 0 in every draw.
    return hashlib.sha256(dataset.digest.encode() + np.ascontiguousarray(index).tobytes()).hexdigest()[:16]


@cache
def environment() -> dict[str, str]:
    """Return the git commit of the current folder and the versions of what computes."""
    versions = {version_tag(name): version(name) for name in VERSIONED}
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, cwd=compose.project()
        )
    except (OSError, subprocess.CalledProcessError):  # no git, or no repository
        return versions
    return {**versions, Tag.COMMIT: commit.stdout.strip()}


@lru_cache(1024)
def _section_as_yaml(pickled: bytes) -> str:
    # libyaml's dumper, where there is one, takes a tenth of the time.
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(pickle.loads(pickled), Dumper=dumper, sort_keys=False, allow_unicode=True))
