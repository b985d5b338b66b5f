"""The kind of each column of a table, inferred from its values unless a person states it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lossbench.data.tables.parsing import Kind, is_text
from lossbench.errors import DataError

# Tried in this order; what day and month are must be plain from the values.
FORMATS = ("%d.%m.%Y", "%Y/%m/%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S",
           "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M", "%d-%b-%Y", "%d %b %Y")  # fmt: skip
# A text column of which so large a share are numbers holds numbers, and words that say that there is none.
MOSTLY = 0.9
_WORDS = frozenset({"true", "false"})
_LOOK = 200
_SEPARATED = r"(\d+,\d+|\d{1,3}([., ']\d{3})+([.,]\d+)?)"
_NUMBER = rf"[+-]?({_SEPARATED}|\d+([.,]\d+)?)"
# Marks between thousands, a currency, a percent: what it is worth is not guessed, and as text it would say nothing.
_NOT_PLAIN = rf"([+-]?{_SEPARATED}|[+-]?[$€£¥]\s?{_NUMBER}|{_NUMBER}\s?[%$€£¥])"


@dataclass(frozen=True)
class Kinds:
    """Kind of every column by name, and how the dates of a column are written, where not in ISO 8601."""

    of: dict[str, Kind]
    formats: dict[str, str]


def infer(
    frame: pd.DataFrame, stated: Mapping[str, Kind] | None = None, date_format: str | None = None
) -> Kinds:  # fmt: skip
    """Find out the kind of every column.

    Booleans (also True and False with gaps, or as text) are boolean; numbers, also as text, numeric; dates, also as
    text in ISO 8601 or one of a few common forms, date; all other text is categorical. Numbers are numeric also where
    they are few: a person says ``categorical`` where they are names.

    Parameters
    ----------
    frame
        The feature columns.
    stated
        Kinds that a person states.
    date_format
        How dates are written, as in ``strptime``.

    Raises
    ------
    DataError
        For a column of another type (bytes, lists, durations), a column of numbers with some words in it, and dates
        of which day and month could be either.

    Examples
    --------
    >>> frame = pd.DataFrame({"age": [1, 2], "city": ["a", "b"], "day": ["31.01.2020", "01.02.2020"]})
    >>> infer(frame)
    Kinds(of={'age': 'numeric', 'city': 'categorical', 'day': 'date'}, formats={'day': '%d.%m.%Y'})
    """
    of: dict[str, Kind] = {}
    formats: dict[str, str] = {}
    for name in frame.columns:
        column = frame[name]
        kind = (stated or {}).get(name)
        if kind is None:
            kind, written = _infer(column, name, date_format)
        else:
            dates = kind == "date" and _holds_text(column)
            written = (date_format or _date_format(column.dropna(), name)) if dates else None
        of[name] = kind
        if written is not None and written != "ISO8601":
            formats[name] = written
    return Kinds(of, formats)


def _infer(column: pd.Series, name: str, date_format: str | None) -> tuple[Kind, str | None]:
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return "categorical", None
    if pd.api.types.is_bool_dtype(dtype):
        return "boolean", None
    if pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype):
        return "numeric", None
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return "date", None
    if not is_text(column):
        raise _other(column, name)
    filled = column.dropna()
    if len(filled) == 0:
        return "numeric", None
    if pd.api.types.is_object_dtype(dtype):
        contents = pd.api.types.infer_dtype(filled, skipna=True)
        if contents == "boolean":
            return "boolean", None
        if contents in ("integer", "floating", "mixed-integer-float", "decimal"):
            return "numeric", None
        if contents in ("date", "datetime", "datetime64"):
            return "date", None
        if contents not in ("string", "mixed-integer", "mixed") or not _plain(filled):
            raise _other(column, name)
    return _of_text(filled, name, date_format)


def _plain(filled: pd.Series) -> bool:
    """Whether all objects are text, numbers or booleans, which have a text of their own."""
    return all(isinstance(value, (str, int, float, np.generic)) for value in filled)


def _of_text(filled: pd.Series, name: str, date_format: str | None) -> tuple[Kind, str | None]:
    text = filled.astype(str)
    if set(text.iloc[:_LOOK].str.strip().str.lower()) <= _WORDS and set(text.str.strip().str.lower()) <= _WORDS:
        return "boolean", None
    numbers = _are_numbers(text)
    share = float(numbers.mean())
    if share == 1:
        return "numeric", None
    if share >= MOSTLY:
        index = int(np.argmin(numbers))
        word = text.iloc[index][:40]
        raise DataError(
            f"column {name!r} holds numbers, and {word!r} in row {_row(filled, index)}; say data.missing=[{word}] "
            f"where that means a missing value, or data.categorical=[{name}] where the numbers are names"
        )
    written = date_format if date_format and _fits(text, date_format) else _date_format(text, name)
    if written is None and text.iloc[:_LOOK].str.fullmatch(_NOT_PLAIN).all() and text.str.fullmatch(_NOT_PLAIN).all():
        raise DataError(
            f"column {name!r} holds {text.iloc[0][:40]!r} in row {_row(filled, 0)}: a number with a comma or with "
            f"marks between thousands, or of a unit; say data.decimal=',', write it as a plain number, or say "
            f"data.categorical=[{name}]"
        )
    return ("categorical", None) if written is None else ("date", written)


def _are_numbers(text: pd.Series) -> np.ndarray:
    head = pd.to_numeric(text.iloc[:_LOOK], errors="coerce").notna().to_numpy()
    if not head.any():  # text, most likely; a column of a million words is looked at once more only by its first rows
        return np.zeros(len(text), dtype=bool)
    return pd.to_numeric(text, errors="coerce").notna().to_numpy()


def _date_format(filled: pd.Series, name: str) -> str | None:
    """Return the format that all values have, or None."""
    text = filled.astype(str)
    if not text.iloc[:_LOOK].str.contains(r"\d", regex=True).all():
        return None
    # "2020" alone would pass for a date.
    if text.iloc[:_LOOK].str.len().min() >= 8 and _fits(text, "ISO8601"):
        return "ISO8601"
    fitting = [form for form in FORMATS if _fits(text, form)]
    if len(fitting) > 1 and {fitting[0].replace("%m/%d", "%d/%m")} == {fitting[1]}:
        raise DataError(
            f"column {name!r} holds dates like {text.iloc[0]!r}, in which day and month could be either: say "
            f"data.date_format='{fitting[0]}' or data.date_format='{fitting[1]}'"
        )
    return fitting[0] if fitting else None


def _fits(text: pd.Series, form: str) -> bool:
    for part in (text.iloc[:_LOOK], text.iloc[_LOOK:]):
        if len(part) and pd.to_datetime(part, format=form, errors="coerce", utc=True).isna().any():
            return False
    return True


def _holds_text(column: pd.Series) -> bool:
    return is_text(column) and pd.api.types.infer_dtype(column, skipna=True) == "string"


def _row(filled: pd.Series, index: int) -> int:
    label = filled.index[index]
    return int(label) + 1 if isinstance(label, (int, np.integer)) else index + 1


def _other(column: pd.Series, name: str) -> DataError:
    value = column.dropna().iloc[0] if column.notna().any() else None
    return DataError(
        f"column {name!r} holds {type(value).__name__} {str(value)[:40]!r}, which is no number, boolean, text or date; "
        f"leave it out with data.drop=[{name}]"
    )
