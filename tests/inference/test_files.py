"""Predictions in blocks become one file, which is there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from lossbench.errors import UserError
from lossbench.inference.files import writing

TABLE = pd.DataFrame({"a": [1.5, None, 3.0, 4.0, 5.0], "city": ["Ä", "b\nc", None, "d", "e"]})


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_blocks_are_written_as_one_file(ending: str, tmp_path: Path) -> None:
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
