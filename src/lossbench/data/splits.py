"""Train, validation and test rows of one table: stratified by class, by whole groups, by time, or as given."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, train_test_split

from lossbench import randomness
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
    state = randomness.integer(seed, "split", bits=32)
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
    state = randomness.integer(seed, "split", bits=32)
    left, taken = train_test_split(rows, test_size=size, stratify=y[rows], random_state=state)
    return left, taken


# What a given split column may hold, and what it means.
GIVEN = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
         "test": "test", "testing": "test"}  # fmt: skip


def by_group(
    y: np.ndarray, class_names: Sequence[str], groups: np.ndarray, val: float, test: float, seed: int
) -> Split:
    """Cut a table so that the rows of a group stay together; classes in proportion as far as the groups allow.

    The fractions are reached as nearly as equal folds of groups reach them: a test of .3 is a third. See
    https://scikit-learn.org/stable/modules/generated/sklearn.model_selection.StratifiedGroupKFold.html

    Parameters
    ----------
    groups
        (N,) group numbers.
    **others
        As in `by_fraction`.

    Raises
    ------
    DataError
        For fewer groups than splits, or groups that leave training or validation without a class.

    Examples
    --------
    >>> y, groups = np.tile([0, 1], 50), np.repeat(np.arange(20), 5)
    >>> split = by_group(y, ["no", "yes"], groups, val=0.2, test=0.2, seed=0)
    >>> set(groups[split.train]) & set(groups[split.test])
    set()
    """
    rest, held_out = np.arange(len(y)), None
    if test > 0:
        rest, held_out = _cut_groups(rest, y, groups, max(2, round(1 / test)), 0, "test", seed)
    parts = max(2, round(1 / (val * len(y) / len(rest))))
    train, chosen = _cut_groups(rest, y, groups, parts, 0, "val", seed)
    return _with_every_class(Split(train, chosen, held_out), y, class_names, "group")


def by_group_fold(
    y: np.ndarray, class_names: Sequence[str], groups: np.ndarray, val: float, folds: int, fold: int, seed: int
) -> Split:
    """Cut a table into folds of whole groups; fold ``fold`` is the test split, and ``val`` a fraction of the rest."""
    rest, held_out = _cut_groups(np.arange(len(y)), y, groups, folds, fold, "test", seed)
    train, chosen = _cut_groups(rest, y, groups, max(2, round(1 / val)), 0, "val", seed)
    return _with_every_class(Split(train, chosen, held_out), y, class_names, "group")


def _cut_groups(
    rows: np.ndarray, y: np.ndarray, groups: np.ndarray, folds: int, fold: int, what: str, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    count = len(np.unique(groups[rows]))
    if count < folds:
        raise DataError(f"a {what} split of whole groups, one of {folds} parts, needs {folds} groups, got {count}")
    if len(rows) and np.bincount(y[rows]).max() < folds:
        raise DataError(f"a {what} split, one of {folds} parts, needs a class of {folds} rows or more")
    state = randomness.integer(seed, "split", bits=32)
    with warnings.catch_warnings():
        # A class with fewer rows than folds is refused below, where training or validation lacks it.
        warnings.filterwarnings("ignore", "The least populated class in y has only")
        folded = StratifiedGroupKFold(folds, shuffle=True, random_state=state)
        left, taken = list(folded.split(np.zeros(len(rows)), y[rows], groups[rows]))[fold]
    shuffled = np.random.default_rng(state).permutation
    return shuffled(rows[left]), shuffled(rows[taken])


def by_time(
    y: np.ndarray, class_names: Sequence[str], moments: np.ndarray, val: float, test: float, seed: int
) -> Split:
    """Cut a table in order of time: the last rows are the test split, those before them validation.

    Rows of one moment stay together, on the later side, so that nothing is learnt from the moment that is judged. The
    splits do not depend on the seed, which shuffles the rows within them alone.

    Parameters
    ----------
    moments
        (N,) float64; the larger the later.
    **others
        As in `by_fraction`.

    Raises
    ------
    DataError
        Where a split would be empty, or training or validation lack a class.

    Examples
    --------
    >>> moments = np.arange(100.0)
    >>> split = by_time(np.tile([0, 1], 50), ["no", "yes"], moments, val=0.2, test=0.1, seed=0)
    >>> [float(moments[rows].min()) for rows in (split.train, split.val, split.test)]
    [0.0, 70.0, 90.0]
    """
    order = np.argsort(moments, kind="stable")
    ordered = moments[order]

    def first_of_its_moment(number: int) -> int:
        return int(np.searchsorted(ordered, ordered[min(max(number, 0), len(order) - 1)], side="left"))

    end = len(order) if test == 0 else first_of_its_moment(len(order) - round(test * len(order)))
    start = first_of_its_moment(end - round(val * len(order)))
    if start == 0 or start >= end or (test > 0 and end >= len(order)):
        raise DataError(
            f"an ordered split with val={val} and test={test} needs moments before, between and after its cuts; "
            f"the table has {len(np.unique(moments))} different ones in {len(order)} rows"
        )
    shuffled = np.random.default_rng(randomness.integer(seed, "split")).permutation
    held_out = shuffled(order[end:]) if test > 0 else None
    return _with_every_class(
        Split(shuffled(order[:start]), shuffled(order[start:end]), held_out), y, class_names, "time"
    )


def by_column(y: np.ndarray, class_names: Sequence[str], labels: Sequence[str | None], val: float, seed: int) -> Split:
    """Cut a table as a column of it says: ``train``, ``val`` (or ``valid``, ``validation``, ``dev``) and ``test``.

    Without validation rows ``val`` of the training rows are cut off, stratified; without test rows there is no test
    split.

    Raises
    ------
    DataError
        For another word, no training rows, or training or validation rows that lack a class.

    Examples
    --------
    >>> labels = ["train"] * 60 + ["val"] * 20 + ["test"] * 20
    >>> split = by_column(np.tile([0, 1], 50), ["no", "yes"], labels, val=0.2, seed=0)
    >>> sorted(split.test) == list(range(80, 100))
    True
    """
    meant = np.array([GIVEN.get(str(label).strip().lower(), "") for label in labels])
    if (meant == "").any():
        row = int(np.argmax(meant == ""))
        raise DataError(f"the split column says train, val or test, got {str(labels[row])[:40]!r} in row {row + 1}")
    parts = {name: np.flatnonzero(meant == name) for name in ("train", "val", "test")}
    if len(parts["train"]) == 0:
        raise DataError("the split column has no row that says train")
    shuffled = np.random.default_rng(randomness.integer(seed, "split")).permutation
    held_out = shuffled(parts["test"]) if len(parts["test"]) else None
    if len(parts["val"]) == 0:
        size = round(val * len(parts["train"]))
        train, chosen = _cut(parts["train"], y, class_names, size, "val", seed)
        return Split(train, chosen, held_out)
    return _with_every_class(Split(shuffled(parts["train"]), shuffled(parts["val"]), held_out), y, class_names, "given")


def _with_every_class(split: Split, y: np.ndarray, class_names: Sequence[str], how: str) -> Split:
    """Refuse a split in which something could not be learnt or selected; a class may be missing in test."""
    for what, rows in (("training", split.train), ("validation", split.val)):
        counts = np.bincount(y[rows], minlength=len(class_names))
        if (counts == 0).any():
            name = class_names[int(np.argmin(counts))]
            raise DataError(f"the {how} split leaves {what} without a row of class {name!r}, of {len(rows)} rows")
    return split
