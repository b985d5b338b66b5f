"""The table of metrics: every row has its formulas, and every name that a metric goes by is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from lossbench.errors import UserError
from lossbench.evaluation import metrics, thresholds
from lossbench.evaluation.catalogue import (
    BESIDE,
    METRICS,
    TUNED,
    AddedMetric,
    direction_of,
    from_text,
    names_for,
    names_from,
    rope_of,
    to_text,
    without_facts,
)
from lossbench.evaluation.collection import build
from lossbench.task import Task

CONF = Path(__file__).parents[2] / "conf" / "metrics" / "default.yaml"
EVALUATED = {name for name, each in METRICS.items() if each.of != "training"}


def test_every_row_has_its_formula_and_every_formula_a_row() -> None:
    draw = np.random.default_rng(0)
    target, probs = np.arange(30)[None] % 3, draw.dirichlet(np.ones(3), size=(1, 30))
    assert set(metrics._formulas(target, probs, EVALUATED)) == EVALUATED


def test_every_row_has_its_twin_which_agrees_on_what_is_better() -> None:
    collection = build(instantiate(OmegaConf.load(CONF), _convert_="all"), Task(2, ("a", "b", "c"), (7, 7, 7)))
    assert set(collection) == EVALUATED
    for name, twin in collection.items():
        assert twin.higher_is_better is (METRICS[name].better == "max"), name


@pytest.mark.parametrize("name", TUNED)
def test_every_tuned_row_has_its_score_which_is_the_formula(name: str) -> None:
    draw = np.random.default_rng(1)
    target, positive = np.arange(40) % 2, draw.random(40)
    probs = np.stack([1 - positive, positive], axis=1)
    expected = metrics.compute(target, probs[None], [name])[name][0]
    assert thresholds.score_at(target, positive, {name: 0.5})[name] == pytest.approx(expected, abs=1e-12)


def test_the_order_of_a_run_and_of_a_leaderboard() -> None:
    assert names_for(3) == (
        *("accuracy", "balanced_accuracy", "auroc", "average_precision", "f1", "mcc", "log_loss", "brier", "ece"),
        "auroc_micro",
    )
    assert (
        *("auroc", "average_precision", "accuracy", "log_loss", "f1", "tuned/f1", "posterior/log_loss", "ece"),
    ) == BESIDE
    assert TUNED == ("f1", "mcc", "balanced_accuracy", "accuracy")
    assert names_from("ranking") == ("auroc", "average_precision", "auroc_micro")


@pytest.mark.parametrize("prefix", ["", "train/", "val/", "test/", "test/posterior/"])
@pytest.mark.parametrize(
    ("metric", "wanted"),
    [("auroc", "max"), ("mcc", "max"), ("log_loss", "min"), ("brier", "min"), ("ece", "min")],
)
def test_every_split_and_view(prefix: str, metric: str, wanted: str) -> None:
    assert direction_of(prefix + metric) == wanted


def test_tuned_recall_and_a_class_named_like_a_metric() -> None:
    assert direction_of("test/tuned/f1") == "max"
    assert direction_of("test/recall/log_loss") == "max"
    assert direction_of("test/recall/cost", added={"cost": AddedMetric("min")}) == "max"


def test_unknown_metrics_need_a_direction() -> None:
    with pytest.raises(UserError, match=r"'test/ndcg' .* compare\.direction"):
        direction_of("test/ndcg")
    assert direction_of("test/ndcg", "max") == "max"
    assert direction_of("test/auroc", "min") == "min"
    with pytest.raises(UserError, match="max or min, got 'up'"):
        direction_of("test/auroc", "up")


def test_added_metrics_are_known_by_what_was_recorded() -> None:
    added = from_text(to_text({"cost": AddedMetric("min", 0.5), "silent": AddedMetric()}))
    assert added == {"cost": AddedMetric("min", 0.5), "silent": AddedMetric()}
    assert direction_of("test/cost/a", added=added) == "min"
    assert rope_of("val/cost", added=added) == 0.5
    assert rope_of("val/cost", 0.1, added) == 0.1
    with pytest.raises(UserError, match=r"'test/silent' .* \(known: accuracy, .*, cost, silent\)"):
        direction_of("test/silent", added=added)


def test_facts_are_no_arguments() -> None:
    node = {"_target_": "a.b", "average": "none", "better": "max", "rope": 0.1}
    assert without_facts({"mine": node}) == {"mine": {"_target_": "a.b", "average": "none"}}
