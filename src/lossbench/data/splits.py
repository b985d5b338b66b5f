"""Train, validation and test rows of one table, stratified by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import StratifiedKFold, train_test_split

from lossbench import streams
from lossbench.errors import DataError


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers (int64) of the three splits: disjoint, together every row; ``test`` None if not asked for.

    The rows of ``train`` and ``val`` stand in random order, so the first rows of them are a random sample.
    """

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray | None


def by_fraction(y: np.ndarray, class_names: Sequence[str], val: float, test: float, seed: int) -> Split:
    """Cut a table by fractions of all its rows, each to the nearest row; every class in proportion.

    Parameters
    ----------
    y
        (N,) class indices.
    class_names
        For messages.
    val, test
        Fractions of N; ``test=0`` makes no test split. The test rows do not depend on ``val``.
    seed
        Of the ``split`` stream.

    Raises
    ------
    DataError
        If a split would have fewer rows than there are classes, or a class fewer than two rows to divide.

    Examples
    --------
    >>> split = by_fraction(np.repeat([0, 1], 50), ["no", "yes"], val=0.2, test=0.1, seed=0)
    >>> len(split.train), len(split.val), len(split.test)
    (70, 20, 10)
    """
    rest = np.arange(len(y))
    held_out = None
    if test > 0:
        rest, held_out = _cut(rest, y, class_names, round(test * len(y)), "test", seed)
    train, chosen = _cut(rest, y, class_names, round(val * len(y)), "val", seed)
    return Split(train=train, val=chosen, test=held_out)


def by_fold(y: np.ndarray, class_names: Sequence[str], val: float, folds: int, fold: int, seed: int) -> Split:
    """Cut a table into stratified folds; fold ``fold`` is the test split, and ``val`` a fraction of the rest.

    The folds of one seed are disjoint and cover the table. See
    https://scikit-learn.org/stable/modules/generated/sklearn.model_selection.StratifiedKFold.html

    Raises
    ------
    DataError
        If a class has fewer rows than there are folds, or as in `by_fraction`.

    Examples
    --------
    >>> split = by_fold(np.repeat([0, 1], 50), ["no", "yes"], val=0.25, folds=5, fold=2, seed=0)
    >>> len(split.train), len(split.val), len(split.test)
    (60, 20, 20)
    """
    for name, count in zip(class_names, np.bincount(y, minlength=len(class_names)), strict=True):
        if count < folds:
            raise DataError(f"{folds} folds need {folds} rows of every class, class {name!r} has {count}")
    state = streams.integer(seed, "split", bits=32)
    cuts = StratifiedKFold(folds, shuffle=True, random_state=state).split(np.zeros(len(y)), y)
    rest, held_out = list(cuts)[fold]
    train, chosen = _cut(rest, y, class_names, round(val * len(rest)), "val", seed)
    return Split(train=train, val=chosen, test=held_out)


def _cut(
    rows: np.ndarray, y: np.ndarray, class_names: Sequence[str], size: int, what: str, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Take ``size`` of these rows out, stratified; return what is left and what was taken."""
    classes = len(class_names)
    if size < classes or len(rows) - size < classes:
        raise DataError(
            f"a stratified {what} split needs a row per class on both sides, {classes} or more, "
            f"got {size} of {len(rows)} rows"
        )
    for name, count in zip(class_names, np.bincount(y[rows], minlength=classes), strict=True):
        if count < 2:
            raise DataError(f"a stratified {what} split needs two rows of every class, class {name!r} has {count}")
    state = streams.integer(seed, "split", bits=32)
    left, taken = train_test_split(rows, test_size=size, stratify=y[rows], random_state=state)
    return left, taken
