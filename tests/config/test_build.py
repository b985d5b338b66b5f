"""Components that are made once for many jobs."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from omegaconf import OmegaConf

from lossbench.config.build import build_component
from lossbench.errors import UserError


def test_a_part_that_a_notebook_defines_anew_is_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = ModuleType("a_notebook")
    monkeypatch.setitem(sys.modules, "a_notebook", notebook)
    config = {"model": {"_target_": "a_notebook.Mine", "_partial_": True, "width": 3}}
    for number in (1, 2):
        notebook.Mine = type("Mine", (), {"__init__": lambda self, width: None, "number": number})
        assert build_component(config["model"], "model")().number == number


class Greedy:
    """A component that changes what it is given."""

    def __init__(self, widths: list[int], size: float = 1) -> None:
        if size == 13:
            raise ValueError("size is not 13")
        self.size = size
        self.width = widths.pop()


@pytest.mark.parametrize("partial", [False, True])
def test_a_component_that_changes_its_lists_changes_no_other_one(partial: bool) -> None:
    config = {"model": {"_target_": f"{__name__}.Greedy", "widths": [4, 8], **({"_partial_": True} if partial else {})}}
    for _ in range(3):
        made = build_component(config["model"], "model")
        assert (made() if partial else made).width == 8
    assert config["model"]["widths"] == [4, 8]


def test_equal_numbers_of_different_types_are_different_arguments() -> None:
    found = [build_component({"_target_": f"{__name__}.Greedy", "widths": [1], "size": size}, "model").size
             for size in (1, 1.0, True)]  # fmt: skip
    assert [type(size) for size in found] == [int, float, bool]


def test_what_a_component_refuses_is_said_in_one_line_each_time() -> None:
    config = {"loss": {"_target_": f"{__name__}.Greedy", "widths": [1], "size": 13}}
    for _ in range(2):
        with pytest.raises(UserError, match=r"^loss: size is not 13$"):
            build_component(config["loss"], "loss")


class Counted:
    """A component that counts how often it was tried, and is refused."""

    tried = 0

    def __init__(self, size: int) -> None:
        type(self).tried += 1
        raise ValueError(f"size is no number that it takes, got {size}")


def test_a_component_that_is_refused_was_tried_once() -> None:
    build_component({"_target_": f"{__name__}.Greedy", "widths": [1]}, "loss")  # this module is known from here on
    with pytest.raises(UserError, match=r"^loss: size is no number that it takes, got 1$"):
        build_component({"_target_": f"{__name__}.Counted", "size": 1}, "loss")
    assert Counted.tried == 1


def test_a_config_of_omegaconfs_serves_as_well() -> None:
    config = OmegaConf.create({"model": {"_target_": f"{__name__}.Greedy", "widths": [4, 8], "size": 2}})
    assert [build_component(config["model"], "model").width for _ in range(2)] == [8, 8]
