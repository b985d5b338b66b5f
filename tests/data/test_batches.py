"""Batches: each row once an epoch, in an order of seed and epoch alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lossbench.data.batches import Batches
from lossbench.data.order import shuffled_order


def rows(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    y = torch.arange(n)
    return torch.stack([y.double(), -y.double()], dim=1), y


def visited(batches: Batches) -> list[int]:
    return [int(label) for _, y in batches for label in y]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(n=st.integers(1, 60), size=st.integers(1, 70), shuffle=st.booleans(), epoch=st.integers(0, 5))
def test_an_epoch_visits_each_row_once_with_its_own_label(n: int, size: int, shuffle: bool, epoch: int) -> None:
    x, y = rows(n)
    batches = Batches(x, y, size, seed=3, shuffle=shuffle)
    batches.set_epoch(epoch)
    seen = list(batches)
    lengths = [len(labels) for _, labels in seen]
    assert len(seen) == len(batches)
    assert sum(lengths) == n
    assert all(length == min(size, n) for length in lengths[:-1])
    assert sorted(visited(batches)) == list(range(n))
    for inputs, labels in seen:
        assert torch.equal(inputs, x[labels])


def test_the_order_is_the_named_function_of_seed_and_epoch() -> None:
    x, y = rows(23)
    batches = Batches(x, y, 5, seed=7)
    for epoch in (0, 4):
        batches.set_epoch(epoch)
        torch.manual_seed(epoch + 1)
        before = torch.get_rng_state()
        assert visited(batches) == visited(batches) == shuffled_order(7, epoch, 23).tolist()
        assert torch.equal(torch.get_rng_state(), before)
    assert len({tuple(shuffled_order(seed, epoch, 23).tolist()) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_without_shuffling_rows_keep_their_order() -> None:
    assert visited(Batches(*rows(11), 4, seed=0, shuffle=False)) == list(range(11))


@pytest.mark.parametrize("size", [None, 6, 100])
def test_a_full_batch_is_the_tensors_themselves(size: int | None) -> None:
    x, y = rows(6)
    batches = Batches(x, y, size, seed=0)
    ((inputs, labels),) = batches
    assert inputs is x
    assert labels is y
    assert len(batches) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "Batches needs batch_size None or an integer >= 1, got batch_size=0"),
        ({"batch_size": 2.0}, "Batches needs batch_size None or an integer >= 1, got batch_size=2.0"),
        ({"y": torch.arange(2)}, "Batches needs x and y with the same rows, at least one, got x=3, y=2"),
        (
            {"x": torch.zeros(0, 2), "y": torch.arange(0)},
            "Batches needs x and y with the same rows, at least one, got x=0, y=0",
        ),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    x, y = rows(3)
    with pytest.raises(ValueError) as caught:
        Batches(**{"x": x, "y": y, "batch_size": 2, "seed": 0, **arguments})
    assert str(caught.value) == message
