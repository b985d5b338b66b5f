"""Verdicts are wrong as rarely as they say, in simulated sweeps; scripts/bench/calibration.py prints more of them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lossbench.comparison.corrected_t import CorrectedT
from lossbench.comparison.sign_flip import SignFlip

SWEEPS = 200
# Two standard errors above 5% in 200 sweeps; the corrected t is approximate and promises 10%.
CHANCE = 0.05 + 2 * (0.05 * 0.95 / SWEEPS) ** 0.5


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


@pytest.mark.parametrize("protocol", ["draws", "fixed"])
def test_sign_flip_under_the_null(bench: ModuleType, protocol: str) -> None:
    rng = np.random.default_rng(0)
    sweeps = [getattr(bench, protocol)(rng, 12, 4) for _ in range(SWEEPS)]
    assert bench.share(bench.any_false(scores, SignFlip()) for scores in sweeps) <= CHANCE
    assert bench.share(bench.any_false_winner(scores, SignFlip()) for scores in sweeps) <= CHANCE
    assert bench.share(bench.any_false_equivalent(scores, SignFlip(), 0.05) for scores in sweeps) <= CHANCE


def test_splits_of_one_table_need_the_correction(bench: ModuleType) -> None:
    rng = np.random.default_rng(0)
    sweeps = [bench.splits(rng, 20, 4) for _ in range(SWEEPS)]
    corrected = CorrectedT(bench.RATIO)
    assert bench.share(bench.any_false(scores, corrected) for scores in sweeps) < 0.1
    assert bench.share(bench.any_false_equivalent(scores, corrected, 0.05) for scores in sweeps) < 0.1
    # What makes it necessary: the test for independent draws is wrong far too often here.
    assert bench.share(bench.any_false(scores, SignFlip()) for scores in sweeps) > 0.2


@pytest.mark.parametrize(("n", "m"), [(10, 1), (12, 4)])
def test_power_is_near_the_paired_t_tests(bench: ModuleType, n: int, m: int) -> None:
    ours, theirs = bench.power(SignFlip(), n, m, 3 / n**0.5, 150)
    assert 0.3 < theirs < 0.99
    assert ours > theirs - 0.08
