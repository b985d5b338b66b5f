"""The cases that laws run on: a component of a YAML at one setting, for one task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from lossbench.config import compose
from lossbench.errors import CannotServe, UserError
from lossbench.evaluation.catalogue import without_facts
from lossbench.models.initial import build as build_model
from lossbench.objective.prediction import Prediction
from lossbench.task import Task

TASKS: Mapping[str, Task] = {
    "two": Task(3, ("negative", "positive"), (970, 30)),
    "four": Task(3, ("a", "b", "c", "d"), (40, 30, 20, 10)),
}
# What a component's YAML may interpolate from the run that it belongs to.
_RUN = {"seed": 0, "trainer": {"max_epochs": 8}}


@dataclass
class Case:
    """One component at one setting, for one task.

    Parameters
    ----------
    kind
        Its group: ``loss``, ``weighting``, ``regularizer``, ``model``, ``data``, ``metrics``.
    name
        Its choice: the YAML's name.
    task_name
        The task's name among ``TASKS``; data bring a task of their own and have none.
    config
        The YAML, resolved.
    changes
        Settings other than the YAML's.
    """

    kind: str
    name: str
    task_name: str | None
    config: dict[str, Any]
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> Task:
        if self.task_name is None:
            raise ValueError(f"{self.kind} brings a task of its own")
        return TASKS[self.task_name]

    def __str__(self) -> str:
        settings = [f"{key}={value}" for key, value in self.changes.items()]
        return "-".join([self.name, *settings, *([self.task_name] if self.task_name else [])])

    @property
    def described(self) -> str:
        """The component and its setting, as a message names it."""
        settings = ", ".join(f"{key}={value}" for key, value in self.changes.items())
        of = f" for {self.task.n_classes} classes" if self.task_name else ""
        return f"{self.kind}/{self.name}{f' at {settings}' if settings else ''}{of}"

    def build(self, **changes: Any) -> Any:
        """Return a fresh instance, not bound."""
        try:
            return instantiate({**self.config, **self.changes, **changes}, _convert_="all")
        except InstantiationException as error:  # Hydra's wrapper around the constructor's own error
            raise (error.__cause__ or error) from error

    def bound(self, **changes: Any) -> Any:
        """Return a fresh instance, bound to the task: a loss, weighting or regularizer."""
        part = self.build(**changes)
        part.bind(self.task)
        return part

    def network(self, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.nn.Module:
        """Return a model with the initial weights of a seed."""
        return build_model(self.build(), self.task, seed, dtype)

    def collection(self) -> Any:
        """Return metrics as the final evaluation builds them."""
        from lossbench.evaluation.collection import build as build_metrics  # torchmetrics takes seconds to import

        return build_metrics(replace(self, config=without_facts(self.config)).build(), self.task)

    def numbers(self) -> dict[str, Any]:
        """Numeric settings that may vary from run to run (switches, indices and epochs are none)."""
        settings = {**self.config, **self.changes}
        return {
            key: value
            for key, value in settings.items()
            if isinstance(value, float) or (isinstance(value, list) and value and isinstance(value[0], float))
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
        """Return random scores, equal in float32 and float64."""
        random = torch.randn(
            n_rows, self.task.n_scores, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
        )
        return (1.5 * random).to(dtype)

    def target(self, n_rows: int = 7) -> torch.Tensor:
        """Return the classes in turn."""
        return torch.arange(n_rows) % self.task.n_classes

    def predict(self, loss: Any, scores: torch.Tensor) -> Prediction:
        """Return the prediction that a loss reads, with random features where it needs them."""
        features = torch.randn(len(scores), 5, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
        return Prediction(scores, loss.link, features.to(scores.dtype) if "features" in loss.needs else None)


def find_cases(path: str | Path, variants: Mapping[str, Sequence[Mapping[str, Any]]] | None = None) -> list[Case]:
    """Return the components of some YAML files, each at its own and at other settings, for each task that it serves.

    Parameters
    ----------
    path
        A YAML ``.../<group>/<name>.yaml``, or a pattern of them, such as ``conf/loss/*.yaml``. The folder around
        ``conf`` is put on ``sys.path``, as the command does with the current folder.
    variants
        By name, settings at which a component has to obey the laws too: ``{"focal": [{"gamma": 0}]}``.

    Raises
    ------
    UserError
        Where no file matches, a variant names none, or a component serves none of the tasks.
    """
    pattern = Path(path)
    files = sorted(pattern.parent.glob(pattern.name))
    if not files:
        raise UserError(f"no YAML matches {path}")
    unknown = (variants or {}).keys() - {file.stem for file in files}
    if unknown:
        raise UserError(f"variants of {', '.join(sorted(unknown))}, of which {path} has no YAML")
    compose.make_importable(pattern.parent.parent.parent.absolute())
    result = []
    for file in files:
        config = _component(file)
        for changes in ({}, *(variants or {}).get(file.stem, ())) if config else ():
            tasks = (None,) if file.parent.name == "data" else TASKS
            candidates = [Case(file.parent.name, file.stem, task, config, dict(changes)) for task in tasks]
            serving = [case for case in candidates if _serves(case)]
            if not serving:
                raise UserError(f"{candidates[0].kind}/{file.stem} serves none of the tasks")
            result += serving
    return result


def _component(file: Path) -> dict[str, Any]:
    """Return a YAML's component, resolved; empty for a choice that is none, such as regularizer=none."""
    loaded = OmegaConf.create({**_RUN, "part": OmegaConf.load(file)})
    resolved = OmegaConf.to_container(loaded.part, resolve=True)
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items() if key != "defaults"}


def _serves(case: Case) -> bool:
    kinds: dict[str, Callable[[], Any]] = {"data": case.build, "model": case.network, "metrics": case.collection}
    build = kinds.get(case.kind, case.bound)
    try:
        build()
    except CannotServe:
        return False
    return True


def stack(modules: list[torch.nn.Module]) -> tuple[dict[str, Any], dict[str, Any], torch.nn.Module]:
    """Return the parameters and buffers of modules stacked, and a stateless copy to call with them."""
    parameters, buffers = torch.func.stack_module_state(modules)
    return parameters, buffers, deepcopy(modules[0]).to("meta")
