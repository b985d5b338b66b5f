"""Every loss of ours shows an example in its docstring: its value, which can be checked by hand."""

from __future__ import annotations

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest
from omegaconf import OmegaConf

CONF = Path(__file__).parents[2] / "conf" / "loss"
LOSSES = {path.stem: OmegaConf.load(path)["_target_"] for path in sorted(CONF.glob("*.yaml"))}


@pytest.mark.parametrize("loss", LOSSES)
def test_shows_a_value_that_is_true(loss):
    module, name = LOSSES[loss].rsplit(".", 1)
    found = import_module(module)
    tests = doctest.DocTestFinder(recurse=False).find(
        getattr(found, name), name, module=found, globs=vars(found).copy()
    )
    shown = [example for test in tests for example in test.examples if re.search(r"loss\(", example.source)]
    assert any(re.search(r"\d", example.want) for example in shown), f"{name} shows no value of its loss"
    runner = doctest.DocTestRunner(verbose=False)
    for test in tests:
        runner.run(test, out=lambda text: None)
    assert runner.failures == 0
