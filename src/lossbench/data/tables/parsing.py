"""From a person's column to plain values of one kind: floats, 0 and 1, text, or days."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import pandas as pd

from lossbench.errors import DataError

Kind = Literal["numeric", "boolean", "categorical", "date"]
KINDS: tuple[str, ...] = get_args(Kind)

_DAY = 86_400.0
_WORDS = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}
_EPOCH = pd.Timestamp("1970-01-01", tz="UTC")


def parse(column: pd.Series, name: str, kind: Kind, format: str | None = None, first_row: int = 1) -> pd.Series:
    """Return a column as plain values of its kind.

    Parameters
    ----------
    column
        As a reader or a person made it.
    name
        For messages.
    kind
        ``numeric``: float64; ``boolean``: float64, 0 and 1; ``categorical``: pandas categories, sorted text;
        ``date``: float64, days since 1970-01-01 UTC. Missing values are NaN (no category), as is empty text.
    format
        How dates are written, as in ``strptime``; None: ISO 8601.
    first_row
        What the first row is called in messages.

    Raises
    ------
    DataError
        For a value that is of another kind, or infinite; it names column, value and row.

    Examples
    --------
    >>> parse(pd.Series(["1.5", None]), "age", "numeric").tolist()
    [1.5, nan]
    >>> parse(pd.Series([2, 1, 2]), "zone", "categorical").tolist()
    ['2', '1', '2']
    >>> parse(pd.Series(["1970-01-02", "1970-01-01 12:00"]), "since", "date").tolist()
    [1.0, 0.5]
    """
    if kind == "numeric":
        values = _numbers(column, name, first_row)
    elif kind == "boolean":
        values = _booleans(column, name, first_row)
    elif kind == "date":
        values = _days(column, name, format, first_row)
    else:
        return pd.Series(categories(column), copy=False)
    infinite = np.isinf(values)
    if infinite.any():
        raise DataError(f"column {name!r} has an infinite value in row {int(np.argmax(infinite)) + first_row}")
    return pd.Series(values, copy=False)


def with_points(column: pd.Series) -> pd.Series:
    """Write numbers with a decimal comma as those with a point; anything else stays.

    >>> with_points(pd.Series(["2,5", "1.5", "a,b"])).tolist()
    ['2.5', '1.5', 'a,b']
    """
    return column.str.replace(r"^\s*([+-]?\d+),(\d+)\s*$", r"\1.\2", regex=True)


def is_text(column: pd.Series) -> bool:
    """Whether pandas holds the column as text or as objects of any kind."""
    return bool(pd.api.types.is_string_dtype(column.dtype) or column.dtype == object)


def _numbers(column: pd.Series, name: str, first_row: int) -> np.ndarray:
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    kind = column.dtype
    if is_text(column):
        filled = column.notna().to_numpy()
        values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        wrong = filled & np.isnan(values)
        if wrong.any() and (wrong := wrong & ~_blank(column)).any():
            raise _refusal(column, name, "a number", int(np.argmax(wrong)), first_row)
        return values
    plain = pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind)
    if not plain or pd.api.types.is_complex_dtype(kind):
        raise _refusal(column, name, "a number", _first_filled(column), first_row)
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _booleans(column: pd.Series, name: str, first_row: int) -> np.ndarray:
    if pd.api.types.is_bool_dtype(column.dtype) and not isinstance(column.dtype, pd.CategoricalDtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    codes, distinct = pd.factorize(column)
    values = np.array([_WORDS.get(str(value).strip().lower(), np.nan) for value in distinct] + [np.nan])[codes]
    wrong = (codes >= 0) & np.isnan(values)
    if wrong.any() and (wrong := wrong & ~_blank(column)).any():
        raise _refusal(column, name, "a boolean", int(np.argmax(wrong)), first_row)
    return values


def _days(column: pd.Series, name: str, format: str | None, first_row: int) -> np.ndarray:
    dates = column
    if is_text(column) or isinstance(column.dtype, pd.CategoricalDtype):
        dates = pd.to_datetime(column.astype(object), format=format or "ISO8601", errors="coerce", utc=True)
        wrong = (column.notna() & dates.isna()).to_numpy()
        if wrong.any() and (wrong := wrong & ~_blank(column)).any():
            what = "a date" if format is None else f"a date like {format}"
            raise _refusal(column, name, what, int(np.argmax(wrong)), first_row)
    elif not pd.api.types.is_datetime64_any_dtype(column.dtype):
        if column.isna().all():
            return np.full(len(column), np.nan)
        raise _refusal(column, name, "a date", _first_filled(column), first_row)
    dates = dates.dt.tz_localize("UTC") if dates.dt.tz is None else dates.dt.tz_convert("UTC")
    return ((dates - _EPOCH).dt.total_seconds() / _DAY).to_numpy(dtype=np.float64, na_value=np.nan)


def categories(column: pd.Series) -> pd.Categorical:
    """Return values as sorted text categories, so that it does not matter how a reader held them."""
    codes, distinct = pd.factorize(column)
    texts = [as_text(value) for value in distinct]
    names = sorted({text for text in texts if text.strip()})
    number_of = {text: number for number, text in enumerate(names)} | {text: -1 for text in texts if not text.strip()}
    renumbered = np.array([number_of[text] for text in texts] + [-1], dtype=np.int64)
    return pd.Categorical.from_codes(renumbered[codes], pd.Index(names, dtype=object))


def as_text(value: object) -> str:
    """Return a value as the text of a category; a float that is an integer is written as one.

    >>> as_text(2.0), as_text("2"), as_text(True)
    ('2', '2', 'True')
    """
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return value.isoformat() if isinstance(value, pd.Timestamp) else str(value)


def _blank(column: pd.Series) -> np.ndarray:
    """Whether values are blank texts: reading a text file turns them into gaps, and reading a request does not."""
    return np.array([isinstance(value, str) and not value.strip() for value in column], dtype=bool)


def _first_filled(column: pd.Series) -> int:
    return int(np.argmax(column.notna().to_numpy()))


def _refusal(column: pd.Series, name: str, what: str, row: int, first_row: int) -> DataError:
    value = column.iloc[row]
    value = value.item() if isinstance(value, np.generic) else value
    shown = value if isinstance(value, (bool, int, float)) else str(value)[:40]
    return DataError(f"column {name!r} needs {what} in row {row + first_row}, got {shown!r}")
