"""Every space under conf/search: it belongs to a component, holds its default, and no end of it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from lossbench.config.compose import compose, conf_dir
from lossbench.config.expand import document
from lossbench.data.dataset import Dataset
from lossbench.errors import UserError
from lossbench.runs.prepare import draw, prepare_job
from lossbench.sweep.tuning.space import check_changes, encode_start, read_space

DOCUMENTS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((conf_dir() / "search").glob("*.yaml"))}
SMALL = ("data.positives=40", "data.negatives=80", "data.test_rows=50")


def shipped(path: str) -> dict[str, Any]:
    return DOCUMENTS.get(path.removeprefix("search/"), {})


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    return draw(compose(SMALL))


def test_keys_are_in_alphabetical_order_and_those_of_a_component() -> None:
    for group, spaces in DOCUMENTS.items():
        assert list(spaces) == sorted(spaces)
        assert set(spaces) <= {path.stem for path in (conf_dir() / group).glob("*.yaml")}


@pytest.mark.parametrize(("group", "name"), [(group, name) for group in DOCUMENTS for name in DOCUMENTS[group]])
def test_every_space_serves_its_component(group: str, name: str, dataset: Dataset) -> None:
    overrides = [f"{group}=[{name}]" if group == "regularizer" else f"{group}={name}", *SMALL]
    config = compose(overrides)
    domains = read_space(config, shipped, {}, [])
    own = [domain for domain in domains if domain.key.startswith(f"{group}.")]
    assert len(own) == len(DOCUMENTS[group][name])
    begun = encode_start(domains, config)
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
    return [domain.key for domain in read_space(*arguments)]


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
    found = {domain.key: domain for domain in read_space(focal, shipped, changes, [])}
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
        read_space(config, shipped, changes, fixed)
    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            {"focal": {"gama": {"low": 0, "high": 1}}},
            r"conf/search/loss\.yaml: .*loss\.gama: this config has no such key",
        ),
        ({"focal": 3}, r"conf/search/loss\.yaml: focal needs a mapping of its hyperparameters, got 3"),
        ({"focal": {"gamma": 3}}, r"the search space of loss\.gamma is a mapping such as .*, got 3"),
    ],
)
def test_a_document_that_does_not_fit_is_refused(document: dict[str, Any], message: str, focal: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=message):
        read_space(focal, lambda path: document if path == "search/loss" else {}, {}, [])


def test_a_change_that_concerns_no_objective_is_refused(focal: dict[str, Any]) -> None:
    check_changes({"loss": {"gamma": {"high": 3.0}}}, [compose([]), focal])
    with pytest.raises(UserError, match=r"tuning\.space\.loss\.gama"):
        check_changes({"loss": {"gama": {"high": 3.0}}}, [compose([]), focal])


def test_a_persons_own_file_wins_key_by_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "conf" / "search"
    own.mkdir(parents=True)
    (own / "loss.yaml").write_text("focal: {alpha: {low: 0.1, high: 0.9}}\nmine: {beta: {low: 1, high: 2}}\n")
    monkeypatch.chdir(tmp_path)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        merged = document(GlobalHydra.instance().config_loader(), "search/loss")
        assert merged == {
            **DOCUMENTS["loss"],
            "focal": {"alpha": {"low": 0.1, "high": 0.9}},
            "mine": {"beta": {"low": 1, "high": 2}},
        }
        (own / "loss").mkdir()
        with pytest.raises(UserError, match=r"conf/search/loss is a folder: .* conf/search/loss\.yaml"):
            document(GlobalHydra.instance().config_loader(), "search/loss")
