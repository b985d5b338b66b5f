"""Trained models as their files hold them, in memory."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any, NamedTuple

import pandas as pd
import pytest
from omegaconf import OmegaConf

from lossbench.config.compose import compose, conf_dir
from lossbench.evaluation.evaluation import Evaluation
from lossbench.inference import model_file
from lossbench.runs.prepare import prepare_job
from lossbench.runs.train import evaluate_job
from lossbench.training.job import Job


class Made(NamedTuple):
    """A job with its evaluation, the raw rows of its test split, and the bytes of its model file."""

    job: Job
    evaluation: Evaluation
    raw: pd.DataFrame
    data: bytes

    @property
    def content(self) -> dict[str, Any]:
        return model_file.load(io.BytesIO(self.data), "the model")


@pytest.fixture(scope="session")
def bases() -> dict[str, dict[str, Any]]:
    small = ["data.positives=40", "data.negatives=80", "data.test_rows=50", "model.widths=[5,4]"]
    return {"rings": compose(small), "iris": compose(["data=iris", "model.widths=[5,4]"])}


@pytest.fixture(scope="session")
def make(bases: dict[str, dict[str, Any]]) -> Callable[..., Made]:
    """Return a job of a loss's YAML as it starts, evaluated and written: predictions need no training to agree."""

    def made(loss: str = "cross_entropy", on: str = "rings", **parts: Any) -> Made:
        config = copy.deepcopy(bases[on])
        config["loss"] = OmegaConf.to_container(OmegaConf.load(conf_dir() / "loss" / f"{loss}.yaml"))
        config |= parts
        job = prepare_job(config)
        evaluation = evaluate_job(job)
        dataset = job.dataset
        raw = pd.DataFrame(dataset.raw(dataset.test), columns=list(dataset.feature_names))
        return Made(
            job,
            evaluation,
            raw,
            model_file.dump(config, dataset, job.network, job.objective, evaluation, selected_epoch=0),
        )

    return made
