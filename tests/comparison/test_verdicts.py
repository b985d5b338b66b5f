"""Holm's correction, and the usual region of equivalence of a metric."""

from __future__ import annotations

import math

import pytest
from statsmodels.stats.multitest import multipletests

from lossbench.comparison.verdicts import holm
from lossbench.errors import UserError
from lossbench.evaluation.catalogue import rope_of


@pytest.mark.parametrize("p", [[0.3], [0.01, 0.04, 0.03], [0.02, 0.02, 1.0, 0.0], [0.004, 0.011, 0.039, 0.012, 0.9]])
def test_holm_is_statsmodels(p: list[float]) -> None:
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1].tolist(), abs=1e-10)
    assert holm([]) == []


def test_rope_by_metric() -> None:
    assert rope_of("test/posterior/log_loss") == 0.005
    assert rope_of("test/recall/a") == 0.01
    assert rope_of("test/mine") is None
    assert rope_of("test/mine", 0) == 0.0
    for wrong in (-0.1, math.nan, math.inf, True, "a"):
        with pytest.raises(UserError, match=r"compare\.rope is null or a number >= 0, got"):
            rope_of("test/auroc", wrong)
