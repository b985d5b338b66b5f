"""Models, data sources and metrics that break a law are told which one, and at which values."""

from __future__ import annotations

import sys

import pytest

from lossbench.testing.cases import find_cases
from lossbench.testing.checks import LawBroken
from lossbench.testing.laws import laws_of, obey

PARTS = """
import numpy as np
import torch
from torch import nn
from dataclasses import dataclass
from typing import ClassVar
from lossbench.data.source import Draw, Source


class Net(nn.Module):
    def __init__(self, task, kind="sound"):
        super().__init__()
        self.kind = kind
        n_scores = 2 if kind == "wide" else task.n_scores
        self.out = nn.Linear(task.n_features, n_scores)
        self.idle = nn.Linear(2, 2) if kind == "idle" else None
        self.drop = nn.Dropout(0.5)
        if kind == "fixed":
            nn.init.ones_(self.out.weight)
            nn.init.ones_(self.out.bias)

    def forward(self, x):
        x = x - x.mean(dim=0) if self.kind == "mixing" else x
        return self.out(self.drop(x) if self.kind == "drawing" else x)


@dataclass(kw_only=True)
class Clouds(Source):
    seeds: ClassVar = "draws"
    name: str = "clouds"
    kind: str = "sound"

    def __post_init__(self):
        if self.kind != "unchecked":
            super().__post_init__()

    def draw(self):
        seed = 7 if self.kind == "fixed" else self.source_seed
        draw = np.random if self.kind == "global" else np.random.default_rng(seed)
        y = np.arange(200) % 2
        return Draw(x=draw.normal(size=(200, 1)) + y[:, None], y=y, feature_names=("x",), class_names=("a", "b"))

    def bayes(self):
        def probs(x):
            right = 1 / (1 + np.exp(-(x[:, 0] - 0.5)))
            return np.stack([right, 1 - right] if self.kind == "turned" else [1 - right, right], axis=1)

        return probs


seen = []


def remembering(target, labels):
    seen.append(len(target))
    return len(seen)


def first_row(target, labels):
    return float(target[0])
"""


YAML = {
    "model": "_target_: own_parts.Net\n_partial_: true\nkind: {}\n",
    "data": "_target_: own_parts.Clouds\nkind: {}\n",
    "metrics": (
        "mine:\n  _target_: lossbench.evaluation.function_metric.FunctionMetric\n"
        "  function: {{_target_: own_parts.{}, _partial_: true}}\n  reads: labels\n  higher_is_better: true\n"
    ),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("own_parts", None)


@pytest.mark.parametrize(
    ("group", "kind", "law", "values"),
    [
        ("model", "wide", "gives_raw_scores", r"shape \(6, 2\), expected \(6, 1\): 2 classes have 1 score per row"),
        ("model", "mixing", "rows_do_not_mix", "scores in a batch, against the row alone"),
        ("model", "drawing", "depends_on_its_arguments_alone", "scores of the same rows in training, asked again"),
        ("model", "idle", "every_parameter_is_trained", "idle.weight is a parameter that scores do not depend on"),
        ("model", "fixed", "starts_by_its_seed_alone", "seeds 3 and 4 start at the same weights"),
        ("data", "global", "draws_the_same_rows_again", "source_seed=3 draws other rows the second time"),
        ("data", "fixed", "seeds_are_what_it_says", "seeds='draws', but source_seed=0 and 1 draw the same rows"),
        ("data", "turned", "the_bayes_rule_is_a_posterior", "bayes has the log loss .*, and the class shares alone"),
        ("data", "unchecked", "refuses_a_split_without_validation", "val=0, .*: not refused by a ValueError"),
        ("metrics", "first_row", "order_of_rows_does_not_count", "mine of the rows in another order is"),
        ("metrics", "remembering", "forgets_what_it_saw", "mine after it has seen another split is"),
    ],
)
def test_names_the_law_and_the_values(folder, group, kind, law, values):
    (folder / "conf" / group).mkdir(parents=True)
    (folder / "own_parts.py").write_text(PARTS)
    path = folder / "conf" / group / "mine.yaml"
    path.write_text(YAML[group].format(kind))
    (broken,) = [each for each in laws_of(group) if each.__name__ == law]
    with pytest.raises(LawBroken, match=values) as told:
        obey(broken, find_cases(path)[0])
    assert f"breaks the law `{law.replace('_', ' ')}`" in str(told.value)


@pytest.mark.parametrize(("group", "kind"), [("model", "sound"), ("data", "sound")])
def test_what_is_sound_is_left_alone(folder, group, kind):
    (folder / "conf" / group).mkdir(parents=True)
    (folder / "own_parts.py").write_text(PARTS)
    path = folder / "conf" / group / "mine.yaml"
    path.write_text(YAML[group].format(kind))
    for case in find_cases(path):
        for law in laws_of(group):
            obey(law, case)
