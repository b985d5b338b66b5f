"""The torchmetrics collection: equal to the numpy metrics, silent, open to anybody's metrics."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torchmetrics
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from lossbench.errors import CannotServe
from lossbench.evaluation import metrics
from lossbench.evaluation.catalogue import names_for
from lossbench.evaluation.collection import build, measure
from lossbench.task import Task

CONF = Path(__file__).parents[2] / "conf" / "metrics" / "default.yaml"


def task_of(n_classes):
    return Task(n_features=2, class_names=tuple("abcde"[:n_classes]), class_counts=(7,) * n_classes)


@pytest.fixture(scope="module")
def shipped():
    config = instantiate(OmegaConf.load(CONF), _convert_="all")
    return {n_classes: build(config, task_of(n_classes)) for n_classes in (2, 3, 5)}


def both(collection, target, probs):
    """The collection's and the numpy figures of one split, under the same keys."""
    task = task_of(probs.shape[1])
    own = {name: float(value[0]) for name, value in metrics.compute(target, probs[None]).items()}
    recalls = metrics.compute(target, probs[None], ["recall"])["recall"][0]
    own |= {f"recall/{name}": float(value) for name, value in zip(task.class_names, recalls, strict=True)}
    return measure(collection, target, probs, task), own


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.sampled_from([2, 3, 5]), st.integers(1, 12), st.data())
def test_equals_the_numpy_metrics_with_ties_and_missing_classes(shipped, n_classes, n, data):
    cells = data.draw(st.lists(st.integers(0, 3), min_size=n * n_classes, max_size=n * n_classes))
    weights = np.reshape(cells, (n, n_classes))
    weights = weights + (weights.sum(axis=1, keepdims=True) == 0)
    target = np.asarray(data.draw(st.lists(st.integers(0, n_classes - 1), min_size=n, max_size=n)))
    theirs, ours = both(shipped[n_classes], target, weights / weights.sum(axis=1, keepdims=True))
    assert theirs.keys() == ours.keys()
    for name, value in ours.items():
        assert theirs[name] == pytest.approx(value, abs=1e-8, rel=0, nan_ok=True), name


@pytest.mark.parametrize("n_classes", [2, 3])
def test_equals_the_numpy_metrics_on_many_rows(shipped, n_classes):
    draw = np.random.default_rng(n_classes)
    target = draw.choice(n_classes, p=[0.97] + [0.03 / (n_classes - 1)] * (n_classes - 1), size=20_000)
    theirs, ours = both(shipped[n_classes], target, draw.dirichlet(np.ones(n_classes), size=20_000))
    for name, value in ours.items():
        assert theirs[name] == pytest.approx(value, abs=1e-8, rel=0), name


def test_saturated_probabilities_keep_their_digits(shipped):
    scores = torch.tensor([-800.0, -60.0, 0.0, 40.0, 60.0], dtype=torch.float64)
    probs = torch.stack([torch.sigmoid(-scores), torch.sigmoid(scores)], dim=1).numpy()
    theirs, ours = both(shipped[2], np.array([1, 1, 0, 0, 1]), probs)
    assert theirs == pytest.approx(ours, abs=1e-8, rel=0)


def test_splits_do_not_mix(shipped):
    draw = np.random.default_rng(0)
    target, probs = np.arange(9) % 3, draw.dirichlet(np.ones(3), size=9)
    first = measure(shipped[3], target, probs, task_of(3))
    measure(shipped[3], target[::-1], probs, task_of(3))
    assert measure(shipped[3], target, probs, task_of(3)) == first


def test_rounding_above_one_is_no_logit(shipped):
    probs = np.array([[0.0, 1 + 3e-16], [0.6, 0.4]])  # sigmoid(.4) > .5
    assert measure(shipped[2], [1, 0], probs, task_of(2))["accuracy"] == 1


def test_names_carry_no_micro_average_for_two_classes(shipped):
    assert set(shipped[2].keys()) == {*names_for(2), "recall"}
    assert set(shipped[3].keys()) == {*names_for(3), "recall"}


