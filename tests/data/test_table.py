"""Tables: what is read, and the one line that says what is wrong with a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lossbench.data.table import Table
from lossbench.errors import DataError

N = 40


def good() -> pd.DataFrame:
    rows = np.arange(N)
    return pd.DataFrame(
        {
            "age": rows % 7,
            "income": rows / 3,
            "member": rows % 2 == 0,
            "churned": np.where(rows % 4 == 0, "yes", "no"),
        }
    )


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., str]:
    def write(frame: pd.DataFrame, ending: str = "csv") -> str:
        path = tmp_path / f"people.{ending}"
        if ending == "csv":
            frame.to_csv(path, index=False)
        else:
            frame.to_parquet(path)
        return str(path)

    return write


def refusal(path: str | Path, target: str = "churned", **arguments: Any) -> str:
    with pytest.raises(DataError) as caught:
        Table(path=str(path), target=target, **arguments).draw()
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_numbers_and_bools_become_float64_and_text_becomes_classes(save: Callable[..., str], ending: str) -> None:
    frame = good()
    table = Table(path=save(frame, ending), target="churned")
    draw = table.draw()
    assert table.name == "people"
    assert draw.feature_names == ("age", "income", "member")
    assert draw.class_names == ("no", "yes")
    assert draw.y.tolist() == (frame["churned"] == "yes").astype(int).tolist()
    expected = frame[["age", "income", "member"]].astype(float).to_numpy()
    np.testing.assert_allclose(draw.x, expected, rtol=1e-15)


def test_csv_and_parquet_of_one_table_prepare_alike(save: Callable[..., str]) -> None:
    frame = good().round(2)
    csv, parquet = (Table(path=save(frame, e), target="churned").prepare() for e in ("csv", "parquet"))
    assert csv.digest == parquet.digest
    assert np.array_equal(csv.train.index, parquet.train.index)
    assert (len(csv.train), len(csv.val)) == (24, 8)


@pytest.mark.parametrize(
    ("target", "names"),
    [
        (np.arange(N) % 2, ("0", "1")),
        (np.arange(N) % 3 + 9, ("9", "10", "11")),
        (np.arange(N) % 2 == 0, ("False", "True")),
        ((np.arange(N) % 2).astype(float), ("0", "1")),
        (np.arange(N) % 2 / 2, ("0.0", "0.5")),
        (np.array(["b", "a"])[np.arange(N) % 2], ("a", "b")),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_classes_are_sorted_by_value(
    save: Callable[..., str], ending: str, target: np.ndarray, names: tuple[str, ...]
) -> None:
    draw = Table(path=save(good().assign(churned=target), ending), target="churned").draw()
    assert draw.class_names == names
    order = {value: place for place, value in enumerate(sorted(set(target.tolist())))}
    assert draw.y.tolist() == [order[value] for value in target.tolist()]


@pytest.mark.parametrize(
    ("target", "positive", "names"),
    [
        (["no", "yes"], None, ("no", "yes")),
        (["no", "yes"], "yes", ("no", "yes")),
        (["no", "yes"], "no", ("yes", "no")),
        ([0, 1], 0, ("1", "0")),
        ([0, 1], "0", ("1", "0")),
        ([False, True], False, ("True", "False")),
        ([1, 2], None, ("1", "2")),
    ],
)
def test_the_positive_class_is_index_1(
    save: Callable[..., str], target: list[Any], positive: Any, names: tuple[str, str]
) -> None:
    column = np.array(target)[np.arange(N) % 2]
    draw = Table(path=save(good().assign(churned=column)), target="churned", positive=positive).draw()
    assert draw.class_names == names
    assert [names[label] for label in draw.y] == [str(value) for value in column.tolist()]


def test_parquet_categories_and_nullable_columns(save: Callable[..., str]) -> None:
    frame = good().astype({"churned": "category", "age": "Int64", "member": "boolean", "income": "Float64"})
    draw = Table(path=save(frame, "parquet"), target="churned").draw()
    assert draw.class_names == ("no", "yes")
    np.testing.assert_allclose(draw.x, good()[["age", "income", "member"]].astype(float).to_numpy())
    for kind in ("Int64", "boolean", "Float64"):
        column = pd.Series(np.arange(N) % 2).astype(kind)
        y = Table(path=save(good().assign(churned=column), "parquet"), target="churned").draw().y
        assert y.tolist() == [row % 2 for row in range(N)]


def test_a_header_that_is_a_number(save: Callable[..., str]) -> None:
    path = save(good().rename(columns={"churned": "7"}))
    assert Table(path=path, target=7).draw().class_names == ("no", "yes")


def test_a_home_folder_is_expanded(save: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(save(good()))
    monkeypatch.setenv("HOME", str(path.parent))
    assert len(Table(path="~/people.csv", target="churned").draw().y) == N


def test_missing_or_unreadable_files(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nowhere.csv") == f"there is no file {tmp_path / 'nowhere.csv'}"
    assert refusal(tmp_path) == f"{tmp_path} is not a file"
    for name, content, reason in [
        ("table.xlsx", b"x", "a table is a .csv, .tsv, .txt (also .gz, .bz2, .xz), .parquet, .pq, .feather or .arrow"),
        ("nothing.csv", b"", "is empty"),
        ("header.csv", b"age,churned\n", "has no rows below its header"),
        (
            "latin.csv",
            b"age,churned\n1,caf\xe9\n",
            "is not utf-8: byte 0xe9 in line 2; name its encoding, as in data.enc",
        ),
        ("ragged.csv", b"age,churned\n1,a\n2,b,3\n", "cannot be read as csv"),
        ("surplus.csv", b"age,churned\n1,a,5\n2,b,3\n", "cannot be read as csv"),
        ("fake.parquet", b"PAR1 not really", "cannot be read as parquet"),
    ]:
        (tmp_path / name).write_bytes(content)
        message = refusal(tmp_path / name)
        assert reason in message
        assert name in message


def test_a_missing_target_lists_the_columns_and_the_nearest(save: Callable[..., str]) -> None:
    path = save(good())
    columns = "It has 'age', 'income', 'member', 'churned'"
    assert refusal(path, "Churn") == f"{path} has no target column 'Churn'; did you mean 'churned'? {columns}"
    assert refusal(path, "zzz") == f"{path} has no target column 'zzz'; {columns.replace('It', 'it')}"


def test_many_columns_are_not_all_listed(save: Callable[..., str]) -> None:
    frame = pd.DataFrame({f"column{number}": [1, 2] for number in range(30)})
    assert refusal(save(frame), "zzz").endswith("'column19' and 10 more")


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("churned", ["yes"] * N, "target 'churned' needs two classes or more, every row has 'yes'"),
        (
            "churned",
            ["a", None] * (N // 2),
            "target 'churned' has a missing value in row 2; where NA, None or null is a class of a text file, say "
            "data.usual_missing=false",
        ),
        (
            "churned",
            np.arange(N),
            f"target 'churned' looks like a regression target (integers, {N} distinct values in {N} rows); where they "
            "are classes, list them in data.classes",
        ),
        (
            "churned",
            ["No", "Yes", "no"] + ["Yes"] * (N - 3),
            "target 'churned' has the classes 'No' and, in row 3, 'no', which differ in capitals or blanks alone: "
            "write them alike, or list the classes in data.classes",
        ),
        (
            "churned",
            (np.arange(N) / 7).tolist(),
            "target 'churned' looks like a regression target (float, 40 distinct values); "
            "classes are integers, bools or text",
        ),
        (
            "age",
            ["1"] * (N - 1) + ["x"],
            "column 'age' holds numbers, and 'x' in row 40; say data.missing=[x] where that means a missing value, or "
            "data.categorical=[age] where the numbers are names",
        ),
        ("age", [1.0] * (N - 1) + [np.nan], f"column 'age' has a missing value in row {N}"),
        ("age", [1.0] * (N - 1) + [-np.inf], f"column 'age' has an infinite value in row {N}"),
        ("age", [True] * (N - 1) + [None], f"column 'age' has a missing value in row {N}"),
        (
            "age",
            ["01/02/2020", "03/04/2021"] * (N // 2),
            "column 'age' holds dates like '01/02/2020', in which day and month could be either: say "
            "data.date_format='%m/%d/%Y' or data.date_format='%d/%m/%Y'",
        ),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_unfit_columns_are_named(
    save: Callable[..., str], ending: str, column: str, values: list[Any], message: str
) -> None:
    assert refusal(save(good().assign(**{column: values}), ending), impute=None) == message


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (pd.date_range("2020-01-01", periods=N), "Timestamp '2020-01-01 00:00:00'"),
        ([b"a", b"b"] * (N // 2), 'bytes "b'),
    ],
)
def test_labels_of_other_types_are_refused(save: Callable[..., str], values: Any, shown: str) -> None:
    message = refusal(save(good().assign(churned=values), "parquet"))
    assert message.startswith(f"target 'churned' needs integers, bools or text, got {shown}")


@pytest.mark.parametrize(
    ("values", "shown"),
    [([b"a"] * N, "bytes \"b'a'\""), ([[1]] * N, "ndarray '[1]'"), (pd.to_timedelta(range(N)), "Timedelta '0 days")],
)
def test_columns_of_other_types_are_refused(save: Callable[..., str], values: Any, shown: str) -> None:
    message = refusal(save(good().assign(age=values), "parquet"))
    assert message.startswith(f"column 'age' holds {shown}")
    assert message.endswith("which is no number, boolean, text or date; leave it out with data.drop=[age]")


def test_positive_must_be_one_of_two_classes(save: Callable[..., str]) -> None:
    path = save(good())
    assert refusal(path, positive="maybe") == "positive='maybe' is no class of 'churned', it has 'no' and 'yes'"
    assert refusal(path, "age", positive=1) == "positive=1 needs a target of two classes, 'age' has 7"


def test_a_table_needs_features(save: Callable[..., str]) -> None:
    path = save(good()[["churned"]])
    assert refusal(path) == f"{path} has no feature columns beside the target 'churned'"


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.parquet"
    columns = [pa.array([1, 2]), pa.array([3, 4]), pa.array(["a", "b"])]
    pq.write_table(pa.table(columns, names=["age", "age", "churned"]), path)
    assert refusal(path).startswith(f"{path} cannot be read as parquet: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "", "target": "y"}, "Table needs a path, got path=''"),
        ({"path": None, "target": "y"}, "Table needs a path, got path=None"),
        ({"path": "a.csv", "target": None}, "Table needs the name of the target column, got target=None"),
        (
            {"path": "a.csv", "target": "y", "positive": 0.5},
            "Table needs positive null or the name of a class, got positive=0.5",
        ),
        ({"path": "a.csv", "target": "y", "test": 2}, "Table needs 0 <= test < 1, got test=2"),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Table(**arguments)
    assert str(caught.value) == message
