"""Every YAML of conf/model makes a partial that builds its model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from lossbench.models.class_prior import ClassPrior
from lossbench.models.initial import build
from lossbench.models.linear import Linear
from lossbench.models.mlp import Mlp
from lossbench.task import Task

CONF = Path(__file__).parents[2] / "conf" / "model"
SHIPPED: dict[str, type[nn.Module]] = {"linear": Linear, "mlp": Mlp, "class_prior": ClassPrior}
TASK = Task(n_features=4, class_names=("a", "b", "c"), class_counts=(50, 30, 20))


def test_every_file_is_tested() -> None:
    assert {path.stem for path in CONF.glob("*.yaml")} == set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_yaml_makes_its_model_with_the_constructors_own_defaults(name: str) -> None:
    text = (CONF / f"{name}.yaml").read_text()
    assert text.startswith("# ")
    model = build(instantiate(OmegaConf.create(text), _convert_="all"), TASK, seed=2)
    default = build(SHIPPED[name], TASK, seed=2)
    assert type(model) is SHIPPED[name]
    assert str(model) == str(default)
    for key, value in model.state_dict().items():
        assert torch.equal(value, default.state_dict()[key])


def test_widths_arrive_as_a_list() -> None:
    config = OmegaConf.load(CONF / "mlp.yaml")
    config.widths = [4, 8]
    model = build(instantiate(config, _convert_="all"), TASK, seed=0)
    assert isinstance(model, Mlp)
    assert model.n_features == 8
