"""Tables in pieces: the same rows whatever the size of a piece, and a file that is there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from lossbench.errors import UserError
from lossbench.inference.files import pieces, writing

TABLE = pd.DataFrame({"a": [1.5, None, 3.0, 4.0, 5.0], "city": ["Ä", "b\nc", None, "d", "e"]})


def written(folder: Path, ending: str, frame: pd.DataFrame = TABLE) -> Path:
    path = folder / f"table{ending}"
    frame.to_parquet(path) if ending == ".parquet" else frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
@pytest.mark.parametrize("rows", [1, 2, 100])
def test_pieces_are_the_whole_table(ending: str, rows: int, tmp_path: Path) -> None:
    found = list(pieces(written(tmp_path, ending), ["city"], rows))
    assert all(len(piece) <= rows for piece in found)
    whole = pd.concat(found)
    assert whole.index.tolist() == [1, 2, 3, 4, 5]
    assert whole["a"].astype(float).tolist()[2:] == [3.0, 4.0, 5.0]
    assert whole["a"].isna().tolist() == TABLE["a"].isna().tolist()
    assert whole["city"].dropna().tolist() == TABLE["city"].dropna().tolist()


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_table_without_rows_has_its_columns(ending: str, tmp_path: Path) -> None:
    (found,) = pieces(written(tmp_path, ending, TABLE[:0]))
    assert (len(found), list(found)) == (0, ["a", "city"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, "there is no file"),
        ("table.xlsx", b"x", "a table is a .csv, .csv.gz or .parquet file"),
        ("empty.csv", b"", "cannot be read"),
        ("torn.csv", b"a,b\n1,2\n1,2,3\n", "cannot be read"),
        ("false.parquet", b"PAR1", "cannot be read"),
        ("latin.csv", "a\nÄ\n".encode("latin-1"), "cannot be read"),
    ],
)
def test_what_cannot_be_read_says_so(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as refused:
        list(pieces(tmp_path / name))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_pieces_are_written_as_one_file(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"said{ending}"
    with writing(path) as write:
        write(TABLE[:2])
        assert not path.exists()
        write(TABLE[2:])
    back = pd.read_parquet(path) if ending == ".parquet" else pd.read_csv(path)
    pd.testing.assert_frame_equal(back, TABLE, check_dtype=False)


def test_nothing_is_left_of_a_file_that_broke(tmp_path: Path) -> None:
    (tmp_path / "said.csv").write_text("old")
    with pytest.raises(ZeroDivisionError), writing(tmp_path / "said.csv") as write:
        write(TABLE)
        _ = 1 / 0
    assert [path.name for path in tmp_path.iterdir()] == ["said.csv"]
    assert (tmp_path / "said.csv").read_text() == "old"
    with pytest.raises(UserError, match=r"written as .csv or .parquet"), writing(tmp_path / "said.json"):
        pass
    with pytest.raises(UserError, match="cannot be written"), writing(tmp_path / "nowhere" / "said.csv"):
        pass
