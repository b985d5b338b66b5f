"""Every YAML under conf/loss, conf/weighting and conf/regularizer as cases; a new one is found by itself.

``VARIANTS`` adds settings at which an instance states other facts than at its YAML's defaults.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from lossbench.errors import CannotServe
from lossbench.objective.prediction import Prediction
from lossbench.task import Task

CONF = Path(__file__).parents[2] / "conf"
TASKS = {
    "two": Task(3, ("negative", "positive"), (970, 30)),
    "four": Task(3, ("a", "b", "c", "d"), (40, 30, 20, 10)),
}
VARIANTS: list[tuple[str, str, dict[str, Any]]] = [
    ("loss", "cross_entropy", {"label_smoothing": 0.1}),
    ("loss", "cross_entropy", {"ignore_index": 1}),
    ("loss", "bce_with_logits", {"pos_weight": 30.0}),
    ("loss", "focal", {"gamma": 0}),
    ("loss", "focal", {"gamma": 0.5}),
    ("loss", "focal", {"alpha": 0.75}),
    ("loss", "focal", {"alpha": [0.4, 0.3, 0.2, 0.1]}),
    ("loss", "logit_adjusted", {"tau": 0}),
    ("loss", "ldam", {"scale": 30.0}),
    ("loss", "ldam", {"max_m": 0}),
    ("loss", "vector_scaling", {"gamma": 0}),
    ("loss", "vector_scaling", {"gamma": 0, "tau": 0}),
    ("loss", "dual_focal", {"gamma": 0}),
    ("loss", "asymmetric", {"gamma_neg": 0, "gamma_pos": 0, "clip": 0}),
    ("loss", "asymmetric", {"gamma_neg": 0}),
    ("loss", "asymmetric_single_label", {"gamma_neg": 0, "eps": 0}),
    ("loss", "asymmetric_single_label", {"gamma_pos": 1.0}),
    ("loss", "poly1", {"epsilon": -1}),
    ("loss", "bi_tempered", {"t1": 1, "t2": 1}),
    ("loss", "bi_tempered", {"t1": 0.2, "t2": 1.8}),
    ("loss", "generalized_cross_entropy", {"q": 1}),
    ("loss", "symmetric_cross_entropy", {"beta": 0}),
    ("loss", "smooth_l1", {"beta": 0.3}),
    ("loss", "huber", {"delta": 0.3}),
    ("loss", "multi_margin", {"p": 2}),
    ("loss", "dice", {"smoothing": 1.0, "squared": True}),
    ("loss", "pairwise_auc", {"average": "macro"}),
    ("loss", "average_precision", {"average": "macro"}),
    ("loss", "pairwise_auc", {"surrogate": "squared"}),
    ("loss", "pairwise_auc", {"surrogate": "hinge"}),
    ("loss", "pairwise_auc", {"surrogate": "logistic"}),
    ("loss", "cosface", {"margin": 0}),
    ("loss", "arcface", {"margin": 0}),
    ("weighting", "balanced", {"by": "count"}),
    ("weighting", "balanced", {"start": 3}),
    ("weighting", "explicit", {"vector": [1.0, 2.0, 3.0, 4.0]}),
    ("weighting", "inverse_sqrt", {"start": 2}),
    ("weighting", "effective_number", {"beta": 0.9, "by": "count"}),
    ("regularizer", "l1", {"proximal": True}),
    ("regularizer", "l2", {"schedule": "cosine"}),
    ("regularizer", "group_lasso", {"groups": "rows"}),
    ("regularizer", "group_lasso", {"proximal": True, "schedule": "warm_up"}),
    ("regularizer", "spectral", {"method": "power"}),
    ("regularizer", "confidence_penalty", {"schedule": "warm_up", "until": 2}),
]


@dataclass
class Case:
    """One component at one setting, for one task."""

    kind: str
    name: str
    task: Task
    config: dict[str, Any]
    changes: dict[str, Any] = field(default_factory=dict)

    def build(self, **changes: Any) -> Any:
        """Return a fresh instance, not bound."""
        try:
            return instantiate({**self.config, **self.changes, **changes}, _convert_="all")
        except InstantiationException as error:  # Hydra's wrapper around the constructor's own error
            raise (error.__cause__ or error) from error

    def bound(self, **changes: Any) -> Any:
        part = self.build(**changes)
        part.bind(self.task)
        return part

    def numbers(self) -> dict[str, Any]:
        """Numeric settings that may vary from run to run (switches, indices and epochs are none)."""
        settings = {**self.config, **self.changes}
        return {
            key: value
            for key, value in settings.items()
            if isinstance(value, float) or (isinstance(value, list) and isinstance(value[0], float))
        }

    def varied(self) -> Any:
        """Return a bound instance whose numeric settings all differ, where its kind of stacking allows it."""
        if getattr(self.build(), "stackable", "all") != "all":
            return self.bound()
        changes = {}
        for key, value in self.numbers().items():
            for factor in (1.1, 0.9):
                changed = [v * factor for v in value] if isinstance(value, list) else (value or 0.1) * factor
                try:
                    self.build(**{key: changed})
                except ValueError:
                    continue
                changes[key] = changed
                break
        return self.bound(**changes)

    def scores(self, n_rows: int = 7, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        random = torch.randn(
            n_rows, self.task.n_scores, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
        )
        return (1.5 * random).to(dtype)

    def target(self, n_rows: int = 7) -> torch.Tensor:
        return torch.arange(n_rows) % self.task.n_classes

    def predict(self, loss: Any, scores: torch.Tensor) -> Prediction:
        features = torch.randn(len(scores), 5, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
        return Prediction(scores, loss.link, features.to(scores.dtype) if "features" in loss.needs else None)


@cache
def _cases(kind: str) -> list[Any]:
    settings = [(path.stem, {}) for path in sorted((CONF / kind).glob("*.yaml"))]
    settings += [(name, changes) for part, name, changes in VARIANTS if part == kind]
    cases = []
    for name, changes in settings:
        run = OmegaConf.create({"trainer": {"max_epochs": 8}, "part": OmegaConf.load(CONF / kind / f"{name}.yaml")})
        config = OmegaConf.to_container(run.part, resolve=True)
        if not config:  # regularizer/none
            continue
        served = 0
        for task_name, task in TASKS.items():
            case = Case(kind, name, task, config, changes)
            try:
                case.bound()
            except CannotServe:
                continue
            served += 1
            label = "-".join([name, *(f"{k}={v}" for k, v in changes.items()), task_name])
            cases.append(pytest.param(case, id=label))
        assert served, f"{kind}/{name} serves none of the tasks"
    return cases


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for kind in ("loss", "weighting", "regularizer"):
        if f"{kind}_case" in metafunc.fixturenames:
            metafunc.parametrize(f"{kind}_case", _cases(kind))


@pytest.fixture(scope="session")
def weighting_cases() -> list[Case]:
    return [parameter.values[0] for parameter in _cases("weighting")]


def stack(modules: list[torch.nn.Module]) -> tuple[dict, dict, torch.nn.Module]:
    """Return the parameters and buffers of modules stacked, and a stateless copy to call with them."""
    parameters, buffers = torch.func.stack_module_state(modules)
    return parameters, buffers, deepcopy(modules[0]).to("meta")


@pytest.fixture
def copies() -> Any:
    return stack
