"""Files of tables: CSV in any dialect, Parquet and Feather, compressed or not; every failure is one line."""

from __future__ import annotations

import csv
import io
import lzma
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import feather

from lossbench.data.tables.dialect import (
    BINARY,
    FOUND_OUT,
    PACKED,
    SAMPLE,
    TEXT,
    Dialect,
    Layout,
    ending_of,
    is_text_file,
    lay_out,
    open_bytes,
    undecodable,
)
from lossbench.data.tables.parsing import is_text
from lossbench.errors import DataError

# A text file of more bytes is read in pieces of so many rows.
_LARGE = 1 << 25
_PIECE = 1 << 16
_PARQUET = (".parquet", ".pq")


def read(path: Path, dialect: Dialect = FOUND_OUT, text: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table.

    Parameters
    ----------
    path
        ``.csv``, ``.tsv`` or ``.txt``, also with ``.gz``, ``.bz2`` or ``.xz`` behind it; ``.parquet``, ``.pq``,
        ``.feather`` or ``.arrow``.
    dialect
        Of a text file.
    text
        Columns of a text file that are kept as they are written: 007 stays 007.

    Raises
    ------
    DataError
        For a file that is missing, empty or cannot be read, and for two columns of one name.
    """
    with _reasons(path):
        if is_text_file(path):
            arguments = _arguments(lay_out(path, dialect), dialect, text)
            large = path.stat().st_size > _LARGE
            frame = _in_pieces(path, arguments) if large else pd.read_csv(path, **arguments, low_memory=False)
            return _named(frame, path)
        frame = pd.read_parquet(path) if ending_of(path) in _PARQUET else feather.read_feather(path)
    return _filed(frame, path, dialect)


def _in_pieces(path: Path, arguments: dict[str, Any]) -> pd.DataFrame:
    """Read a large text file piece by piece: at once, pandas takes several times the table's memory.

    A column whose pieces are of different kinds, such as numbers and then a word, is read once more as text, which is
    what it is as a whole.
    """
    pieces: dict[str, list[pd.Series]] = {name: [] for name in arguments["names"]}
    with pd.read_csv(path, **arguments, chunksize=_PIECE, low_memory=False) as reader:
        for piece in reader:
            for name in pieces:
                # A copy, so that the piece's block of all numbers can go.
                pieces[name].append(piece[name].copy())
    differing = [name for name, parts in pieces.items() if len({_family(part) for part in parts} - {"empty"}) > 1]
    again = {**arguments, "usecols": differing, "dtype": dict.fromkeys(differing, str)}
    text = pd.read_csv(path, **again, low_memory=False) if differing else None
    columns: dict[str, pd.Series] = {}
    for name in arguments["names"]:
        parts = pieces.pop(name)
        columns[name] = pd.concat(parts, ignore_index=True) if text is None or name not in differing else text[name]
    return pd.DataFrame(columns, copy=False)


def _family(part: pd.Series) -> str:
    """Return what pandas made of a piece of a column; integers and floats are alike, a piece of gaps is anything."""
    if part.isna().all():
        return "empty"
    if pd.api.types.is_bool_dtype(part.dtype):
        return "boolean"
    return "number" if pd.api.types.is_numeric_dtype(part.dtype) else str(part.dtype)


def blocks(path: Path, rows: int, dialect: Dialect = FOUND_OUT) -> Iterator[pd.DataFrame]:
    """Yield a table ``rows`` rows at a time; of a text file every column as text, so that all blocks are alike.

    Its ``attrs["decimal"]`` says what `lossbench.data.preprocessing.Preprocessing.apply` reads numbers with.
    """
    with _reasons(path):
        if is_text_file(path):
            layout = lay_out(path, dialect)
            arguments = {**_arguments(layout, dialect, layout.names), "decimal": "."}
            with pd.read_csv(path, **arguments, chunksize=rows) as reader:
                for block in reader:
                    # What is a number only its reader knows: text that looks like one stays as it is written.
                    block.attrs["decimal"] = layout.decimal
                    yield block
        else:
            for batch in _batches(path, rows):
                yield _filed(batch.to_pandas(), path, dialect)


def _batches(path: Path, rows: int) -> Iterator[pa.RecordBatch]:
    if ending_of(path) in _PARQUET:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(batch_size=rows)
        return
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
        for number in range(file.num_record_batches):
            batch = file.get_batch(number)
            yield from (batch.slice(start, rows) for start in range(0, batch.num_rows, rows))


def estimate(path: Path, dialect: Dialect = FOUND_OUT) -> int:
    """Return about how many bytes a table takes in memory, from its beginning or its own statistics; it is not read."""
    with _reasons(path):
        if is_text_file(path):
            layout = lay_out(path, dialect)
            with open_bytes(path) as file:
                sample = file.read(SAMPLE)
                # Of a packed file, how much of it held the sample.
                packed = getattr(file, "fileobj", getattr(file, "_fp", None))
                read = packed.tell() if path.suffix.lower() in PACKED and packed is not None else len(sample)
            whole = path.stat().st_size * len(sample) / max(read, 1)
            arguments = _arguments(layout, dialect, ())
            lines = sample.rpartition(b"\n")[0] if len(sample) == SAMPLE else sample
            try:
                frame = pd.read_csv(io.BytesIO(lines), **arguments, low_memory=False)
            except (ValueError, pd.errors.ParserWarning):  # cut within a quoted field: reading says what is wrong
                return int(2 * whole)
            return int(frame.memory_usage(deep=True).sum() * whole / max(len(lines), 1))
        if ending_of(path) in _PARQUET:
            metadata = pq.ParquetFile(path).metadata
            sizes = (metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
            return max(8 * metadata.num_rows * metadata.num_columns, sum(sizes))
        with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:  # packed on disk, as a rule
            # All but the last batch have as many rows as the first.
            ends = {0, file.num_record_batches - 1} if file.num_record_batches else set()
            held = [file.get_batch(number).nbytes for number in ends]
            between = (file.num_record_batches - len(ends)) * max(held, default=0)
            return max(sum(held) + between, path.stat().st_size)


def _arguments(layout: Layout, dialect: Dialect, text: Sequence[str]) -> dict[str, Any]:
    return {
        "sep": layout.delimiter,
        "decimal": layout.decimal,
        "encoding": layout.encoding,
        "header": 0,
        "names": list(layout.names),
        # A row that is longer than the header must not turn the first column into an index.
        "index_col": False,
        "skipinitialspace": True,
        "na_values": ["", *dialect.missing],
        "keep_default_na": dialect.usual_missing,
        "dtype": {name: str for name in text if name in layout.names},
    }


def _named(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    names = [str(name) for name in frame.columns]
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataError(f"{path}: two columns are called {name!r}")
        seen.add(name)
    frame.columns = pd.Index(names, dtype=object)
    return frame


def _filed(frame: pd.DataFrame, path: Path, dialect: Dialect) -> pd.DataFrame:
    """Return a table of a Parquet or Feather file, whose text has gaps where that of a text file would have.

    Its rows are numbered as they stand: an index that was saved with it may repeat itself.
    """
    frame = _named(frame, path)
    frame.index = pd.RangeIndex(len(frame))
    for name in frame.columns:
        if is_text(frame[name]):
            gaps = frame[name].isin(["", *dialect.missing])
            if gaps.any():
                frame[name] = frame[name].mask(gaps)
    return frame


@contextmanager
def _reasons(path: Path) -> Iterator[None]:
    """Turn whatever a reader raises into one line."""
    if not path.is_file():
        raise DataError(f"{path} is not a file" if path.exists() else f"there is no file {path}")
    ending = ending_of(path)
    if ending not in (*TEXT, *BINARY):
        raise DataError(
            f"a table is a {', '.join(TEXT)} (also .gz, .bz2, .xz), {', '.join(BINARY[:-1])} or {BINARY[-1]} file, "
            f"got {path}"
        )
    try:
        with warnings.catch_warnings():
            # pandas would drop the surplus fields of a row that is longer than the header, with a warning.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            yield
    except DataError:
        raise
    except UnicodeDecodeError as error:
        raise undecodable(path, error.encoding) from None
    except pd.errors.EmptyDataError:
        raise DataError(f"{path} is empty") from None
    except MemoryError:
        raise DataError(f"{path} does not fit into memory") from None
    except (OSError, EOFError, ValueError, NotImplementedError, OverflowError, zlib.error, lzma.LZMAError,
            csv.Error, pd.errors.ParserWarning, pa.ArrowException) as error:  # fmt: skip
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path} cannot be read as {ending[1:]}: {reason}") from error
