"""The quick composition of a sweep's jobs against Hydra's own, job by job."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from lossbench.config import expand as expansion
from lossbench.config.compose import conf_dir
from lossbench.errors import UserError


class Hydra:
    """A sweep's config and loader, as its sweeper plugin is given them."""

    def __init__(self) -> None:
        self.loader = GlobalHydra.instance().config_loader()
        self.config = self.loader.load_configuration("train", [], RunMode.MULTIRUN)

    def expand(self, *overrides: str) -> list[list[str]]:
        return self.expand_grids(overrides)

    def expand_grids(self, *grids: Sequence[str]) -> list[list[str]]:
        parser = OverridesParser.create(config_loader=self.loader)
        return expansion.expand(*(parser.parse_overrides(list(grid)) for grid in grids))

    def slow(self, overrides: list[str]) -> dict[str, Any]:
        """One job by Hydra alone: composed as its launchers compose it, resolved where its jobs resolve."""
        config = self.loader.load_sweep_config(self.config, overrides)
        choices = {key: value for key, value in config.hydra.runtime.choices.items() if not key.startswith("hydra/")}
        known = HydraConfig.instance().cfg
        HydraConfig.instance().cfg = OmegaConf.create({"hydra": config.hydra})
        with open_dict(config):
            del config["hydra"]
        try:
            found: Any = OmegaConf.to_container(config, resolve=True)
        finally:
            HydraConfig.instance().cfg = known
        choices["regularizer"] = "+".join(found["regularizer"]) or "none"
        return {**found, "choices": choices}

    def quick(self, jobs: list[list[str]]) -> list[dict[str, Any]]:
        return expansion.compose_all(jobs, self.config, self.loader)


def typed(node: Any) -> Any:
    """The types of a config's leaves: True is not 1."""
    if isinstance(node, dict):
        return {key: typed(value) for key, value in node.items()}
    return [typed(value) for value in node] if isinstance(node, list) else type(node)


@pytest.fixture(scope="module")
def hydra() -> Iterator[Hydra]:
    with initialize_config_dir(str(conf_dir()), job_name="lossbench", version_base="1.3"):
        yield Hydra()


