"""Importance is that of an independent loop, and mistakes are the model's surest ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from lossbench.errors import UserError
from lossbench.inference.importance import explain
from lossbench.inference.predictor import Predictor

Made = tuple[Predictor, pd.DataFrame, np.ndarray]


@pytest.fixture(scope="module")
def rings(make: Callable[..., Any]) -> Made:
    """A model that reads the first column alone, and labels by nothing but its sign."""
    made = make("cross_entropy", model={"_target_": "lossbench.models.linear.Linear", "_partial_": True})
    content = made.content
    content["network"]["head.weight"][:] = 0
    content["network"]["head.weight"][0, 0] = 1
    predictor = Predictor(content)
    parsed = predictor.preprocessing.parsed(made.raw)
    noise = np.random.default_rng(0).normal(0, 5, len(parsed))
    return predictor, parsed, (parsed["x1"] + noise > 0).to_numpy().astype(np.int64)


@pytest.mark.parametrize("metric", ["auroc", "log_loss"])
def test_importance_is_what_a_loop_finds(rings: Made, metric: str) -> None:
    predictor, parsed, target = rings
    found = explain(predictor, parsed, target, metric, repeats=200)
    assert found.importances["column"].tolist() == ["x1", "x2"]
    assert found.importances["importance"][1] == pytest.approx(0, abs=1e-12)

    def value(frame: pd.DataFrame) -> float:
        probs = predictor.predict(frame)["probability_positive"]
        return roc_auc_score(target, probs) if metric == "auroc" else -log_loss(target, probs)

    draw, x1 = np.random.default_rng(1), parsed["x1"].to_numpy()
    worse = [value(parsed) - value(parsed.assign(x1=draw.permutation(x1))) for _ in range(200)]
    # two means of 200 draws
    assert abs(found.importances["importance"][0] - np.mean(worse)) < 4 * np.std(worse) * (2 / 200) ** 0.5
    assert found.value == pytest.approx(value(parsed) * (1 if metric == "auroc" else -1), abs=1e-9)


def test_the_surest_mistakes_come_first(rings: Made) -> None:
    predictor, parsed, target = rings
    parsed = parsed.set_axis(np.arange(100, 100 + len(parsed)))
    found = explain(predictor, parsed, target, per_class=3).mistakes
    said = predictor.predict(parsed)
    names = np.array(predictor.task.class_names)
    for name, own in found.groupby("true"):
        wrong = said[(names[target] == name) & (said["label"] != name)]
        # a tuned threshold may label by the smaller probability
        sure = np.where(wrong["label"] == "positive", wrong["probability_positive"], wrong["probability_negative"])
        assert own["probability"].tolist() == sorted(sure, reverse=True)[:3]
        assert own["x1"].tolist() == parsed.loc[own["row"], "x1"].tolist()
    assert set(found["true"]) == {"negative", "positive"}


def test_what_cannot_be_measured_is_refused(rings: Made) -> None:
    predictor, parsed, target = rings
    with pytest.raises(UserError, match="importance is measured by accuracy"):
        explain(predictor, parsed, target, "loss")
    with pytest.raises(UserError, match="auroc is undefined on these rows"):
        explain(predictor, parsed, np.zeros_like(target))
