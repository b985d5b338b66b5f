"""The task: what it derives, and what is no task."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

from lossbench.errors import DataError
from lossbench.task import Task


def test_two_classes_share_one_score() -> None:
    task = Task(2, ("outer", "inner"), (30, 10))
    assert (task.n_classes, task.n_scores, task.binary, task.n_train) == (2, 1, True, 40)
    assert task.priors == (0.75, 0.25)


def test_more_classes_have_one_each() -> None:
    task = Task(1, ("a", "b", "c"), (1, 1, 2))
    assert (task.n_classes, task.n_scores, task.binary, task.n_train) == (3, 3, False, 4)
    assert task.priors == (0.25, 0.25, 0.5)


def test_it_is_frozen_and_travels() -> None:
    task = Task(2, ("a", "b"), (1, 1))
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.n_features = 3
    assert pickle.loads(pickle.dumps(task)) == task
    assert len({task, Task(2, ("a", "b"), (1, 1)), Task(2, ("a", "b"), (1, 2))}) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, ("a", "b"), (1, 1)), "a task needs n_features >= 1, got n_features=0"),
        ((1, ("a",), (1,)), r"a task needs two classes or more, got \['a'\]"),
        ((1, ("a", "b"), (1, 1, 1)), "one count per class, got 3 counts for 2 classes"),
        ((1, ("a", "b"), (1, 0)), "every class needs a training row, class 'b' has 0"),
    ],
)
def test_refusals(arguments: tuple, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Task(*arguments)