class Mine(torchmetrics.Metric):
    """A user's metric of rows: how much probability the target got, per class and overall."""

    def __init__(self) -> None:
        super().__init__()
        self.add_state("rows", default=[])

    def update(self, probs, target):
        self.rows.append(probs[torch.arange(len(target)), target])

    def compute(self):
        return {"least": torch.cat(self.rows).min(), "most": torch.cat(self.rows).max()}


def test_metrics_of_users():
    draw = np.random.default_rng(1)
    target, probs = np.arange(12) % 3, draw.dirichlet(np.ones(3), size=12)
    entries = {
        "specificity": partial(torchmetrics.Specificity, average="macro"),
        "precision": partial(torchmetrics.Precision, average="none"),
        "top2": partial(torchmetrics.classification.MulticlassAccuracy, top_k=2, average="micro"),
        "kappa": torchmetrics.classification.MulticlassCohenKappa(num_classes=3),
        "mine": Mine,
    }
    values = measure(build(entries, task_of(3)), target, probs, task_of(3))
    given_to_target = probs[np.arange(12), target]
    in_top_two = (given_to_target[:, None] >= np.sort(probs, axis=1)[:, 1:2]).mean()
    assert values["mine/least"] == given_to_target.min()
    assert values["mine/most"] == given_to_target.max()
    assert values["top2"] == pytest.approx(in_top_two, abs=1e-12)
    assert {"specificity", "precision/a", "precision/b", "precision/c", "kappa"} < values.keys()


def test_two_thresholds_do_not_share_a_state():
    entries = {
        "middle": partial(torchmetrics.Accuracy, threshold=0.5),
        "above": partial(torchmetrics.Accuracy, threshold=0.501),
    }
    collection = build(entries, task_of(2))
    alike, different = np.array([[0.95, 0.05], [0.02, 0.98]]), np.array([[0.95, 0.05], [0.4995, 0.5005]])
    assert measure(collection, [0, 1], alike, task_of(2)) == {"middle": 1, "above": 1}
    assert measure(collection, [0, 1], different, task_of(2)) == {"middle": 1, "above": 0.5}


def test_the_default_dtype_is_put_back(shipped):
    assert torch.get_default_dtype() == torch.float32
    with pytest.raises(RuntimeError, match="same shape"):
        measure(shipped[2], [0, 1, 1], [[0.5, 0.5]], task_of(2))
    assert torch.get_default_dtype() == torch.float32


def refuse(num_classes):
    raise CannotServe(f"not for {num_classes}")


def test_a_metric_that_cannot_serve_the_task_is_left_out():
    assert list(build({"never": refuse, "mine": Mine}, task_of(2)).keys()) == ["mine"]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"x": 3}, "metric 'x' needs a torchmetrics Metric, or what makes one, got 3"),
        ({"x": lambda: 3}, "metric 'x' needs a torchmetrics Metric, got int"),
        ({"half": torchmetrics.AUROC}, "metric 'half' needs another name: torch.nn.Module has"),
        ({"x": torchmetrics.classification.MulticlassAUROC}, "conf/metrics cannot compute 2 classes: .*"),
        (
            {"x": torchmetrics.ConfusionMatrix},
            r"metric 'x' needs a number or one per class, got shape \(2, 2\)",
        ),
        ({"f1": torchmetrics.Specificity}, "metric 'f1' needs another name: it says .* where the built-in"),
    ],
)
def test_errors_name_the_metric_before_training(entries, message):
    with pytest.raises(ValueError, match=message):
        build(entries, task_of(2))


def test_undefined_is_nan_without_a_warning(shipped):
    values = measure(shipped[3], [0, 0], [[0.7, 0.2, 0.1], [0.4, 0.5, 0.1]], task_of(3))
    assert {name for name, value in values.items() if math.isnan(value)} == {
        *("auroc", "average_precision", "balanced_accuracy", "f1", "mcc"),
        *("recall/b", "recall/c"),
    }
