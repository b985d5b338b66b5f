"""A table of the user's own: CSV or Parquet, one row per example, one column the target."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from lossbench.data.checks import is_integer, require
from lossbench.data.dataset import Seeds
from lossbench.data.source import Draw, Source
from lossbench.data.target import encode
from lossbench.errors import DataError


@dataclass(kw_only=True)
class Table(Source):
    """Rows of a file whose feature columns are numeric or boolean; seeds are splits of this one table.

    Rows are counted from 1 in messages, the header apart.

    Parameters
    ----------
    path
        A ``.csv`` file (commas, a header line) or a ``.parquet`` file; relative to the current folder.
    target
        The column that is to be predicted: integer, boolean or text. Classes are sorted.
    positive
        For two classes, the name of the positive one; None takes the larger in sort order (1 of 0 and 1, True
        of False and True, ``yes`` of ``no`` and ``yes``).
    **others
        As in `Source`; ``name`` is the file's name without its ending unless given.

    Raises
    ------
    ValueError
        For an argument of the wrong type or out of range.
    DataError
        From `draw`: a missing or unreadable file, an unknown target, fewer than two classes, a target that
        looks like a regression, no rows, no features, a column that is not numeric, a missing or infinite
        value.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "churn.csv"
    >>> _ = path.write_text("age,pays,churned" + 5 * "\\n30,True,no" + 5 * "\\n40,False,yes")
    >>> table = Table(path=str(path), target="churned")
    >>> table.name, table.draw().x[0].tolist(), table.draw().class_names
    ('churn', [30.0, 1.0], ('no', 'yes'))
    >>> Table(path=str(path), target="churned", positive="no").draw().class_names
    ('yes', 'no')
    >>> Table(path=str(path), target="churn").draw()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    lossbench.errors.DataError: ...has no target column 'churn'; did you mean 'churned'? It has 'age', ...
    >>> folder.cleanup()
    """

    seeds: ClassVar[Seeds] = "splits"

    name: str = ""
    path: str
    target: str
    positive: str | int | bool | None = None

    def __post_init__(self) -> None:
        require(isinstance(self.path, (str, Path)) and str(self.path) != "", "Table", "a path", path=self.path)
        named = isinstance(self.target, str) or is_integer(self.target)  # Hydra makes an int of a header like 7
        require(named, "Table", "the name of the target column", target=self.target)
        self.target = str(self.target)
        plain = self.positive is None or isinstance(self.positive, (str, int))
        require(plain, "Table", "positive null or the name of a class", positive=self.positive)
        if self.name == "":
            self.name = Path(self.path).stem
        super().__post_init__()

    def draw(self) -> Draw:
        path = Path(self.path).expanduser()
        frame = read(path)
        if self.target not in frame.columns:
            hint = _nearest(self.target, list(frame.columns))
            raise DataError(f"{path} has no target column {self.target!r};{hint} It has {_listed(list(frame.columns))}")
        if len(frame) == 0:
            raise DataError(f"{path} has no rows below its header")
        features = frame.drop(columns=self.target)
        if features.shape[1] == 0:
            raise DataError(f"{path} has no feature columns beside the target {self.target!r}")
        y, class_names = encode(frame[self.target], self.target, self.positive)
        x = np.empty(features.shape, dtype=np.float64)
        for position, name in enumerate(features.columns):
            x[:, position] = _numbers(features[name], name)
        return Draw(x=x, y=y, feature_names=tuple(features.columns), class_names=class_names)


def read(path: Path) -> pd.DataFrame:
    """Read a CSV or Parquet file, columns named by text; every failure is a one-line DataError."""
    if not path.is_file():
        raise DataError(f"{path} is not a file" if path.exists() else f"there is no file {path}")
    ending = path.suffix.lower()
    if ending not in (".csv", ".parquet"):
        raise DataError(f"a table is a .csv or a .parquet file, got {path}")
    try:
        with warnings.catch_warnings():
            # pandas would drop the surplus fields of a row that is longer than the header, with a warning.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            # index_col=False: such a row must not turn the first column into an index either.
            csv = ending == ".csv"
            frame = pd.read_csv(path, index_col=False, low_memory=False) if csv else pd.read_parquet(path)
    except pd.errors.EmptyDataError:
        raise DataError(f"{path} is empty") from None
    except (OSError, ValueError, NotImplementedError, pd.errors.ParserWarning) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read as {ending[1:]}: {reason}") from error
    frame.columns = pd.Index([str(name) for name in frame.columns], dtype=object)
    return frame


def _numbers(column: pd.Series, name: str) -> np.ndarray:
    """Return a numeric or boolean column as float64, missing values as NaN."""
    if column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) == "boolean":
        column = column.astype("boolean")  # what pandas makes of bools with gaps
    kind = column.dtype
    if pd.api.types.is_complex_dtype(kind) or not (
        pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind)
    ):
        raise DataError(f"column {name!r} is not numeric, it holds {_example(column)}")
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _example(column: pd.Series) -> str:
    """Name the first value of a column that is no number, and its row."""
    filled = column.notna().to_numpy()
    numbers = pd.to_numeric(column.astype(str), errors="coerce").notna().to_numpy()
    rows = np.flatnonzero(filled & ~numbers)
    if len(rows) == 0:
        return f"values of type {column.dtype}"
    return f"{str(column.iloc[rows[0]])[:40]!r} in row {rows[0] + 1}"


def _nearest(name: str, choices: Sequence[str]) -> str:
    by_fold = {choice.casefold(): choice for choice in choices}
    close = difflib.get_close_matches(name.casefold(), by_fold, n=1)
    return f" did you mean {by_fold[close[0]]!r}?" if close else ""


def _listed(names: Sequence[str], limit: int = 20) -> str:
    shown = ", ".join(repr(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
