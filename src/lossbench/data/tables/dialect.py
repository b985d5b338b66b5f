"""How a text file of a table is written: its encoding, delimiter, decimal mark and header."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import lzma
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from lossbench.data.checks import require
from lossbench.errors import DataError

TEXT = (".csv", ".tsv", ".txt")
BINARY = (".parquet", ".pq", ".feather", ".arrow")
PACKED: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
DELIMITERS = (",", ";", "\t", "|")

SAMPLE = 1 << 18
_COMMA = re.compile(r"[+-]?\d+,(\d+)")
_BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def _is_text_encoding(encoding: str) -> bool:
    try:
        return bool(codecs.lookup(encoding)._is_text_encoding)
    except (LookupError, ValueError):
        return False


@dataclass(frozen=True)
class Dialect:
    """How a text file of a table is written; what is None is found out from its beginning.

    Parameters
    ----------
    delimiter
        One character; None: comma, semicolon, tab or bar, whichever divides the lines into equal numbers of fields.
    decimal
        ``"."`` or ``","``; None: a comma where the delimiter is another and numbers have commas. Numbers with a point
        are read beside those with a comma.
    encoding
        None: UTF-8, or UTF-16 where a byte order mark says so.
    missing
        Texts that stand for a missing value, beside the empty one.
    usual_missing
        Whether NA, NaN, None, null and the like do too, in a text file; other files say themselves what is missing.

    Raises
    ------
    ValueError
        For an argument of the wrong type.
    """

    delimiter: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    missing: tuple[str, ...] = ("?",)
    usual_missing: bool = True

    def __post_init__(self) -> None:
        one = self.delimiter is None or (isinstance(self.delimiter, str) and len(self.delimiter) == 1)
        require(one and self.delimiter not in ("\n", "\r", '"'), "Table", "delimiter null or one character",
                delimiter=self.delimiter)  # fmt: skip
        require(self.decimal in (None, ".", ","), "Table", "decimal null, '.' or ','", decimal=self.decimal)
        require(isinstance(self.usual_missing, bool), "Table", "usual_missing true or false",
                usual_missing=self.usual_missing)  # fmt: skip
        text = self.encoding is None or (isinstance(self.encoding, str) and _is_text_encoding(self.encoding))
        require(text, "Table", "encoding null or one that Python knows", encoding=self.encoding)


# Everything is found out from the file.
FOUND_OUT = Dialect()


@dataclass(frozen=True)
class Layout:
    """A text file's own dialect and its header."""

    delimiter: str
    decimal: str
    encoding: str
    names: tuple[str, ...]


def is_text_file(path: Path) -> bool:
    """Whether a table is a text file, by its ending."""
    return ending_of(path) in TEXT


def lay_out(path: Path, dialect: Dialect = FOUND_OUT) -> Layout:
    """Find out from its beginning how a text file is written.

    Raises
    ------
    DataError
        For bytes that are no text of the encoding, no header, or two columns of one name.
    """
    with open_bytes(path) as file:
        sample = file.read(SAMPLE)
    if not sample.strip():
        raise DataError(f"{path} is empty")
    marked = next((encoding for bom, encoding in _BOMS.items() if sample.startswith(bom)), "utf-8")
    encoding = dialect.encoding or marked
    if codecs.lookup(encoding).name == "utf-8" and b"\0" in sample:
        raise DataError(f"{path} is no text file: its beginning holds zero bytes")
    try:
        content = codecs.getincrementaldecoder(encoding)().decode(sample, final=len(sample) < SAMPLE)
    except UnicodeDecodeError:
        raise undecodable(path, encoding) from None
    records = {mark: _records(content, mark, len(sample) == SAMPLE)
               for mark in ([dialect.delimiter] if dialect.delimiter else DELIMITERS)}  # fmt: skip
    delimiter = max(records, key=lambda mark: _evenness(records[mark]))
    rows = records[delimiter]
    if not rows:
        raise DataError(f"{path} is empty")
    return Layout(delimiter, dialect.decimal or _decimal(delimiter, rows), encoding, _header(path, rows[0]))


def _records(content: str, delimiter: str, cut: bool) -> list[list[str]]:
    """Return the first records; of a sample that was cut off, without the last."""
    records: list[list[str]] = []
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        records.extend(record for record in reader if record)
    except csv.Error:  # a field longer than the module takes: pandas has the last word
        return records
    return records[:-1] if cut and len(records) > 1 else records


def _evenness(records: list[list[str]]) -> tuple[bool, float, int]:
    """Rank a delimiter: does it divide the header, what share of the records alike, into how many fields."""
    if not records:
        return False, 0.0, 0
    width = len(records[0])
    return width > 1, sum(len(record) == width for record in records) / len(records), width


def _decimal(delimiter: str, records: list[list[str]]) -> str:
    """Return a comma where numbers have one, unless it could divide thousands: 1,234 alone says nothing."""
    if delimiter == ",":
        return "."
    matches = (_COMMA.fullmatch(field.strip()) for record in records[1:] for field in record)
    return "," if any(match is not None and len(match.group(1)) != 3 for match in matches) else "."


def _header(path: Path, record: list[str]) -> tuple[str, ...]:
    names = [name.strip() or f"column {number}" for number, name in enumerate(record, start=1)]
    first: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        if name in first:
            raise DataError(f"{path}: columns {first[name]} and {number} are both called {name!r}")
        first[name] = number
    return tuple(names)


def ending_of(path: Path) -> str:
    """Return the ending that says how a table is written: ``.csv`` of ``people.csv.gz``."""
    endings = [ending.lower() for ending in path.suffixes[-2:]]
    packed = len(endings) == 2 and endings[1] in PACKED and endings[0] in TEXT
    return endings[0] if packed else endings[-1] if endings else ""


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """Open a file, unpacked where its ending says so."""
    opened: Any = PACKED.get(path.suffix.lower(), open)(path, "rb")
    with opened as file:
        yield file


def undecodable(path: Path, encoding: str) -> DataError:
    """Say where a file is no text of its encoding."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    with open_bytes(path) as file:
        while block := file.readline(1 << 20):
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                byte = error.object[error.start]
                name = "utf-8" if encoding == "utf-8-sig" else encoding
                return DataError(f"{path} is not {name}: byte 0x{byte:02x} in line {line}; name its encoding, as in "
                                 "data.encoding=latin-1 or data.encoding=cp1252")  # fmt: skip
            line += block.endswith(b"\n")
    return DataError(f"{path} is not {encoding}: it ends in the middle of a character")
