"""Files of tables in every dialect: one content, many ways to write it; and a fuzz that no traceback leaves."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lossbench.data.table import Table
from lossbench.data.tables import loading, memory, reading
from lossbench.data.tables.dialect import Dialect, lay_out
from lossbench.data.tables.kinds import infer
from lossbench.data.tables.parsing import with_points
from lossbench.data.tables.reading import blocks, estimate, read
from lossbench.errors import DataError

CONTENT = pd.DataFrame(
    {
        "größe": [1.5, -2.25, None, 4.0] * 5,
        "note": ['zwei\nZeilen; "ja", nein', "a,b", "c;d", None] * 5,
        "zip": ["00123", "10000", "00123", "9"] * 5,
        "y": ["no", "yes", "no", "yes"] * 5,
    }
)


def written(delimiter: str = ",", decimal: str = ".", encoding: str = "utf-8", end: str = "\n") -> bytes:
    text = CONTENT.to_csv(index=False, sep=delimiter, decimal=decimal, lineterminator=end)
    return text.encode(encoding)


@pytest.mark.parametrize(
    ("name", "content", "dialect"),
    [
        ("t.csv", written(), Dialect()),
        ("t.csv", written(end="\r\n"), Dialect()),
        ("t.csv", written(encoding="utf-8-sig"), Dialect()),
        ("t.csv", written(encoding="utf-16"), Dialect()),
        ("t.csv", written(encoding="latin-1"), Dialect(encoding="latin-1")),
        ("t.csv", written(";"), Dialect()),
        ("t.csv", written(";", ","), Dialect()),
        ("t.csv", written(";", ",", "cp1252"), Dialect(encoding="cp1252")),
        ("t.tsv", written("\t"), Dialect()),
        ("t.txt", written("|"), Dialect()),
        ("t.csv", written("~"), Dialect(delimiter="~")),
        ("t.csv", written(",", ","), Dialect(decimal=",")),
        ("t.csv.gz", gzip.compress(written(";", ",")), Dialect()),
        ("t.csv.bz2", bz2.compress(written()), Dialect()),
        ("t.tsv.xz", lzma.compress(written("\t")), Dialect()),
    ],
)
def test_one_content_in_every_dialect(tmp_path: Path, name: str, content: bytes, dialect: Dialect) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    found = read(path, dialect, text=["zip"])
    pd.testing.assert_frame_equal(found, CONTENT, check_dtype=False, check_column_type=False)
    pieces = list(blocks(path, 7, dialect))
    assert [len(piece) for piece in pieces] == [7, 7, 6]
    whole = pd.concat(pieces, ignore_index=True)
    assert whole["zip"].tolist() == CONTENT["zip"].tolist()
    assert whole.attrs["decimal"] == lay_out(path, dialect).decimal
    numbers = whole["größe"] if whole.attrs["decimal"] == "." else with_points(whole["größe"])
    np.testing.assert_array_equal(pd.to_numeric(numbers), CONTENT["größe"])


def test_blanks_behind_delimiters_belong_to_them(tmp_path: Path) -> None:
    path = tmp_path / "adult.csv"
    path.write_text('age, work, note\n39, State-gov, "a, b"\n50, ?, c\n')
    assert read(path).astype(object).where(lambda values: values.notna(), None).to_dict("list") == {
        "age": [39, 50], "work": ["State-gov", None], "note": ["a, b", "c"],
    }  # fmt: skip


@pytest.mark.parametrize("ending", ["parquet", "feather"])
def test_parquet_and_feather(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"t.{ending}"
    (CONTENT.to_parquet if ending == "parquet" else CONTENT.to_feather)(path)
    pd.testing.assert_frame_equal(read(path), CONTENT, check_column_type=False)
    pd.testing.assert_frame_equal(
        pd.concat(blocks(path, 7), ignore_index=True), CONTENT, check_column_type=False, check_dtype=False
    )


def test_numbers_with_a_point_stand_beside_those_with_a_comma(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a;b;y\n" + "1,5;2.5;0\n2,25;3.5;1\n" * 20)
    assert lay_out(path).decimal == ","
    draw = Table(path=str(path), target="y").draw()
    assert draw.loaded.kinds.of == {"a": "numeric", "b": "numeric"}
    assert draw.x.iloc[1].tolist() == [2.25, 3.5]


def test_a_decimal_comma_is_one_in_numbers_alone(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("size;price;y\n" + "38,5;1,5;0\n39;2,25;1\n" * 20)
    dataset = Table(path=str(path), target="y", categorical=["size"], scale="none").prepare()
    assert dataset.feature_names == ("size=38,5", "size=39", "price")
    for raw in (read(path, text=["size"]), pd.concat(blocks(path, 7), ignore_index=True)):
        assert dataset.preprocessing.apply(raw)[:2].tolist() == [[1, 0, 1.5], [0, 1, 2.25]]


@pytest.mark.parametrize(
    "number", ["1,234", "1.234.567", "12 345,5", "$6,009.69", "$-12", "-€ 3.50", "45%", "4.5 %", "1.234,50 €"]
)
def test_marks_between_thousands_and_units_are_not_guessed(tmp_path: Path, number: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a;y\n" + f"{number};0\n{number};1\n" * 20, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        Table(path=str(path), target="y").draw()
    assert str(caught.value).startswith(f"column 'a' holds {number!r} in row 1: a number with a comma or with marks")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b,a\n1,2,3\n", ": columns 1 and 3 are both called 'a'"),
        (b"a, a \n1,2\n", ": columns 1 and 2 are both called 'a'"),
        (b"\0\1\2,a\n", " is no text file: its beginning holds zero bytes"),
        (
            b"a,b\n" + b"1,%0300d\n" % 2 * 1_999 + b"1,\xff\n",
            " is not utf-8: byte 0xff in line 2001; name its encoding",
        ),
        (b" \n \n", " is empty"),
        (b'a,b\n1,"2\n', " cannot be read as csv: "),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}{message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "content"), [("t.csv.gz", b"no gzip"), ("t.xz", b""), ("t.feather", b"ARROW1")])
def test_files_that_are_not_what_they_say(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read as|a table is a"):
        read(tmp_path / name)


def test_a_header_without_a_name_gets_its_number(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(",b,\n1,2,3\n")
    assert list(read(path).columns) == ["column 1", "b", "column 3"]


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_the_size_in_memory_is_known_before(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 8_000
    random = np.random.default_rng(0)
    frame = pd.DataFrame({f"x{number}": random.normal(size=rows) for number in range(8)})
    frame = frame.assign(city=random.choice(["Bern", "Rome"], rows), y=random.integers(0, 2, rows))
    path = tmp_path / f"t.{ending}"
    if ending == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    true = read(path).memory_usage(deep=True).sum()
    assert 0.5 < estimate(path) / true < 1.5
    monkeypatch.setattr(memory, "available", lambda: 1_000_000)
    with pytest.raises(DataError) as caught:
        Table(path=str(path), target="y").draw()
    said = str(caught.value)
    assert said.startswith(f"{path} needs about ")
    assert said.endswith("and 1.0 MB are free; take fewer rows or columns, or a machine with more memory")
    # what fits as a table may not fit as features
    monkeypatch.setattr(memory, "available", lambda: int(loading.FACTOR * 1.5 * true))
    with pytest.raises(DataError, match=r"as 8000 rows of 3\d\d? features needs about .* data.max_categories"):
        Table(
            path=str(path), target="y", categorical=[f"x{number}" for number in range(8)], min_frequency=1,
            max_categories=40,
        ).prepare()  # fmt: skip


def test_a_large_file_is_read_in_pieces_as_it_is_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame(
        {
            "whole": range(100),
            "gaps": [None] * 40 + list(range(60)),
            "flag": ["True"] * 50 + ["False"] * 40 + [None] * 10,
            "word": [str(row) for row in range(90)] + ["unknown"] * 10,
            "text": [f"a{row % 3}" for row in range(100)],
            "nothing": None,
        }
    )
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    at_once = read(path)
    monkeypatch.setattr(reading, "_LARGE", 100)
    monkeypatch.setattr(reading, "_PIECE", 7)
    pieces = read(path)
    pd.testing.assert_frame_equal(pieces.drop(columns="flag"), at_once.drop(columns="flag"), check_dtype=False)
    for found in (pieces, at_once):
        assert infer(found.drop(columns="word")).of == {
            "whole": "numeric", "gaps": "numeric", "flag": "boolean", "text": "categorical", "nothing": "numeric",
        }  # fmt: skip
    assert pieces["word"].tolist() == at_once["word"].tolist()


def test_what_is_free_is_known_here() -> None:
    found = memory.available()
    assert found is None or found > 1_000_000


ODD = (
    """1|2.5|3,5|NA|?|true|False|2020-01-31|01/02/2020|1e400|-inf|nan|99999999999999999999|"|0001|１|31.12.1999|1 000"""
)
fields = st.one_of(
    st.text(max_size=6),
    st.sampled_from([*ODD.split("|"), "", "a\nb", "\ufeff", "\0"]),
    st.floats().map(str),
    st.integers().map(str),
)


