"""What is said of a table: constants, names of rows, leaks and duplicates are found where they are, and only there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris

from lossbench.data.table import Table
from lossbench.data.tables.inspection import Inspection, alone, inspect

ROWS = 400


def people() -> pd.DataFrame:
    random = np.random.default_rng(0)
    target = random.integers(0, 2, ROWS)
    return pd.DataFrame(
        {
            "id": [f"K{row:05d}" for row in range(ROWS)],
            "age": np.where(random.random(ROWS) < 0.1, np.nan, random.normal(50, 9, ROWS)),
            "plan": random.choice(["basic", "pro"], ROWS),
            "site": "north",
            "nothing": np.nan,
            "closed": np.where(target == 1, random.choice(["moved", "price"], ROWS), "–"),
            "bill": target * 100 + random.normal(0, 9, ROWS),
            "y": np.where(target == 1, "yes", "no"),
        }
    )


def inspected(tmp_path: Path, frame: pd.DataFrame, **arguments: Any) -> Inspection:
    frame.to_csv(tmp_path / "t.csv", index=False)
    return inspect(Table(path=str(tmp_path / "t.csv"), target="y", **arguments))


def test_every_column_is_noted_for_what_it_is(tmp_path: Path) -> None:
    found = inspected(tmp_path, people())
    assert {column.name: column.note for column in found.columns} == {
        "id": "names rows?",
        "age": "",
        "plan": "",
        "site": "constant",
        "nothing": "always missing",
        "closed": "predicts the target alone: a leak?",
        "bill": "predicts the target alone: a leak?",
    }
    assert (found.useless, found.leaks) == (["id", "site", "nothing"], ["closed", "bill"])
    age = next(column for column in found.columns if column.name == "age")
    assert (age.kind, age.features, age.missing) == ("numeric", 2, people()["age"].isna().mean())
    assert found.classes == {name: int(count) for name, count in people()["y"].value_counts().sort_index().items()}
    assert found.splits == {"train": 240, "val": 80, "test": 80}
    assert (found.repeated, found.straddling, found.contradicting) == (0, 0, 0)


def test_duplicates_are_counted_within_and_across_splits(tmp_path: Path) -> None:
    frame = people()[["age", "plan", "y"]].dropna().drop_duplicates(["age", "plan"])
    twice = pd.concat([frame, frame], ignore_index=True)
    found = inspected(tmp_path, twice)
    assert found.repeated == len(frame)
    source = Table(path=str(tmp_path / "t.csv"), target="y")
    dataset = source.prepare()
    seen = {tuple(row) for row in dataset.train.x}
    across = sum(tuple(row) in seen for rows in (dataset.val, dataset.test) for row in rows.x)
    assert found.straddling == across > 0
    groups = twice.assign(row=[*range(len(frame)), *range(len(frame))])
    assert inspected(tmp_path, groups, group="row").straddling == 0


def test_rows_that_contradict_each_other_are_counted(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [1, 1, *range(2, 60)], "y": [0, 1, *[0, 1] * 29]})
    assert inspected(tmp_path, frame).contradicting == 2


def test_a_table_that_cannot_be_split_is_still_looked_at(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": range(50), "y": ["rare", *["a", "b"] * 24, "a"]})
    found = inspected(tmp_path, frame)
    assert found.problem == "a stratified test split needs two rows of every class, class 'rare' has 1"
    assert found.splits is found.straddling is None
    assert np.isnan(found.columns[0].alone)


def test_a_column_alone_is_judged_on_rows_that_it_was_not_fitted_to() -> None:
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 3000)
    names = pd.Series(pd.Categorical([f"n{row}" for row in range(3000)]))
    assert alone(names, y, 3) == pytest.approx(0.5)
    assert abs(alone(pd.Series(random.normal(size=3000)), y, 3) - 0.5) < 0.05
    assert alone(pd.Series(y.astype(float)), y, 3) == 1
    gaps = pd.Series(np.where(y[:1000] == 1, np.nan, 7.0))
    assert alone(gaps, (y[:1000] == 1).astype(int), 2) == 1
    iris = load_iris()
    scores = [alone(pd.Series(iris.data[:, column]), iris.target, 3) for column in range(4)]
    assert scores[1] < 0.8 < scores[3] < 0.999


def test_an_index_that_was_saved_along_counts_rows_and_says_nothing(tmp_path: Path) -> None:
    frame = people()[["age", "y"]].assign(**{"": np.arange(ROWS)[::-1], "year": 2000 + np.arange(ROWS) % 9})
    found = inspected(tmp_path, frame)
    assert {column.name: column.note for column in found.columns if column.note} == {"column 3": "names rows?"}
    assert found.useless == ["column 3"]


def test_categories_that_are_written_in_two_ways_are_noted(tmp_path: Path) -> None:
    frame = people()[["age", "y"]].assign(plan=np.resize(["Basic", "pro", "basic "], ROWS))
    note = "'Basic' and 'basic ' differ in capitals or blanks alone"
    assert [column.note for column in inspected(tmp_path, frame).columns] == ["", note]
