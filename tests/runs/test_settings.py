"""What a config asks of a run, worked out once: values by their names, and every wrong one refused by its key."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from lossbench.config.compose import compose
from lossbench.errors import UserError
from lossbench.runs.settings import SweepJob, read_settings
from lossbench.training.job import dtype_of
from lossbench.training.settings import TrainerSettings


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return compose(["loss=focal", "regularizer=[l1,l2]", "seed=3", "paths.mlruns=/records"])


def changed(config: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    made = copy.deepcopy(config)
    *path, leaf = key.split(".")
    node = made
    for part in path:
        node = node[part]
    node[leaf] = value
    return made


def test_what_is_shipped_is_read_as_it_stands(config: dict[str, Any]) -> None:
    settings = read_settings(config)
    assert (settings.seed, settings.epochs) == (3, config["trainer"]["max_epochs"])
    assert settings.components.loss == config["loss"]
    assert list(settings.components.regularizers) == ["l1", "l2"]
    assert settings.tracking.mlruns == Path("/records")
    assert (settings.tracking.history, settings.tracking.predictions) == (1, 5000)
    assert settings.job == SweepJob()
    assert settings.fit.trainer.arguments == {k: v for k, v in config["trainer"].items() if k != "max_epochs"}


@pytest.mark.parametrize(("said", "every"), [("every", 1), ("none", None), (7, 7)])
def test_history_is_every_so_many_epochs(config: dict[str, Any], said: object, every: int | None) -> None:
    assert read_settings(changed(config, "tracking.history", said)).tracking.history == every


def test_a_config_of_a_time_before_the_job_section_is_a_run_of_its_own(config: dict[str, Any]) -> None:
    earlier = {key: value for key, value in config.items() if key != "job"}
    assert read_settings(earlier) == read_settings(config)


def test_what_a_sweep_tells_its_job(config: dict[str, Any]) -> None:
    told = {"number": 4, "sweep": "a", "parent": "b", "objective": "focal", "identity": "c", "trial": True}
    assert read_settings({**config, "job": {**config["job"], **told}}).job == SweepJob(**told)


WRONG = {
    "seed": ("three", "seed is an integer, got 'three'"),
    "trainer.max_epochs": (0, "trainer.max_epochs is a whole number >= 1, got 0"),
    "trainer.precision": (16, "trainer.precision is one of 32-true, 64-true, got '16'"),
    "optimizer.lr": ("fast", "optimizer.lr is a number, got 'fast'"),
    "training.resume_every": (True, "training.resume_every is a whole number >= 1, got True"),
    "training.threads": (2**31, "training.threads is at most 2147483647, got 2147483648"),
    "tracking.predictions": (-1, "tracking.predictions is a whole number >= 0, got -1"),
    "tracking.history": (
        None,
        "tracking.history (every, none, or every so many epochs) is a whole number >= 1, got None",
    ),
    "export": ("yes", "export is true or false, got 'yes'"),
    "job.sweep": ({"a": 1}, "job.sweep is a text that a sweep gives its jobs, got {'a': 1}"),
    "job.number": (-1, "job.number is a whole number >= 0, got -1"),
    "job.trial": ("no", "job.trial is true or false, got 'no'"),
}


@pytest.mark.parametrize(("key", "value", "message"), [(key, *case) for key, case in WRONG.items()])
def test_a_wrong_value_is_refused_by_its_key(config: dict[str, Any], key: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as refusal:
        read_settings(changed(config, key, value))
    assert str(refusal.value) == message


def test_every_precision_has_a_dtype() -> None:
    from lossbench.training.settings import PRECISIONS

    assert [dtype_of(TrainerSettings(precision=each)) for each in PRECISIONS] == [torch.float32, torch.float64]


def test_a_trainer_is_read_with_all_that_lightning_takes() -> None:
    shared = TrainerSettings.read({"accelerator": "cpu", "devices": 2, "strategy": "ddp", "profiler": "simple"})
    assert shared.world == 2
    assert shared.others == {"profiler": "simple"}
    assert shared.arguments["strategy"] == "ddp"
    assert "strategy" not in TrainerSettings.read({"max_epochs": 3}).arguments
    assert "max_epochs" not in TrainerSettings.read({"max_epochs": 3}).arguments
