"""What a table's columns are for: features, weights, groups, times, splits, classes; and where two roles collide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lossbench.data.dataset import Dataset
from lossbench.data.table import Table
from lossbench.errors import DataError

ROWS = 240


def people() -> pd.DataFrame:
    random = np.random.default_rng(0)
    rows = np.arange(ROWS)
    return pd.DataFrame(
        {
            "id": [f"P{row}" for row in rows],
            "age": random.integers(18, 90, ROWS),
            "zip": [f"{row % 7:05d}" for row in rows],
            "w": random.integers(0, 3, ROWS),
            "patient": [f"p{row // 6}" for row in rows],
            "when": pd.date_range("2020-01-01", periods=ROWS).strftime("%Y-%m-%d"),
            "part": np.array(["train", "train", "train", "val", "test"])[rows % 5],
            "level": np.array(["mid", "low", "high"])[random.integers(0, 3, ROWS)],
        }
    )


@pytest.fixture
def path(tmp_path: Path) -> str:
    people().to_csv(tmp_path / "people.csv", index=False)
    return str(tmp_path / "people.csv")


ROLES = ["id", "w", "patient", "when", "part"]


def prepared(path: str, **arguments: Any) -> Dataset:
    used = {value for key, value in arguments.items() if key in ("weight", "group", "time", "split_column")}
    drop = [name for name in ROLES if name not in used]
    return Table(path=path, target="level", drop=drop, **arguments).prepare()


def test_only_features_are_features(path: str) -> None:
    for arguments in ({}, {"weight": "w"}, {"group": "patient"}, {"time": "when"}, {"split_column": "part"}):
        assert list(prepared(path, **arguments).preprocessing.schema) == ["age", "zip"]


def test_numbers_that_are_names_are_kept_as_they_are_written(path: str) -> None:
    assert prepared(path).preprocessing.schema["zip"] == "numeric"
    dataset = prepared(path, categorical=["zip"])
    assert dataset.preprocessing.schema == {"age": "numeric", "zip": "categorical"}
    assert "zip=00003" in dataset.feature_names


def test_weights_are_those_of_the_training_rows(path: str) -> None:
    dataset = prepared(path, weight="w")
    assert dataset.train.weight is not None
    assert dataset.train.weight.tolist() == people()["w"].to_numpy()[dataset.train.index].tolist()
    assert dataset.val.weight is None
    assert prepared(path).digest != dataset.digest


def test_groups_times_and_given_splits_decide(path: str) -> None:
    frame = people()
    by_group = prepared(path, group="patient")
    patients = [set(frame["patient"][rows.index]) for rows in (by_group.train, by_group.val, by_group.test)]
    assert sum(map(len, patients)) == frame["patient"].nunique()
    by_fold = prepared(path, group="patient", fold=1, folds=4)
    assert not set(frame["patient"][by_fold.test.index]) & set(frame["patient"][by_fold.train.index])
    by_time = prepared(path, time="when")
    assert by_time.train.index.max() < by_time.val.index.min() < by_time.val.index.max() < by_time.test.index.min()
    given = prepared(path, split_column="part")
    for part, rows in (("train", given.train), ("val", given.val), ("test", given.test)):
        assert set(rows.index) == set(np.flatnonzero(frame["part"] == part))


def test_another_file_is_the_test_split(path: str, tmp_path: Path) -> None:
    later = people().iloc[::-1].assign(age=lambda frame: frame["age"] + 1)
    later.to_parquet(tmp_path / "later.parquet")
    dataset = prepared(path, test_path=str(tmp_path / "later.parquet"))
    assert len(dataset.test) == ROWS
    assert len(dataset.train) + len(dataset.val) == ROWS
    np.testing.assert_allclose(dataset.preprocessing.apply(later), dataset.test.x)
    assert [dataset.task.class_names[label] for label in dataset.test.y] == later["level"].tolist()
    other = later.assign(age=0)
    other.to_parquet(tmp_path / "other.parquet")
    assert prepared(path, test_path=str(tmp_path / "other.parquet")).digest != dataset.digest


def test_text_is_text_in_the_test_file_too(tmp_path: Path) -> None:
    codes = pd.DataFrame({"code": ["007", "08", "X1"] * 20, "y": [0, 1] * 30})
    codes.to_csv(tmp_path / "codes.csv", index=False)
    codes[codes["code"] != "X1"].to_csv(tmp_path / "later.csv", index=False)  # they all look like numbers
    dataset = Table(path=str(tmp_path / "codes.csv"), target="y", test_path=str(tmp_path / "later.csv")).prepare()
    assert dataset.feature_names == ("code=007", "code=08", "code=X1")
    assert dataset.test.x.sum(axis=0).tolist() == [20, 20, 0]


def test_the_order_of_the_classes_is_chosen(path: str) -> None:
    assert prepared(path).task.class_names == ("high", "low", "mid")
    dataset = prepared(path, classes=["low", "mid", "high"])
    assert dataset.task.class_names == ("low", "mid", "high")
    labels = people()["level"].to_numpy()[dataset.train.index]
    assert [dataset.task.class_names[label] for label in dataset.train.y] == labels.tolist()


def test_listed_classes_are_taken_as_they_are(tmp_path: Path) -> None:
    pd.DataFrame({"x": range(60), "y": ["Yes", "yes", "no"] * 20}).to_csv(tmp_path / "t.csv", index=False)
    classes: list[str | int | bool] = ["no", "yes", "Yes"]
    assert Table(path=str(tmp_path / "t.csv"), target="y", classes=classes).draw().class_names == ("no", "yes", "Yes")
    pd.DataFrame({"x": range(66), "y": list(range(33)) * 2}).to_csv(tmp_path / "t.csv", index=False)
    assert len(Table(path=str(tmp_path / "t.csv"), target="y", classes=list(range(33))).draw().class_names) == 33


def test_features_fit_in_single_precision(path: str) -> None:
    double, single = (prepared(path, dtype=dtype) for dtype in ("float64", "float32"))
    assert (double.train.x.dtype, single.train.x.dtype) == (np.float64, np.float32)
    np.testing.assert_array_equal(double.train.x.astype(np.float32), single.train.x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"drop": ["idd"]}, "has no column for data.drop 'idd'; did you mean 'id'? It has 'id', 'age'"),
        ({"weight": "W"}, "has no column for data.weight 'W'; did you mean 'w'?"),
        ({"categorical": ["x"]}, "has no column of a given kind 'x'; it has"),
        ({"group": "level"}, "column 'level' is the target, and cannot be a group column as well"),
        ({"weight": "patient"}, "column 'patient' needs a number in row 1, got 'p0'"),
        ({"time": "zip2"}, "has no column for data.time 'zip2'; did you mean 'zip'?"),
        ({"time": "patient"}, "time column 'patient' needs numbers or dates, got categorical values such as 'p0'"),
        ({"split_column": "zip"}, "the split column says train, val or test, got '0' in row 1"),
        (
            {"classes": ["low", "high"]},
            "classes=['low', 'high'] are not those of 'level', which has 'high', 'low', 'mid'",
        ),
        ({"drop": ["id", "age", "zip", "w", "patient", "when", "part"]}, "has no feature columns beside the target"),
        ({"boolean": ["age"]}, "column 'age' needs a boolean in row 1, got"),
        ({"dates": ["age"]}, "column 'age' needs a date in row 1, got"),
        ({"numeric": ["id"]}, "column 'id' needs a number in row 1, got 'P0'"),
    ],
)
def test_roles_that_cannot_be_are_one_line(path: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        Table(path=path, target="level", **arguments).prepare()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, -2.0], "weight column 'w' needs weights >= 0, got -2.0 in row 2"),
        ([1.0, None], "weight column 'w' has a missing value in row 2"),
        ([0.0, 0.0], "the weights in column 'w' are 0 in every training row"),
    ],
)
def test_weights_that_cannot_be(tmp_path: Path, values: list[Any], message: str) -> None:
    path = tmp_path / "t.csv"
    pd.DataFrame({"x": range(40), "w": values * 20, "y": [0, 1] * 20}).to_csv(path, index=False)
    with pytest.raises(DataError) as caught:
        Table(path=str(path), target="y", weight="w").prepare()
    assert str(caught.value).startswith(message)


def test_a_test_file_has_to_be_alike(path: str, tmp_path: Path) -> None:
    frame = people()
    for changed, message in [
        (frame.drop(columns="age"), "has no column 'age'"),
        (frame.assign(level="huge"), "target 'level' has 'huge' in row 1, which is none of 'high', 'low', 'mid'"),
        (frame.assign(age="old"), "column 'age' needs a number in row 1, got 'old'"),
    ]:
        changed.to_csv(tmp_path / "test.csv", index=False)
        with pytest.raises(DataError) as caught:
            prepared(path, test_path=str(tmp_path / "test.csv"))
        assert str(caught.value).startswith(str(tmp_path / "test.csv"))
        assert message in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"group": "a", "time": "b"},
            "Table needs one of time, split_column and group to decide the splits, got time=",
        ),
        ({"time": "b", "fold": 1}, "Table needs fold null with time, which decides the test split, got fold=1"),
        (
            {"split_column": "b", "test_path": "t.csv"},
            "Table needs one of test_path and split_column, got test_path='t.csv'",
        ),
        ({"drop": "id"}, "Table needs drop to be a list of columns, got drop='id'"),
        ({"classes": ["a"]}, "Table needs classes null or a list of two or more, got classes=['a']"),
        ({"impute": "zero"}, "Table needs impute null, median, mean, most_frequent, got impute='zero'"),
        ({"max_categories": 1}, "Table needs a whole number max_categories >= 2, got max_categories=1"),
        (
            {"min_frequency": 0},
            "Table needs min_frequency a whole number >= 1 or a fraction in (0, 1), got min_frequency=0",
        ),
        ({"encoding": "klingon"}, "Table needs encoding null or one that Python knows, got encoding='klingon'"),
        ({"encoding": "hex"}, "Table needs encoding null or one that Python knows, got encoding='hex'"),
        ({"delimiter": ";;"}, "Table needs delimiter null or one character, got delimiter=';;'"),
        ({"date_format": "ymd"}, "Table needs date_format null or one like %d.%m.%Y, got date_format='ymd'"),
        ({"dtype": "float16"}, "Table needs dtype null, float32 or float64, got dtype='float16'"),
        ({"weight": 1.5}, "Table needs weight null or a column, got weight=1.5"),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Table(path="a.csv", target="y", **arguments)
    assert str(caught.value).startswith(message)
