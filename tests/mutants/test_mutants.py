"""The mutation check itself: what it makes of a source, and a small sample of it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECK = Path(__file__).parents[2] / "tools" / "mutants"


def mutations():
    spec = importlib.util.spec_from_file_location("mutations", CHECK / "mutations.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutations"] = module
    spec.loader.exec_module(module)
    return module


SOURCE = """
class Loss:
    def __init__(self, gamma):
        self.gamma = 2 * gamma

    def forward(self, prediction, target):
        own = -prediction.log_probs
        return (self.gamma * own).mean(dim=-1)
"""


def test_makes_one_mistake_at_a_time():
    made = {(mutant.kind, mutant.after): mutant for mutant in mutations().mutants("a.losses", SOURCE)}
    assert set(made) == {
        ("sign", "prediction.log_probs"),
        ("careless", "prediction.probs.log()"),
        ("axis", "(self.gamma * own).sum(dim=-1)"),
        ("axis", "(self.gamma * own).mean(dim=0)"),
        ("factor", "self.gamma"),
        ("factor", "own"),
        ("detached", "self.gamma.detach() * own"),
        ("detached", "self.gamma * own.detach()"),
    }
    mutant = made["sign", "prediction.log_probs"]
    assert mutant.place == "losses.Loss.forward"
    assert mutant.source == SOURCE.replace("= -prediction", "= prediction")


def test_a_function_by_its_bare_name_is_made_careless_too():
    source = "def value(x):\n    return log_softmax(x - 1)\n"
    made = {(mutant.kind, mutant.after) for mutant in mutations().mutants("a.losses", source)}
    assert ("careless", "(x - 1).softmax(dim=-1).log()") in made


@pytest.mark.slow
def test_a_sample_is_noticed():
    done = subprocess.run(
        [sys.executable, str(CHECK / "run.py"), "--sample", "12"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NO REASON GIVEN" not in done.stdout
