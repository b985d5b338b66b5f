"""Predictions as a file, written a block of rows at a time, so that there may be more of them than memory holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TextIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lossbench.errors import UserError

# Of a table, read and written at a time.
BLOCK = 100_000


class Writer(Protocol):
    """Takes tables of the same columns one after the other."""

    def __call__(self, frame: pd.DataFrame) -> None: ...


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """Write a CSV or Parquet file block by block; it appears when it is complete, and an unfinished one is removed.

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
    """Return a writer of tables as CSV into an open file, with one header."""
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