@st.composite
def tables(draw: Any) -> bytes:
    """A file: a table with odd values, or text that hardly is one, in some encoding."""
    kind = draw(st.sampled_from(["sound target", "any table", "text"]))
    if kind == "sound target":
        odd = draw(st.lists(st.lists(fields, min_size=2, max_size=2), min_size=1, max_size=4))
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer, delimiter=draw(st.sampled_from(",;\t|")))
        writer.writerow(["y", "a", "b"])
        writer.writerows([label, *odd[row % len(odd)]] for row in range(12) for label in ("yes", "no"))
        text = buffer.getvalue()
    elif kind == "any table":
        width = draw(st.integers(1, 4))
        records = draw(st.lists(st.lists(fields, min_size=width, max_size=width), max_size=12))
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer, delimiter=draw(st.sampled_from(",;\t|")))
        names = draw(st.permutations(["y", "a", "b", "c d"]))[:width]
        writer.writerow(names if draw(st.booleans()) else ["y", *draw(st.lists(fields, max_size=3))])
        writer.writerows(records)
        text = buffer.getvalue()
    else:
        text = "y,a\n" + draw(st.text(max_size=60))
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]))
    return text.encode(encoding, errors="replace")


@settings(derandomize=True, deadline=None, max_examples=150)
@given(content=st.one_of(tables(), st.binary(max_size=60)), complete=st.booleans())
@example(content=b"y\n" + b"a\n" * 9, complete=False)
@example(content=b"y,a\n" + b'"' * 9, complete=False)
def test_no_traceback_reaches_a_person(tmp_path_factory: Any, content: bytes, complete: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.csv"
    path.write_bytes(content)
    source = Table(path=str(path), target="y", impute=None if complete else "median", val=0.3, test=0.3)
    try:
        dataset = source.prepare()
    except DataError as refusal:
        said = str(refusal)
        dataset = None
    if dataset is None:
        assert "\n" not in said
        return
    assert np.isfinite(dataset.train.x).all()
    assert dataset.train.x.shape[1] == dataset.task.n_features
    # raw columns give the same features again, read at once or in blocks of text
    for raw in (read(path, source.dialect), pd.concat(blocks(path, 5, source.dialect), ignore_index=True)):
        again = dataset.preprocessing.apply(raw)
        np.testing.assert_array_equal(again[dataset.train.index], dataset.train.x)


def test_rows_are_counted_as_they_stand_whatever_index_was_saved(tmp_path: Path) -> None:
    frame = pd.DataFrame({"age": ["1"] * 39 + ["old"], "y": [0, 1] * 20})
    path = tmp_path / "t.parquet"
    frame.set_axis(pd.Index([7, 7] * 20)).to_parquet(path)
    assert [block.index.tolist() for block in blocks(path, 30)] == [list(range(30)), list(range(10))]
    with pytest.raises(DataError, match="'old' in row 40;"):
        Table(path=str(path), target="y").draw()


@pytest.mark.parametrize("ending", ["parquet", "feather"])
def test_the_same_texts_are_missing_in_every_kind_of_file(tmp_path: Path, ending: str) -> None:
    frame = pd.DataFrame({"plan": ["a", "", "?", "b", "-"], "y": ["no", "yes", "no", "yes", "no"]})
    path = tmp_path / f"t.{ending}"
    (frame.to_parquet if ending == "parquet" else frame.to_feather)(path)
    frame.to_csv(tmp_path / "t.csv", index=False)
    for dialect in (Dialect(), Dialect(missing=("-",))):
        gaps = read(tmp_path / "t.csv", dialect)["plan"].isna().tolist()
        assert read(path, dialect)["plan"].isna().tolist() == gaps
        assert pd.concat(blocks(path, 2, dialect), ignore_index=True)["plan"].isna().tolist() == gaps
        assert sum(gaps) == 2


def test_words_that_usually_mean_a_gap_can_be_words(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("country,y\nNA,None\n,Some\nDE,None\n" + "NA,None\nDE,Some\n" * 20)
    with pytest.raises(DataError, match="missing value in row 1; where NA, None or null is a class"):
        Table(path=str(path), target="y").draw()
    draw = Table(path=str(path), target="y", usual_missing=False).draw()
    assert draw.class_names == ("None", "Some")
    assert draw.x["country"].iloc[:3].isna().tolist() == [False, True, False]
    assert draw.x["country"].cat.categories.tolist() == ["DE", "NA"]


def test_a_feather_file_is_streamed_batch_by_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({"x": range(100), "y": ["a", "b"] * 50})
    frame.to_feather(tmp_path / "t.feather", chunksize=40)
    monkeypatch.setattr("lossbench.data.tables.reading.feather.read_feather", None)  # it would hold the whole table
    sizes = [len(block) for block in blocks(tmp_path / "t.feather", 30)]
    assert (sizes, max(sizes)) == ([30, 10, 30, 10, 20], 30)
    assert pd.concat(blocks(tmp_path / "t.feather", 30))["x"].tolist() == list(range(100))
    # packed in the file, plain in memory
    for rows in (50_000, 100_000, 1_000_000):
        path = tmp_path / f"{rows}.feather"
        pd.DataFrame({"x": np.zeros(rows)}).to_feather(path)
        assert path.stat().st_size < rows
        assert estimate(path) == pytest.approx(8 * rows, rel=0.01)
