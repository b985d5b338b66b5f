"""Components that are made once for many jobs."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from lossbench.components import component


def test_a_part_that_a_notebook_defines_anew_is_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = ModuleType("a_notebook")
    monkeypatch.setitem(sys.modules, "a_notebook", notebook)
    config = {"model": {"_target_": "a_notebook.Mine", "_partial_": True, "width": 3}}
    for number in (1, 2):
        notebook.Mine = type("Mine", (), {"__init__": lambda self, width: None, "number": number})
        assert component(config, "model") is component(config, "model")
        assert component(config, "model")().number == number
