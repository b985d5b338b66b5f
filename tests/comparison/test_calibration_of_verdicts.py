"""Statements are wrong as rarely as they say, in simulated sweeps; scripts/bench/calibration.py prints more of them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SWEEPS = 150
# Three standard errors above 5%, since some forty shares are looked at.
CHANCE = 0.05 + 3 * (0.05 * 0.95 / SWEEPS) ** 0.5


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    path = Path(__file__).parents[2] / "scripts/bench/calibration.py"
    spec = importlib.util.spec_from_file_location("calibration_bench", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


KINDS = ("word", "equivalent", "best", "regret")


@pytest.mark.parametrize(
    ("scenario", "seeds", "objectives"),
    [
        ("alike", 3, 4),
        ("alike", 12, 4),
        ("spread", 12, 6),
        ("edge", 12, 4),
        ("skewed", 12, 4),
        ("missing", 12, 4),
        ("hard", 12, 4),
        ("datasets", 14, 3),
        ("shared", 8, 3),
        ("convex", 12, 3),
    ],
)
@pytest.mark.slow
def test_no_kind_of_statement_is_wrong_more_often_than_it_says(
    bench: ModuleType, scenario: str, seeds: int, objectives: int
) -> None:
    wrong = bench.simulate(scenario, seeds, objectives, SWEEPS)
    # Rows x seeds crossed is approximate.
    most = 0.1 if bench.SCENARIOS[scenario].kind == "crossed" else CHANCE
    assert {kind: share for kind, share in wrong.items() if kind in KINDS and share > most} == {}


def test_fresh_draws_are_what_they_say(bench: ModuleType) -> None:
    wrong = bench.simulate("alike", 10, 4, SWEEPS)
    assert {kind: share for kind, share in wrong.items() if kind in (*KINDS, "interval") and share > CHANCE} == {}


@pytest.mark.slow
def test_what_shares_rows_needs_its_own_test(bench: ModuleType) -> None:
    assert bench.simulate("splits", 20, 4, SWEEPS)["word"] < 0.1
    # What makes it necessary: the test for independent draws is wrong far too often here.
    assert bench.simulate("splits_by_signs", 20, 4, SWEEPS)["word"] > 0.2
    assert bench.simulate("shared_by_signs", 12, 4, SWEEPS)["word"] > 0.2


@pytest.mark.slow
def test_planned_looks_and_a_set_that_is_smaller_than_all(bench: ModuleType) -> None:
    assert bench.looks((5, 10, 20), 2, SWEEPS) <= CHANCE
    assert bench.looks((8, 12, 16, 20, 30), 2, SWEEPS, planned=False) > 0.08
    assert bench.simulate("spread", 12, 6, 20)["members"] < 0.7


@pytest.mark.parametrize(("n", "m"), [(10, 1), (12, 4)])
def test_power_is_near_the_paired_t_tests(bench: ModuleType, n: int, m: int) -> None:
    ours, theirs = bench.power(n, m, 3 / n**0.5, 150)
    assert 0.3 < theirs < 0.99
    assert ours > theirs - 0.08