@pytest.fixture
def compositions(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Every composition that Hydra is asked for."""
    asked: list[list[str]] = []
    original: Callable[..., Any] = expansion.Composed.__init__

    def count(self: Any, overrides: list[str], config: DictConfig, loader: Any) -> None:
        asked.append(list(overrides))
        original(self, overrides, config, loader)

    monkeypatch.setattr(expansion.Composed, "__init__", count)
    return asked


# A sweep as typed, and how many of its jobs Hydra composes: the first and the last of every group, or all.
SWEEPS = {
    "values": (["loss=focal", "seed=1,2", "loss.gamma=0.5,2"], 2),
    "choices": (["loss=focal,mse", "seed=1,2,3"], 4),
    "floats": (["optimizer.lr=0.1,1e-3,-2.5,inf"], 2),
    "null and booleans": (["training.allow_double=true,null,false"], 2),
    "a list of values": (["model.widths=[4],[4,8]"], 2),
    "lists as choices": (["regularizer=[l1],[l1,l2],none"], 3),
    "quoted strings": (["data.name='c: d',\"it's, \",'','null','\\\\'"], 2),
    "an interpolation as a value": (["optimizer.lr='${seed}',0.5"], 2),
    "values that others interpolate": (["seed=3", "scheduler=cosine", "trainer.max_epochs=5,6,7"], 2),
    "new keys": (["+trainer.accumulate_grad_batches=2", "seed=1,2,3"], 2),
    "a new key, then its value": (["+loss.note=1", "loss.note=2,3,4"], 2),
    "deleted keys": (["~optimizer.weight_decay", "seed=1,2,3"], 2),
    "a deleted choice": (["~scheduler", "seed=1,2,3"], 2),
    "a value, then its whole node": (["training.threads=3", "training={threads: 2}"], 1),
    "values, then their whole node": (["training.threads=3,4,5", "training={threads: 2}"], 3),
    "a value and one that interpolates it": (["seed=1,2,3", "data.split_seed=5,6"], 2),
    "an element of a list": (["model.widths.0=5,6,7"], 3),
    "the same key twice": (["seed=1,2", "seed=7"], 1),
    "a documented run": (["experiment=rings_focal", "seed=1,2,3"], 2),
    "settings of hydra": (["hydra.job.name=mine,yours,theirs"], 3),
}


# Hydra takes long to compose, so the ways that differ least from another one here are left to the slow tests.
SLOW = {
    "choices",
    "floats",
    "lists as choices",
    "new keys",
    "a deleted choice",
    "an element of a list",
    "the same key twice",
    "a documented run",
    "settings of hydra",
}


@pytest.mark.parametrize(
    ("sweep", "composed"),
    [pytest.param(*case, id=name, marks=[pytest.mark.slow] if name in SLOW else []) for name, case in SWEEPS.items()],
)
def test_every_job_is_composed_as_hydra_would(
    hydra: Hydra, compositions: list[list[str]], sweep: list[str], composed: int
) -> None:
    jobs = hydra.expand(*sweep)
    found = hydra.quick(jobs)
    assert len(found) == len(jobs)
    assert len(compositions) == composed
    by_hydra = [overrides for overrides in compositions if overrides != jobs[-1]]
    for overrides, config in zip(jobs, found, strict=True):
        if overrides not in by_hydra:  # the others were composed in the same way a moment ago
            expected = hydra.slow(overrides)
            assert config == expected, overrides
            assert typed(config) == typed(expected), overrides


def test_jobs_may_override_different_keys(hydra: Hydra) -> None:
    found = hydra.quick([["seed=3"], ["optimizer.lr=0.1"], [], ["seed=5"]])
    default = hydra.config.optimizer.lr
    assert [config["seed"] for config in found] == [3, 0, 0, 5]
    assert [config["optimizer"]["lr"] for config in found] == [default, 0.1, default, default]


def test_jobs_share_nothing(hydra: Hydra) -> None:
    first, second = hydra.quick([["seed=1"], ["seed=2"]])
    first["model"]["widths"].append(99)
    assert 99 not in second["model"]["widths"]


def test_what_a_job_says_of_itself_resolves_to_that_job(hydra: Hydra) -> None:
    jobs = hydra.expand("loss=focal,mse", "+note='${hydra:runtime.choices.loss}'")
    assert [config["note"] for config in hydra.quick(jobs)] == ["focal", "mse"]


def test_expansion_is_hydras_product_in_its_order(hydra: Hydra) -> None:
    jobs = hydra.expand("loss=focal,mse", "seed=range(2)", "trainer.max_epochs=5")
    assert jobs == [
        ["loss=focal", "seed=0", "trainer.max_epochs=5"],
        ["loss=focal", "seed=1", "trainer.max_epochs=5"],
        ["loss=mse", "seed=0", "trainer.max_epochs=5"],
        ["loss=mse", "seed=1", "trainer.max_epochs=5"],
    ]
    assert hydra.expand("scheduler=glob(*,exclude=[co*,ex*,pl*])") == [["scheduler=none"], ["scheduler=step"]]


def test_grids_follow_each_other_and_no_job_is_there_twice(hydra: Hydra) -> None:
    grids = [{"data": "iris,wine"}, {"data": "rings", "data.positives": "50,100"}]
    assert hydra.expand_grids(*expansion.with_grids({"loss": "mse"}, grids, [])) == [
        ["loss=mse", "data=iris"],
        ["loss=mse", "data=wine"],
        ["loss=mse", "data=rings", "data.positives=50"],
        ["loss=mse", "data=rings", "data.positives=100"],
    ]
    assert hydra.expand_grids(*expansion.with_grids({}, grids, ["data=iris"])) == [["data=iris"]]


@pytest.mark.parametrize("wrong", [{"data": "iris"}, ["data=iris"], "data=iris"])
def test_grids_are_a_list_of_mappings(wrong: object) -> None:
    with pytest.raises(UserError, match=r"hydra\.sweeper\.grids is a list of mappings from keys to values, got "):
        expansion.with_grids({}, wrong, [])


@pytest.mark.parametrize("sweep", ["seed=range(0)"])
def test_a_sweep_without_jobs_is_refused(hydra: Hydra, sweep: str) -> None:
    with pytest.raises(UserError, match=r"^sweep: "):
        hydra.expand(sweep)


@pytest.mark.parametrize("wrong", ["sed=3", "loss=fokal", "loss=focal loss.gama=3"])
def test_what_hydra_refuses_is_refused(hydra: Hydra, wrong: str) -> None:
    with pytest.raises(HydraException):
        hydra.quick([["seed=1"], wrong.split()])
