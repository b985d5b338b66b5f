"""Laws of the stratified splits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossbench.data.splits import Split, by_fold, by_fraction
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
