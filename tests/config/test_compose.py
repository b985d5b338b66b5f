"""Configs composed in Python are those of the console command, and a job's identity is what it computes."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue

from lossbench.config import compose as composition
from lossbench.config.compose import compose
from lossbench.config.identity import REPLICATE_KEYS, fingerprint, flatten, identity, objective_fingerprint, parameters

OVERRIDES = [
    "data=iris",
    "loss=focal",
    "loss.gamma=3",
    "regularizer=[l1,l2]",
    "scheduler=cosine",
    "trainer.max_epochs=7",
    "+trainer.min_epochs=2",
    "~optimizer.weight_decay",
    "model.widths=[4,8]",
    "data.fold=null",
    "seed=11",
]


@pytest.fixture(scope="module")
def default() -> dict[str, Any]:
    return compose()


@pytest.fixture(scope="module")
def many() -> dict[str, Any]:
    return compose(OVERRIDES)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder without a conf of its own."""
    monkeypatch.chdir(tmp_path)


def without_choices(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != "choices"}


def test_it_is_what_hydra_composes(many: dict[str, Any]) -> None:
    with initialize_config_dir(str(composition.conf_dir()), version_base="1.3"):
        expected = OmegaConf.to_container(hydra_compose("train", OVERRIDES), resolve=True)
    assert without_choices(many) == expected
    assert many["scheduler"]["T_max"] == 7
    assert many["data"]["source_seed"] == many["data"]["split_seed"] == 11
    assert many["trainer"]["min_epochs"] == 2
    assert "weight_decay" not in many["optimizer"]


def test_it_is_what_the_console_command_composes(many: dict[str, Any]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lossbench", *OVERRIDES, "--cfg", "job", "--resolve"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "120"},
    )
    assert yaml.safe_load(done.stdout) == without_choices(many)


def test_choices_are_named(default: dict[str, Any], many: dict[str, Any]) -> None:
    assert default["choices"]["loss"] == "cross_entropy"
    assert default["choices"]["regularizer"] == "none"
    assert default["choices"]["experiment"] is None
    assert many["choices"]["regularizer"] == "l1+l2"
    assert many["choices"]["scheduler"] == "cosine"
    assert not any("hydra" in group for group in many["choices"])
    assert "hydra" not in many


def plain_leaves(node: Any) -> Iterator[Any]:
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else None
    if children is None:
        yield node
    else:
        for child in children:
            yield from plain_leaves(child)


def test_it_is_plain_and_survives_yaml(default: dict[str, Any], many: dict[str, Any]) -> None:
    for config in (default, many):
        assert {type(leaf) for leaf in plain_leaves(config)} <= {str, int, float, bool, type(None)}
        again = yaml.safe_load(yaml.safe_dump(config))
        assert again == config
        assert fingerprint(again) == fingerprint(config)


DOCUMENTS = [
    f"{group}={path.stem}"
    for group in ("experiment", "comparison")
    for path in sorted((composition.conf_dir() / group).glob("*.yaml"))
]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_document_composes(document: str) -> None:
    group, _, name = document.partition("=")
    config = compose([document])
    assert config["choices"][group] == name
    assert "hydra" not in config


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    beside, here = tmp_path / "beside" / "loss", tmp_path / "conf" / "loss"
    for folder in (beside, here):
        folder.mkdir(parents=True)
        (folder / "mine.yaml").write_text(f"_target_: mine.{folder.parent.name}\n")
        (folder / "focal.yaml").write_text("_target_: mine.focal\n")
    # ./conf wins over all; a folder that is given stands beside the shipped ones.
    assert compose(["loss=mine"])["loss"] == {"_target_": "mine.conf"}
    assert compose(["loss=focal"])["loss"] == {"_target_": "mine.focal"}
    assert compose(["loss=mine"], tmp_path / "beside")["loss"] == {"_target_": "mine.conf"}
    (here / "mine.yaml").unlink()
    (here / "focal.yaml").unlink()
    assert compose(["loss=mine"], tmp_path / "beside")["loss"] == {"_target_": "mine.beside"}
    assert compose(["loss=mine"], "beside")["loss"] == {"_target_": "mine.beside"}
    assert compose(["loss=focal"], "beside")["loss"]["_target_"].startswith("lossbench.")


