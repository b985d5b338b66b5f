"""Every loss learns iris, or says by name that it is for two classes only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lossbench.errors import CannotServe
from lossbench.testing.cases import find_cases
from lossbench.testing.iris import accuracy_on_iris

CONF = Path(__file__).parents[2] / "conf" / "loss"


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_learns_iris(path, request):
    splits = 10 if request.config.getoption("--slow") else 2
    case = find_cases(path)[0]
    try:
        reached = np.mean([accuracy_on_iris(case.build(), seed) for seed in range(splits)])
    except CannotServe as refusal:  # by name, before training
        pytest.skip(str(refusal))
    assert reached >= 0.93
