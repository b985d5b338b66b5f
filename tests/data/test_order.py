"""Plans of batches: what each row and each class is due in an epoch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lossbench.data.batches import Batches
from lossbench.data.iris import Iris
from lossbench.data.order import balanced_order, plan_batches, shuffled_order
from lossbench.data.rings import Rings

QUICK = settings(derandomize=True, deadline=None, max_examples=60)
LABELS = st.lists(st.integers(0, 3), min_size=1, max_size=80).map(torch.tensor)


@QUICK
@given(y=LABELS, size=st.integers(1, 90), epoch=st.integers(0, 3))
def test_a_stratified_epoch_visits_each_row_once_and_spreads_each_class_evenly(
    y: torch.Tensor, size: int, epoch: int
) -> None:
    batches = plan_batches(y, size, seed=5, epoch=epoch, stratified=True)
    assert torch.cat(batches).sort().values.tolist() == list(range(len(y)))
    assert len(batches) == -(-len(y) // size)
    sizes = [len(rows) for rows in batches]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] <= size
    assert sizes[0] - sizes[-1] <= 1
    for label in y.unique():
        held = [int((y[rows] == label).sum()) for rows in batches]
        assert max(held) - min(held) <= 1
        if (y == label).sum() >= len(batches):
            assert min(held) >= 1


@QUICK
@given(y=LABELS, epoch=st.integers(0, 3))
def test_a_balanced_epoch_holds_every_class_equally_often(y: torch.Tensor, epoch: int) -> None:
    rows = balanced_order(y, seed=5, epoch=epoch)
    assert rows.shape == y.shape
    held = y[rows].bincount(minlength=4)[y.unique()]
    assert held.sum() == len(y)
    assert held.max() - held.min() <= 1


def test_a_balanced_epoch_draws_each_row_of_a_class_alike() -> None:
    y = torch.tensor([0] * 6 + [1] * 3 + [2])
    times = sum((balanced_order(y, 1, epoch).bincount(minlength=10) for epoch in range(3000)), torch.zeros(10))
    # 10/3 places a class and epoch, shared by its rows; six standard deviations
    expected = 3000 * 10 / 3 / torch.tensor([6.0] * 6 + [3.0] * 3 + [1.0])
    assert ((times - expected).abs() < 6 * expected.sqrt()).all()


def test_places_are_shuffled_and_classes_not_in_turn() -> None:
    y = torch.tensor([0] * 50 + [1] * 50)
    drawn = y[balanced_order(y, 0, 0)]
    changes = int((drawn.diff() != 0).sum())
    assert 30 < changes < 70  # 99 if the classes took turns, 1 if they stood in blocks


@pytest.mark.parametrize("sampler", ["natural", "balanced"])
@pytest.mark.parametrize("stratified", [True, False])
def test_a_plan_depends_on_seed_and_epoch_alone(sampler: str, stratified: bool) -> None:
    y = torch.arange(40) % 3

    def made(seed: int, epoch: int) -> tuple[int, ...]:
        return tuple(torch.cat(plan_batches(y, 7, seed, epoch, sampler, stratified)).tolist())

    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = made(0, 0)
    torch.manual_seed(4)
    assert made(0, 0) == first
    torch.manual_seed(3)
    made(0, 1)
    assert torch.equal(torch.get_rng_state(), before)
    assert len({first, made(0, 1), made(1, 0)}) == 3


def test_a_natural_plan_is_the_order_cut_in_pieces() -> None:
    y = torch.arange(23) % 2
    assert torch.equal(torch.cat(plan_batches(y, 5, 7, 2)), shuffled_order(7, 2, 23))


def test_stratified_rows_of_a_class_change_places_between_epochs() -> None:
    y = torch.tensor([0] * 30 + [1] * 6)
    first = {tuple(plan_batches(y, 12, 0, epoch, stratified=True)[0][-2:].tolist()) for epoch in range(8)}
    assert len(first) > 4


def test_a_balanced_stratified_epoch_has_both_classes_in_the_smallest_batches() -> None:
    y = torch.tensor([0] * 39 + [1])
    for rows in plan_batches(y, 2, 0, 0, "balanced", stratified=True):
        assert y[rows].sort().values.tolist() == [0, 1]


def test_batches_follow_the_plan() -> None:
    y = torch.tensor([0] * 30 + [1] * 3)
    x = torch.arange(33.0)[:, None]
    for sampler, stratified in (("balanced", False), ("natural", True), ("balanced", True)):
        batches = Batches(x, y, 12, seed=4, sampler=sampler, stratified=stratified)
        batches.set_epoch(2)
        seen = list(batches)
        planned = plan_batches(y, 12, 4, 2, sampler, stratified)
        assert len(seen) == len(batches) == len(planned) == 3
        for (inputs, labels), rows in zip(seen, planned, strict=True):
            assert inputs[:, 0].tolist() == rows.tolist()
            assert torch.equal(labels, y[rows])


def test_a_balanced_full_batch_is_drawn() -> None:
    y = torch.tensor([0] * 30 + [1] * 2)
    ((x, labels),) = Batches(torch.arange(32.0)[:, None], y, None, seed=0, sampler="balanced")
    assert labels.bincount().tolist() == [16, 16]
    assert torch.equal(y[x[:, 0].long()], labels)


def test_a_wrong_sampler_is_named() -> None:
    with pytest.raises(ValueError) as caught:
        Batches(torch.zeros(2, 1), torch.zeros(2), None, 0, sampler="fair")
    assert str(caught.value) == "Batches needs sampler 'natural' or 'balanced', got sampler='fair'"
    with pytest.raises(ValueError) as caught:
        Iris(sampler="fair")
    assert str(caught.value) == "Iris needs sampler 'natural' or 'balanced', got sampler='fair'"


def test_sampling_rates_are_shares_in_the_batches_over_priors() -> None:
    natural, balanced = (Rings(positives=60, negatives=240, sampler=sampler) for sampler in ("natural", "balanced"))
    assert natural.prepare().sampling_rates is None
    dataset = balanced.prepare()
    y = torch.as_tensor(dataset.train.y)
    shares = y[torch.cat(plan_batches(y, 16, 0, 0, dataset.sampler))].bincount() / len(y)
    assert dataset.task.class_counts == (192, 48)  # those of the split, whatever is drawn
    assert dataset.sampling_rates == pytest.approx((shares / torch.tensor([0.8, 0.2])).tolist(), rel=1e-6)