def test_a_notebook_may_be_using_hydra_itself() -> None:
    assert not GlobalHydra.instance().is_initialized()
    with initialize_config_dir(str(composition.conf_dir()), version_base="1.3"):
        before = GlobalHydra.instance().hydra
        compose(["seed=5"])
        assert GlobalHydra.instance().hydra is before
    compose(["seed=5"])
    assert not GlobalHydra.instance().is_initialized()


@pytest.mark.parametrize("wrong", ["sed=3", "loss=fokal", "seed=1,2", "seed=range(3)", "loss.gama=1"])
def test_what_hydra_refuses_is_refused(wrong: str) -> None:
    with pytest.raises(HydraException):
        compose([wrong])
    assert not GlobalHydra.instance().is_initialized()


def test_a_value_that_is_missing_is_named() -> None:
    with pytest.raises(MissingMandatoryValue, match=r"path"):
        compose(["data=table"])


def test_flatten() -> None:
    nested = {"a": {"b": {"c": 1}, "d": [1, {"e": 2}]}, "f": {}, "g": None}
    assert list(flatten(nested)) == [("a.b.c", 1), ("a.d", [1, {"e": 2}]), ("f", {}), ("g", None)]


def changed(config: dict[str, Any], key: str) -> dict[str, Any]:
    """Return a copy with another value at a dotted key."""
    other = copy.deepcopy(config)
    *path, leaf = key.split(".")
    node = other
    for part in path:
        node = node[part]
    node[leaf] = f"not {node[leaf]}"
    return other


def test_every_setting_is_part_of_the_identity_but_those_that_change_nothing(many: dict[str, Any]) -> None:
    blind = {"paths", "tracking", "job", "traceback", "compare", "choices", "ckpt_path", "export", "sweep"}
    keys = [key for key, _ in flatten(many)]
    assert {key.split(".")[0] for key in keys} > blind
    for key in keys:
        same = fingerprint(changed(many, key)) == fingerprint(many)
        assert same == (key.split(".")[0] in blind), key
        of_objective = objective_fingerprint(changed(many, key)) == objective_fingerprint(many)
        assert of_objective == (same or key in REPLICATE_KEYS), key


def test_seed_and_fold_are_replicates_of_one_objective(default: dict[str, Any]) -> None:
    assert set(REPLICATE_KEYS) == {"seed", "data.fold", "data.source_seed", "data.split_seed"}
    assert "data.fold" in identity(default)
    assert not set(identity(default, REPLICATE_KEYS)) & set(REPLICATE_KEYS)


def test_the_fingerprint_does_not_depend_on_the_order_of_keys(default: dict[str, Any]) -> None:
    backwards = {
        key: dict(reversed(value.items())) if isinstance(value, dict) else value
        for key, value in reversed(default.items())
    }
    assert list(backwards) != list(default)
    assert fingerprint(backwards) == fingerprint(default)


def test_the_fingerprint_is_stable() -> None:
    """Recorded runs are found by it: SHA-256 of '{"loss.gamma": 2.0, "seed": 0}'."""
    assert fingerprint({"seed": 0, "loss": {"gamma": 2.0}, "paths": {"mlruns": "/x"}}) == "ee0436f2812b6499"


def test_parameters_are_what_a_person_compares(many: dict[str, Any]) -> None:
    found = parameters(many)
    assert found["loss"] == "focal"
    assert found["loss.gamma"] == 3
    assert found["regularizer"] == "l1+l2"
    assert found["regularizer.l1.strength"] == 0.001
    assert found["model.widths"] == [4, 8]
    assert (found["seed"], found["epochs"], found["select.metric"]) == (11, 7, "val/auroc")
    assert not [key for key in found if "_target_" in key or "_partial_" in key or key.startswith("tracking")]


def test_the_config_lies_beside_the_source_or_inside_the_package(tmp_path: Path, monkeypatch: Any) -> None:
    checkout = Path(__file__).parents[2]
    assert composition.conf_dir() == checkout / "conf"
    assert composition.project() == checkout
    (tmp_path / "installed" / "conf").mkdir(parents=True)
    monkeypatch.setattr(composition, "PACKAGE", tmp_path / "installed")
    assert composition.conf_dir() == tmp_path / "installed" / "conf"
    assert composition.project() == tmp_path
