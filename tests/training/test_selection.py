"""The selection against brute force over whole histories, and one replicate against many."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lossbench.training.selection import TIE, Rule, Selection

# Values a quarter apart: any two are either equal or far from a tie, so brute force needs no tolerance.
GRID = st.sampled_from([0.0, 0.25, 0.5, 0.75, math.nan])
EPOCHS = st.lists(st.tuples(GRID, GRID), min_size=1, max_size=12)
PROFILE = settings(derandomize=True, deadline=None, max_examples=150)


def run(rule: Rule, epochs: list[tuple[float, float]]) -> Selection:
    selection = Selection(rule)
    for epoch, (value, log_loss) in enumerate(epochs):
        selection.update(epoch, [value], [log_loss])
    return selection


def best_by_sorting(epochs: list[tuple[float, float]], maximize: bool) -> int:
    """The rule as one sort: better value, then lower log-loss (NaN last), then earlier epoch; NaN values never."""
    sign = -1 if maximize else 1
    candidates = [
        (sign * value, math.inf if math.isnan(log_loss) else log_loss, epoch)
        for epoch, (value, log_loss) in enumerate(epochs)
        if not math.isnan(value)
    ]
    return min(candidates)[2] if candidates else -1


def stops_after(values: list[float], patience: int, min_delta: float, maximize: bool) -> int | None:
    """The number of epochs until patience runs out, by looking back from each epoch."""
    improvements: list[int] = []
    reference = -math.inf
    for epoch, value in enumerate(values):
        signed = value if maximize else -value
        if signed - reference > min_delta or (reference == -math.inf and not math.isnan(signed)):
            improvements.append(epoch)
            reference = signed
        if epoch - (improvements[-1] if improvements else -1) >= patience:
            return epoch + 1
    return None


@PROFILE
@given(EPOCHS, st.booleans())
def test_the_selected_epoch_is_the_first_of_a_sort(epochs: list[tuple[float, float]], maximize: bool) -> None:
    selection = run(Rule("val/auroc", maximize), epochs)
    assert selection.epoch.tolist() == [best_by_sorting(epochs, maximize)]
    assert not selection.stopped.any()


@PROFILE
@given(EPOCHS, st.integers(1, 4), st.sampled_from([0.0, 0.3]), st.booleans())
def test_patience_stops_and_never_selects(
    epochs: list[tuple[float, float]], patience: int, min_delta: float, maximize: bool
) -> None:
    selection = run(Rule("val/auroc", maximize, patience, min_delta), epochs)
    stop = stops_after([value for value, _ in epochs], patience, min_delta, maximize)
    assert selection.stopped.tolist() == [stop is not None]
    assert selection.epoch.tolist() == [best_by_sorting(epochs[:stop], maximize)]


@PROFILE
@given(
    st.lists(st.lists(st.tuples(GRID, GRID), min_size=3, max_size=3), min_size=1, max_size=8),
    st.sampled_from([None, 1, 2]),
    st.sampled_from([0.0, 0.3]),
    st.booleans(),
)
def test_many_at_once_equal_one_by_one(
    epochs: list[list[tuple[float, float]]], patience: int | None, min_delta: float, maximize: bool
) -> None:
    rule = Rule("val/auroc", maximize, patience, min_delta)
    together = Selection(rule, replicates=3)
    alone = [Selection(rule) for _ in range(3)]
    for epoch, replicates in enumerate(epochs):
        values, log_losses = zip(*replicates, strict=True)
        chosen = together.update(epoch, values, log_losses)
        singly = [one.update(epoch, [value], [log]) for one, value, log in zip(alone, values, log_losses, strict=True)]
        assert chosen.tolist() == np.concatenate(singly).tolist()
    assert together.epoch.tolist() == [int(one.epoch[0]) for one in alone]
    assert together.stopped.tolist() == [bool(one.stopped[0]) for one in alone]


@PROFILE
@given(EPOCHS, EPOCHS, st.sampled_from([None, 1, 3]))
def test_a_state_dict_continues_as_if_nothing_had_happened(
    before: list[tuple[float, float]], after: list[tuple[float, float]], patience: int | None
) -> None:
    rule = Rule("val/log_loss", False, patience)
    straight = run(rule, [*before, *after])
    resumed = Selection(rule)
    resumed.load_state_dict(copy.deepcopy(run(rule, before).state_dict()))
    for epoch, (value, log_loss) in enumerate(after, start=len(before)):
        resumed.update(epoch, [value], [log_loss])
    assert resumed.state_dict() == straight.state_dict()
    assert resumed.stopped.tolist() == straight.stopped.tolist()


def test_its_state_is_plain_enough_for_a_checkpoint(tmp_path) -> None:
    selection = run(Rule("val/auroc"), [(math.nan, 0.5)])
    torch.save(selection.state_dict(), tmp_path / "state")
    assert torch.load(tmp_path / "state", weights_only=True) == selection.state_dict()


@pytest.mark.parametrize(("step", "selected"), [(0.5 * TIE, 0), (2 * TIE, 1)])
def test_a_tie_is_within_a_millionth_of_a_millionth(step: float, selected: int) -> None:
    # The second epoch is better by `step` and has the higher log-loss: it wins unless the two are tied.
    assert run(Rule("val/auroc"), [(0.9, 0.3), (0.9 + step, 0.4)]).epoch.tolist() == [selected]


def test_ties_cannot_walk_downhill() -> None:
    # Each epoch is tied with the one before and lower in log-loss, but the last is not tied with the best.
    walk = [(0.9 - 0.6 * TIE * k, 0.5 - 0.1 * k) for k in range(4)]
    assert run(Rule("val/auroc"), walk).epoch.tolist() == [1]


def test_any_log_loss_wins_a_tie_against_nan() -> None:
    assert run(Rule("val/auroc"), [(0.9, math.nan), (0.9, 3.0), (0.9, math.nan)]).epoch.tolist() == [1]


def test_without_a_metric_the_last_epoch_counts() -> None:
    selection = Selection(Rule(None), replicates=2)
    for epoch in range(3):
        assert selection.update(epoch, [math.nan, 1.0], [math.nan, 1.0]).all()
    assert selection.epoch.tolist() == [2, 2]


def test_a_larger_patience_continues_what_a_smaller_one_stopped() -> None:
    stopped = run(Rule("val/auroc", patience=1), [(0.9, 0.1), (0.8, 0.1)])
    assert stopped.stopped.all()
    longer = Selection(Rule("val/auroc", patience=3))
    longer.load_state_dict(stopped.state_dict())
    assert not longer.stopped.any()
    longer.update(2, [0.95], [0.1])
    assert longer.epoch.tolist() == [2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": "test/auroc"}, r"select.metric is a validation metric \(val/...\) or null, got 'test/auroc'"),
        ({"metric": 3}, "select.metric is a validation metric"),
        ({"patience": 0}, "select.patience is a whole number >= 1 or null, got 0"),
        ({"patience": 2.0}, "select.patience is a whole number >= 1 or null, got 2.0"),
        ({"patience": True}, "select.patience is a whole number >= 1 or null, got True"),
        ({"metric": None, "patience": 3}, "select.patience=3 needs a select.metric to watch, got null"),
        ({"min_delta": -0.1}, "select.min_delta is a number >= 0, got -0.1"),
        ({"min_delta": math.nan}, "select.min_delta is a number >= 0, got nan"),
        ({"min_delta": math.inf}, "select.min_delta is a number >= 0, got inf"),
        ({"min_delta": "0.1"}, "select.min_delta is a number >= 0, got '0.1'"),
        ({"min_delta": False}, "select.min_delta is a number >= 0, got False"),
    ],
)
def test_refusals(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rule(**arguments)
