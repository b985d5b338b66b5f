"""Laws of the stratified splits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossbench.data.splits import Split, by_column, by_fold, by_fraction, by_group, by_group_fold, by_time
from lossbench.errors import DataError

law = settings(derandomize=True, deadline=None, max_examples=40)
class_sizes = st.lists(st.integers(20, 200), min_size=2, max_size=4)
fractions = st.floats(0.1, 0.4)


def labels(sizes: list[int]) -> tuple[np.ndarray, list[str]]:
    return np.repeat(np.arange(len(sizes)), sizes), [f"class {c}" for c in range(len(sizes))]


def parts(split: Split) -> list[np.ndarray]:
    return [part for part in (split.train, split.val, split.test) if part is not None]


@law
@given(sizes=class_sizes, val=fractions, test=st.one_of(st.just(0.0), fractions), seed=st.integers(0, 99))
def test_fractions_are_exact_disjoint_and_in_proportion(sizes: list[int], val: float, test: float, seed: int) -> None:
    y, names = labels(sizes)
    split = by_fraction(y, names, val, test, seed)
    assert sorted(np.concatenate(parts(split))) == list(range(len(y)))
    assert len(split.val) == round(val * len(y))
    assert (split.test is None) == (test == 0)
    if split.test is not None:
        assert len(split.test) == round(test * len(y))
    for part in parts(split):
        expected = np.array(sizes) * len(part) / len(y)
        # each of the two cuts rounds a class's share to a neighbouring integer
        assert (np.abs(np.bincount(y[part], minlength=len(sizes)) - expected) < 2).all()


@law
@given(sizes=class_sizes, folds=st.integers(2, 8), seed=st.integers(0, 99))
def test_folds_partition_the_rows_and_each_class(sizes: list[int], folds: int, seed: int) -> None:
    y, names = labels(sizes)
    splits = [by_fold(y, names, 0.25, folds, fold, seed) for fold in range(folds)]
    assert sorted(np.concatenate([split.test for split in splits])) == list(range(len(y)))
    for split in splits:
        assert sorted(np.concatenate(parts(split))) == list(range(len(y)))
        assert len(split.val) == round(0.25 * (len(y) - len(split.test)))
        per_class = np.bincount(y[split.test], minlength=len(sizes))
        assert (np.abs(per_class - np.array(sizes) / folds) <= 1).all()


def test_the_seed_decides_the_folds() -> None:
    y, names = labels([60, 40])
    first, again, other = (set(by_fold(y, names, 0.2, 5, 1, seed).test) for seed in (0, 0, 1))
    assert first == again != other


def test_exact_proportions_give_exact_class_counts() -> None:
    y, names = labels([600, 300, 100])
    split = by_fraction(y, names, val=0.2, test=0.1, seed=5)
    counts = [np.bincount(y[part]).tolist() for part in parts(split)]
    assert counts == [[420, 210, 70], [120, 60, 20], [60, 30, 10]]


def test_the_seed_decides_and_the_test_rows_do_not_depend_on_val() -> None:
    y, names = labels([60, 40])
    one, again = (by_fraction(y, names, 0.2, 0.2, seed=0) for _ in range(2))
    wider, other = by_fraction(y, names, 0.3, 0.2, seed=0), by_fraction(y, names, 0.2, 0.2, seed=1)
    assert np.array_equal(one.train, again.train)
    assert np.array_equal(one.val, again.val)
    assert np.array_equal(one.test, wider.test)
    assert set(one.test) != set(other.test)


def test_training_rows_stand_in_random_order() -> None:
    y, names = labels([500, 500])
    split = by_fraction(y, names, 0.2, 0.2, seed=0)
    for part in (split.train, split.val):
        first = y[part[: len(part) // 2]].mean()
        assert 0.4 < first < 0.6


@pytest.mark.parametrize(
    ("sizes", "val", "test", "message"),
    [
        ([100, 1], 0.2, 0.2, "a stratified test split needs two rows of every class, class 'class 1' has 1"),
        ([100, 2], 0.3, 0.5, "a stratified val split needs two rows of every class, class 'class 1' has 1"),
        (
            [50, 50],
            0.01,
            0.2,
            "a stratified val split needs a row per class on both sides, 2 or more, got 1 of 80 rows",
        ),
        (
            [50, 50],
            0.8,
            0.19,
            "a stratified val split needs a row per class on both sides, 2 or more, got 80 of 81 rows",
        ),
    ],
)
def test_what_cannot_be_stratified_is_refused(sizes: list[int], val: float, test: float, message: str) -> None:
    y, names = labels(sizes)
    with pytest.raises(DataError) as caught:
        by_fraction(y, names, val, test, seed=0)
    assert str(caught.value) == message


def test_folds_need_as_many_rows_of_every_class() -> None:
    y, names = labels([100, 4])
    assert len(by_fold(y, names, 0.2, folds=4, fold=0, seed=0).test) == 26
    with pytest.raises(DataError, match="5 folds need 5 rows of every class, class 'class 1' has 4"):
        by_fold(y, names, 0.2, folds=5, fold=0, seed=0)


@law
@given(groups=st.integers(12, 40), val=fractions, test=st.one_of(st.just(0.0), fractions), seed=st.integers(0, 99))
def test_groups_stay_together(groups: int, val: float, test: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    group = random.integers(0, groups, 600)
    y = random.integers(0, 2, 600)
    split = by_group(y, ["no", "yes"], group, val, test, seed)
    assert sorted(np.concatenate(parts(split))) == list(range(600))
    of_part = [set(group[part]) for part in parts(split)]
    assert sum(map(len, of_part)) == len(set(group))
    assert (split.test is None) == (test == 0)
    assert abs(len(split.val) / 600 - val) < 0.15


def test_folds_of_groups_cover_the_table() -> None:
    y, group = np.tile([0, 1], 100), np.repeat(np.arange(20), 10)
    splits = [by_group_fold(y, ["no", "yes"], group, 0.25, 4, fold, 0) for fold in range(4)]
    assert sorted(np.concatenate([split.test for split in splits])) == list(range(200))
    assert all(not set(group[split.train]) & set(group[split.test]) for split in splits)
    assert not np.array_equal(splits[0].test, by_group_fold(y, ["no", "yes"], group, 0.25, 4, 0, 1).test)


@law
@given(moments=st.lists(st.integers(0, 60), min_size=60, max_size=200), seed=st.integers(0, 9))
def test_time_never_runs_back(moments: list[int], seed: int) -> None:
    times = np.array(moments, dtype=float)
    y = np.arange(len(times)) % 2
    try:
        split = by_time(y, ["no", "yes"], times, 0.2, 0.2, seed)
    except DataError:
        return
    assert sorted(np.concatenate(parts(split))) == list(range(len(times)))
    # strictly: rows of one moment stay together
    assert times[split.train].max() < times[split.val].min()
    assert times[split.val].max() < times[split.test].min()
    other = by_time(y, ["no", "yes"], times, 0.2, 0.2, seed + 1)
    assert all(set(one) == set(two) for one, two in zip(parts(split), parts(other), strict=True))


def test_distinct_moments_give_exact_fractions_in_random_order_within() -> None:
    y = np.tile([0, 1], 500)
    split = by_time(y, ["no", "yes"], np.arange(1000.0)[::-1], 0.2, 0.1, seed=0)
    assert [len(part) for part in parts(split)] == [700, 200, 100]
    assert 0.4 < (split.train[:350] > 650).mean() < 0.6


def test_a_given_split_is_taken_as_it_is() -> None:
    labels = ["train"] * 50 + [" Dev "] * 20 + ["test"] * 30
    y = np.tile([0, 1], 50)
    split = by_column(y, ["no", "yes"], labels, 0.2, 0)
    assert [set(part) for part in parts(split)] == [set(range(50)), set(range(50, 70)), set(range(70, 100))]
    without = by_column(y, ["no", "yes"], ["train"] * 80 + ["test"] * 20, 0.25, 0)
    assert [len(part) for part in parts(without)] == [60, 20, 20]
    assert by_column(y, ["no", "yes"], ["train"] * 80 + ["val"] * 20, 0.25, 0).test is None


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (
            lambda y, names: by_group(y, names, np.repeat([0, 1, 2], [40, 30, 30]), 0.2, 0.2, 0),
            "a test split of whole groups, one of 5 parts, needs 5 groups, got 3",
        ),
        (
            lambda y, names: by_time(y, names, np.repeat([0.0, 1.0], 50), 0.2, 0.2, 0),
            "an ordered split with val=0.2 and test=0.2 needs moments before, between and after its cuts; the table "
            "has 2 different ones in 100 rows",
        ),
        (
            lambda y, names: by_time(np.sort(y), names, np.arange(100.0), 0.2, 0.2, 0),
            "the time split leaves validation without a row of class 'no', of 20 rows",
        ),
        (
            lambda y, names: by_column(y, names, ["train"] * 99 + ["holdout"], 0.2, 0),
            "the split column says train, val or test, got 'holdout' in row 100",
        ),
        (lambda y, names: by_column(y, names, ["test"] * 100, 0.2, 0), "the split column has no row that says train"),
        (
            lambda y, names: by_column(y, names, ["train", "val"] * 50, 0.2, 0),
            "the given split leaves training without a row of class 'yes', of 50 rows",
        ),
    ],
)
def test_splits_that_cannot_be_made(cut: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        cut(np.tile([0, 1], 50), ["no", "yes"])
    assert str(caught.value) == message
