"""Every YAML of conf/data makes the source that it names, with the constructor's own defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from lossbench.data.bundled import Bundled
from lossbench.data.iris import Iris
from lossbench.data.one_vs_rest import OneVsRest
from lossbench.data.rings import Rings
from lossbench.data.source import Source
from lossbench.data.synthetic import Synthetic
from lossbench.data.table import Table

CONF = Path(__file__).parents[2] / "conf" / "data"
# A batch size is a choice of training, not of the source.
SHIPPED: dict[str, Source] = {
    "breast_cancer": Bundled(name="breast_cancer", source_seed=3, split_seed=3, batch_size=64),
    "digits": Bundled(name="digits", source_seed=3, split_seed=3, batch_size=128),
    "wine": Bundled(name="wine", source_seed=3, split_seed=3),
    "digits_ovr": OneVsRest(
        name="digits_ovr", positive=3, positive_rate=0.02, source_seed=3, split_seed=3, batch_size=128
    ),
    "synthetic": Synthetic(name="synthetic", source_seed=3, split_seed=3, batch_size=100),
    "iris": Iris(source_seed=3, split_seed=3),
    "rings": Rings(source_seed=3, split_seed=3, batch_size=100),
    "table": Table(source_seed=3, split_seed=3, batch_size=256, path="people.csv", target="churned"),
}


def made(name: str, **overrides: Any) -> Source:
    config = OmegaConf.create({"seed": 3, "data": OmegaConf.load(CONF / f"{name}.yaml")})
    config.data.update(overrides)
    return instantiate(config.data, _convert_="all")


def test_every_file_is_tested() -> None:
    assert {path.stem for path in CONF.glob("*.yaml")} == set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_yaml_makes_its_source(name: str) -> None:
    overrides = {"path": "people.csv", "target": "churned"} if name == "table" else {}
    assert made(name, **overrides) == SHIPPED[name]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_yaml_starts_with_what_it_is(name: str) -> None:
    assert (CONF / f"{name}.yaml").read_text().startswith("# ")
