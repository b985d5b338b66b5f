"""Which way is better, under every name that a metric goes by."""

from __future__ import annotations

import pytest

from lossbench.errors import UserError
from lossbench.evaluation.catalogue import direction


@pytest.mark.parametrize("prefix", ["", "train/", "val/", "test/", "test/posterior/"])
@pytest.mark.parametrize(
    ("metric", "wanted"),
    [("auroc", "max"), ("mcc", "max"), ("log_loss", "min"), ("brier", "min"), ("ece", "min")],
)
def test_every_split_and_view(prefix: str, metric: str, wanted: str) -> None:
    assert direction(prefix + metric) == wanted


def test_tuned_recall_and_a_class_named_like_a_metric() -> None:
    assert direction("test/tuned/f1") == "max"
    assert direction("test/recall/log_loss") == "max"


def test_unknown_metrics_need_a_direction() -> None:
    with pytest.raises(UserError, match=r"'test/ndcg' .* compare\.direction"):
        direction("test/ndcg")
    assert direction("test/ndcg", "max") == "max"
    assert direction("test/auroc", "min") == "min"
    with pytest.raises(UserError, match="max or min, got 'up'"):
        direction("test/auroc", "up")
