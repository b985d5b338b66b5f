"""Tables a block of rows at a time, so that a file larger than memory can be predicted: read, and written."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TextIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lossbench.errors import DataError, UserError

ROWS = 100_000


def pieces(path: Path, text: Collection[str] = (), rows: int = ROWS) -> Iterator[pd.DataFrame]:
    """Yield the rows of a CSV or Parquet file, so many at a time, with the numbers of the rows as index, from 1.

    A file without rows yields one empty piece.

    Parameters
    ----------
    path
        The file.
    text
        Columns that stay text in a CSV file, such as codes, for what a reader would guess from one piece it might not
        guess from the next.
    rows
        Of a piece.

    Raises
    ------
    DataError
        For a file that is missing or cannot be read.
    """
    if not path.is_file():
        raise DataError(f"{path} is not a file" if path.exists() else f"there is no file {path}")
    name = path.name.lower()
    if name.endswith((".csv", ".csv.gz")):
        found = _csv(path, text, rows)
    elif name.endswith(".parquet"):
        found = _parquet(path, rows)
    else:
        raise DataError(f"a table is a .csv, .csv.gz or .parquet file, got {path}")
    start = 1
    try:
        for frame in found:
            frame.columns = pd.Index([str(name) for name in frame.columns], dtype=object)
            yield frame.set_axis(pd.RangeIndex(start, start + len(frame)))
            start += len(frame)
    except (OSError, pa.ArrowInvalid, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {' '.join(str(error).split())}") from error


def _csv(path: Path, text: Collection[str], rows: int) -> Iterator[pd.DataFrame]:
    kinds = dict.fromkeys(text, "str")
    with pd.read_csv(path, dtype=kinds, chunksize=rows, index_col=False, low_memory=False) as reader:
        yield from reader


def _parquet(path: Path, rows: int) -> Iterator[pd.DataFrame]:
    with pq.ParquetFile(path) as file:
        empty = True
        for batch in file.iter_batches(rows):
            empty = False
            yield batch.to_pandas()
        if empty:
            yield file.schema_arrow.empty_table().to_pandas()


class Writer(Protocol):
    """Takes tables of the same columns one after the other."""

    def __call__(self, frame: pd.DataFrame) -> None: ...


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """Write a CSV or Parquet file piece by piece; it is there once all of it is, and nothing is left of a part.

    Raises
    ------
    UserError
        For another ending, or a folder that is not there.
    """
    name = path.name.lower()
    if not name.endswith((".csv", ".parquet")):
        raise UserError(f"predictions are written as .csv or .parquet, got {path}")
    partial = path.with_name(f".{path.name}.partial")
    try:
        with _csv_writer(partial) if name.endswith(".csv") else _parquet_writer(partial) as writer:
            yield writer
        partial.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _csv_writer(path: Path) -> Iterator[Writer]:
    with path.open("w", encoding="utf-8", newline="") as file:
        yield lines(file)


def lines(file: TextIO) -> Writer:
    """Return what writes tables as CSV into an open file, the header once."""
    state = {"header": True}

    def write(frame: pd.DataFrame) -> None:
        frame.to_csv(file, header=state["header"], index=False, lineterminator="\n")
        state["header"] = False

    return write


@contextmanager
def _parquet_writer(path: Path) -> Iterator[Writer]:
    opened: list[pq.ParquetWriter] = []

    def write(frame: pd.DataFrame) -> None:
        table = pa.Table.from_pandas(frame, preserve_index=False)
        if not opened:
            opened.append(pq.ParquetWriter(path, table.schema))
        opened[0].write_table(table.cast(opened[0].schema))

    try:
        yield write
    finally:
        for writer in opened:
            writer.close()
