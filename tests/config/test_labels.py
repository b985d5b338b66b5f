"""Names of objectives: short, readable, and different for whatever differs."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossbench.config.identity import objective_fingerprint
from lossbench.config.labels import objective_labels, run_name, sweep_name

# A config reduced to what naming reads, with the parts as their YAMLs have them.
BASE: dict[str, Any] = {
    "seed": 0,
    "data": {"_target_": "Rings", "source_seed": 0, "split_seed": 0, "fold": None, "batch_size": 100},
    "model": {"_target_": "Mlp", "widths": [32, 32], "dropout": 0.0},
    "optimizer": {"_target_": "Adam", "lr": 0.01},
    "scheduler": None,
    "trainer": {"max_epochs": 20},
    "training": {"decay_on": "weights"},
    "callbacks": {},
}
PARTS: dict[str, dict[str, Any]] = {
    "loss": {
        "cross_entropy": {"_target_": "CrossEntropy", "label_smoothing": 0.0},
        "focal": {"_target_": "Focal", "gamma": 2.0, "alpha": None},
        "mse": {"_target_": "Mse"},
    },
    "weighting": {
        "none": {"_target_": "NoWeighting"},
        "balanced": {"_target_": "Balanced", "by": "weights"},
    },
    "regularizer": {
        "none": {},
        "l2": {"l2": {"_target_": "L2", "strength": 0.001}},
        "l1+l2": {"l1": {"_target_": "L1", "strength": 0.001}, "l2": {"_target_": "L2", "strength": 0.001}},
    },
    "model": {"mlp": BASE["model"], "linear": {"_target_": "Linear"}},
    "scheduler": {"none": None, "step": {"_target_": "StepLR", "gamma": 0.1}},
    "callbacks": {"none": {}, "timer": {"timer": {"_target_": "Timer", "duration": "01:00"}}},
}


def config(**given: Any) -> dict[str, Any]:
    """Build a config from choices (`loss="focal"`) and values by dotted key."""
    made = copy.deepcopy(BASE)
    choices = {"data": "rings", "optimizer": "adam", "trainer": "cpu"}
    for group, options in PARTS.items():
        choice = given.pop(group, next(iter(options)))
        choices[group] = choice
        made[group] = copy.deepcopy(options[choice])
    for key, value in given.items():
        *path, leaf = key.split("__")
        node = made
        for part in path:
            node = node[part]
        node[leaf] = value
    return {**made, "choices": choices}


def labels(*configs: dict[str, Any]) -> list[str]:
    return objective_labels([config(**given) for given in configs])


TABLE = {
    "one run": ([{}], ["cross_entropy"]),
    "parts that are there": (
        [{"loss": "focal", "weighting": "balanced", "regularizer": "l1+l2"}],
        ["focal · balanced · l1+l2"],
    ),
    "seeds are one objective": ([{"seed": 0}, {"seed": 1, "data__source_seed": 1}], ["cross_entropy"] * 2),
    "folds are one objective": ([{"data__fold": 0}, {"data__fold": 1}], ["cross_entropy"] * 2),
    "losses": ([{"loss": "focal"}, {"loss": "mse"}], ["focal", "mse"]),
    "a hyperparameter of one of the losses": (
        [{"loss": "mse"}, {"loss": "focal", "loss__gamma": 2}, {"loss": "focal", "loss__gamma": 5}],
        ["mse", "focal gamma=2", "focal gamma=5"],
    ),
    "of the loss, beside a regularizer": (
        [{"loss": "focal", "loss__gamma": g, "regularizer": r} for g in (2, 5) for r in ("none", "l2")],
        ["focal gamma=2", "focal gamma=2 · l2", "focal gamma=5", "focal gamma=5 · l2"],
    ),
    "of the regularizer": (
        [{"loss": "focal", "regularizer": "l2", "regularizer__l2__strength": s} for s in (0.1, 0.01)],
        ["focal · l2 strength=0.1", "focal · l2 strength=0.01"],
    ),
    "of the weighting": (
        [{"weighting": "balanced", "weighting__by": by} for by in ("weights", "count")],
        ["cross_entropy · balanced by=weights", "cross_entropy · balanced by=count"],
    ),
    "null": (
        [{"loss": "focal", "loss__alpha": alpha} for alpha in (None, 0.75)],
        ["focal alpha=null", "focal alpha=0.75"],
    ),
    "another choice": (
        [{"scheduler": "step"}, {"scheduler": "none"}],
        ["cross_entropy · step", "cross_entropy · none"],
    ),
    "a setting of something else": (
        [{"optimizer__lr": 0.1}, {"optimizer__lr": 0.2}],
        ["cross_entropy · optimizer.lr=0.1", "cross_entropy · optimizer.lr=0.2"],
    ),
    "a list": (
        [{"model__widths": [4]}, {"model__widths": [4, 8]}],
        ["cross_entropy · model.widths=[4]", "cross_entropy · model.widths=[4, 8]"],
    ),
    "a key that only one has": (
        [{}, {"trainer__accumulate_grad_batches": 2}],
        ["cross_entropy", "cross_entropy · trainer.accumulate_grad_batches=2"],
    ),
    "a part that was none until a key was added": (
        [{}, {"weighting__start": 3}],
        ["cross_entropy", "cross_entropy · none start=3"],
    ),
    "a component that only one has": (
        [{}, {"callbacks": "timer"}],
        ["cross_entropy", "cross_entropy · callbacks.timer.duration=01:00"],
    ),
    "a class behind the same name": (
        [{"loss___target_": "CrossEntropy"}, {"loss___target_": "mine.CrossEntropy"}],
        ["cross_entropy _target_=CrossEntropy", "cross_entropy _target_=mine.CrossEntropy"],
    ),
}


@pytest.mark.parametrize(("configs", "expected"), TABLE.values(), ids=TABLE)
def test_labels(configs: list[dict[str, Any]], expected: list[str]) -> None:
    assert labels(*configs) == expected


CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "loss": st.sampled_from(["cross_entropy", "focal", "mse"]),
        "weighting": st.sampled_from(["none", "balanced"]),
        "regularizer": st.sampled_from(["none", "l2", "l1+l2"]),
        "model": st.sampled_from(["mlp", "linear"]),
        "scheduler": st.sampled_from(["none", "step"]),
        "callbacks": st.sampled_from(["none", "timer"]),
        "seed": st.integers(0, 2),
        "optimizer__lr": st.sampled_from([0.01, 0.1]),
        "training__decay_on": st.sampled_from(["weights", "all"]),
        "trainer__accumulate_grad_batches": st.sampled_from([1, 2]),
        "loss__extra": st.sampled_from([None, 1]),
        "model__extra": st.sampled_from([True, 3]),
    },
)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.lists(CONFIGS, min_size=1, max_size=12))
def test_labels_differ_where_objectives_do_and_only_there(sweep: list[dict[str, Any]]) -> None:
    configs = [config(**given) for given in sweep]
    found = objective_labels(configs)
    by_label: dict[str, set[str]] = {}
    by_objective: dict[str, set[str]] = {}
    for label, one in zip(found, configs, strict=True):
        by_label.setdefault(label, set()).add(objective_fingerprint(one))
        by_objective.setdefault(objective_fingerprint(one), set()).add(label)
    assert all(len(objectives) == 1 for objectives in by_label.values()), found
    assert all(len(names) == 1 for names in by_objective.values()), found
    # And a label does not depend on the order of the jobs.
    assert objective_labels(configs[::-1]) == found[::-1]


def test_runs_have_seed_fold_and_objective() -> None:
    assert run_name(3, None, "focal · l2") == "s3 · focal · l2"
    assert run_name(0, 2, "focal") == "s0 f2 · focal"
    assert run_name(0, 0, "focal") == "s0 f0 · focal"


def test_sweeps_are_named_by_what_varies() -> None:
    def name(*sweep: dict[str, Any]) -> str:
        return sweep_name([config(**given) for given in sweep])

    assert name({"seed": 0}, {"seed": 1}) == "seeds on rings"
    assert name({"loss": "focal"}, {"loss": "mse", "regularizer": "l2"}) == "loss x regularizer on rings"
    two = [config(), config()]
    two[1]["choices"]["data"] = "iris"
    assert sweep_name(two) == "seeds on iris, rings"
