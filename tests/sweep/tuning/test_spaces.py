"""Every document under conf/search: it belongs to a component, holds its default, and no end of it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lossbench.config.compose import compose, conf_dir
from lossbench.data.dataset import Dataset
from lossbench.errors import UserError
from lossbench.runs.prepare import draw, prepare_job
from lossbench.sweep.tuning.space import check_changes, space, start

DOCUMENTS = sorted((conf_dir() / "search").rglob("*.yaml"))
SMALL = ("data.positives=40", "data.negatives=80", "data.test_rows=50")


def shipped(path: str) -> dict[str, Any] | None:
    file = conf_dir() / f"{path}.yaml"
    return yaml.safe_load(file.read_text()) if file.is_file() else None


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    return draw(compose(SMALL))


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_every_document_serves_its_component(file: Path, dataset: Dataset) -> None:
    group, name = file.parent.name, file.stem
    overrides = [f"{group}=[{name}]" if group == "regularizer" else f"{group}={name}", *SMALL]
    config = compose(overrides)
    domains = space(config, shipped, {}, [])
    own = [domain for domain in domains if domain.key.startswith(f"{group}.")]
    assert len(own) == len(yaml.safe_load(file.read_text()))
    begun = start(domains, config)
    for domain in own:
        node, *_, leaf = _walk(config, domain.key)
        assert domain.value(begun[domain.key]) == node[leaf]
        for value in domain.choices or (domain.value(domain.low), domain.value(domain.high)):
            node[leaf] = value
            prepare_job(config, dataset)


def _walk(config: dict[str, Any], key: str) -> tuple[Any, str]:
    *path, leaf = key.split(".")
    node: Any = config
    for part in path:
        node = node[part]
    return node, leaf


@pytest.fixture(scope="module")
def focal() -> dict[str, Any]:
    return compose(["loss=focal", "regularizer=[l1,l2]"])


def keys(*arguments: Any) -> list[str]:
    return [domain.key for domain in space(*arguments)]


def test_a_space_is_made_of_the_chosen_components(focal: dict[str, Any]) -> None:
    found = keys(focal, shipped, {}, [])
    own = ["loss.gamma", "regularizer.l1.strength", "regularizer.l2.strength"]
    assert found == [*own, "optimizer.lr", "optimizer.weight_decay"]
    assert keys(focal, shipped, {}, ["optimizer.lr", *own, "seed"]) == ["optimizer.weight_decay"]


def test_a_person_changes_adds_and_takes_away(focal: dict[str, Any]) -> None:
    changes = {
        "loss": {"gamma": {"high": 3.0}, "alpha": {"choices": [None, 0.25]}, "margin": {"low": 0.0, "high": 1.0}},
        "optimizer": {"lr": None, "weight_decay": None},
        "regularizer": {"l1": {"strength": {"choices": [0.001, 0.01]}}, "l2": {"strength": None}},
    }
    found = {domain.key: domain for domain in space(focal, shipped, changes, [])}
    assert list(found) == ["loss.gamma", "regularizer.l1.strength", "loss.alpha"]
    assert (found["loss.gamma"].low, found["loss.gamma"].high) == (0.0, 3.0)
    assert found["regularizer.l1.strength"].choices == (0.001, 0.01)


@pytest.mark.parametrize(
    ("changes", "fixed", "words"),
    [
        ({"loss": {"gamma": 3}}, [], ["loss.gamma", "mapping", "3"]),
        (
            {"loss": {"gamma": None}, "optimizer": {"lr": None}},
            ["optimizer.weight_decay"],
            ["nothing is left", "focal"],
        ),
    ],
)
def test_what_cannot_be_tuned_is_refused(changes: dict[str, Any], fixed: list[str], words: list[str]) -> None:
    config = compose(["loss=focal"])
    with pytest.raises(UserError) as refused:
        space(config, shipped, changes, fixed)
    for word in words:
        assert word in str(refused.value)


def test_a_document_with_a_key_that_the_component_lacks_is_refused(focal: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"loss\.gama: this config has no such key"):
        space(focal, lambda path: {"gama": {"low": 0, "high": 1}} if path == "search/loss/focal" else None, {}, [])


def test_a_change_that_concerns_no_objective_is_refused(focal: dict[str, Any]) -> None:
    check_changes({"loss": {"gamma": {"high": 3.0}}}, [compose([]), focal])
    with pytest.raises(UserError, match=r"tuning\.space\.loss\.gama"):
        check_changes({"loss": {"gama": {"high": 3.0}}}, [compose([]), focal])
