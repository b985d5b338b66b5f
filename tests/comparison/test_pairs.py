"""Pairs are right in every pattern of failed, missing, undefined and repeated runs."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossbench.comparison.leaderboard import build_leaderboard
from lossbench.comparison.pairs import differences, labelled, values

RUN = st.tuples(
    st.sampled_from(["cross_entropy", "focal", "mse"]),
    st.integers(0, 3),
    st.sampled_from([None, 0, 1]),
    st.sampled_from([0.25, 0.5, 1.0, float("nan")]),
    st.sampled_from(["FINISHED", "FINISHED", "FAILED", "KILLED"]),
)


def expected(rows: list[tuple], objective: str) -> tuple[float, int, int]:
    """Return mean difference, number of pairs and of values without a partner by looking for each in turn."""
    gaps = []
    alone = 0
    for seed in range(4):
        for fold in (None, 0, 1):
            ours, theirs = (
                [
                    value
                    for name, s, f, value, status in rows
                    if (name, s, f, status) == (wanted, seed, fold, "FINISHED") and not math.isnan(value)
                ]
                for wanted in (objective, "cross_entropy")
            )
            if ours and theirs:
                gaps.append(sum(ours) / len(ours) - sum(theirs) / len(theirs))
            elif ours or theirs:
                alone += 1
    return (sum(gaps) / len(gaps) if gaps else float("nan")), len(gaps), alone


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(RUN, min_size=1, max_size=25))
def test_pairs_against_a_search_for_partners(rows: list[tuple]) -> None:
    frame = pd.DataFrame(rows, columns=["objective", "params.seed", "params.fold", "metrics.test/f1", "status"])
    frame = frame.assign(role="run", seconds=1.0)
    table = build_leaderboard(frame, "test/f1").table
    counted = frame[(frame["status"] == "FINISHED") & frame["metrics.test/f1"].notna()]
    folds = counted["params.fold"].nunique(dropna=False) > 1  # which are not independent: described, not judged
    assert table[["n", "undefined", "failed", "unfinished"]].to_numpy().sum() == len(rows)
    if "cross_entropy" not in set(frame["objective"]):
        return
    whole = table.set_index("objective")["missing"] == 0
    for found in table.to_dict("records"):
        mean, pairs, alone = expected(rows, found["objective"])
        if whole[found["objective"]] and whole["cross_entropy"]:
            assert found["difference"] == pytest.approx(mean, nan_ok=True, abs=1e-12)
        assert found["pairs"] == pairs
        if found["n"] and table.set_index("objective")["n"]["cross_entropy"]:
            assert found["unmatched"] == alone
        valued = found["n"] and table.set_index("objective")["n"]["cross_entropy"]
        assert (found["verdict"] is None) == (folds or not valued)


def test_differences_keep_one_row_per_pair() -> None:
    frame = pd.DataFrame(
        {
            "objective": ["b", "a", "a", "b"],
            "role": "run",
            "status": "FINISHED",
            "params.seed": [1, 0, 1, 2],
            "metrics.m": [0.75, 0.5, 0.5, 1.0],
        }
    )
    gaps = differences(values(labelled(frame), ["metrics.m"]), "a")["metrics.m"]
    assert gaps.loc["b"].to_dict() == pytest.approx({1: 0.25, 2: math.nan}, nan_ok=True)
    assert gaps.loc["a"].tolist() == [0.0, 0.0]
