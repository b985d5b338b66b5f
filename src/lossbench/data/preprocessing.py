"""From a person's table to the matrix that a network sees, fitted on the training rows alone."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from lossbench.data.scaling import Scale, fit_scale
from lossbench.data.tables.columns import LEAVES, Column, Numeric
from lossbench.data.tables.parsing import Kind, is_text, parse, with_points
from lossbench.errors import DataError


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """The fitted map from raw columns to features, as plain values: it imputes, scales and encodes.

    It equals scikit-learn's ``ColumnTransformer`` of imputers, scalers and one-hot encoders, which fitted its
    statistics (a test compares them), and is rebuilt from strings, numbers and lists alone, so that a model file
    needs no pickle and no release of scikit-learn.

    Parameters
    ----------
    columns
        In the order of their features.

    Examples
    --------
    >>> x = np.array([[1.0, 0.0], [3.0, 4.0]])
    >>> fitted = Preprocessing.of_matrix(x, ["age", "income"])
    >>> fitted.apply(pd.DataFrame({"income": [2, 4], "age": [5, 1], "name": ["a", "b"]})).tolist()
    [[3.0, 0.0], [-1.0, 1.0]]
    >>> fitted.schema
    {'age': 'numeric', 'income': 'numeric'}
    >>> fitted.apply(pd.DataFrame({"Age": [5], "income": [2]}))
    Traceback (most recent call last):
        ...
    lossbench.errors.DataError: column 'age' is missing; did you mean 'Age'? The table has 'Age', 'income'
    >>> Preprocessing.from_state(fitted.state).apply(fitted.example).tolist() == fitted.apply(fitted.example).tolist()
    True
    """

    columns: tuple[Column, ...]

    @classmethod
    def of_matrix(cls, x: np.ndarray, names: Sequence[str], scale: Scale = "standard") -> Preprocessing:
        """Fit numeric columns without gaps, (N, F) float64; a missing value is refused later too."""
        center, spread = fit_scale(x, names, scale)
        typical = np.median(x, axis=0)
        each = zip(names, typical.tolist(), center.tolist(), spread.tolist(), strict=True)
        return cls(tuple(Numeric(name, False, fill, False, mean, spread, False) for name, fill, mean, spread in each))

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """One name per column of the matrix: ``age``, ``age missing``, ``color=red``, ``color other``."""
        return tuple(name for column in self.columns for name in column.features)

    @property
    def n_features(self) -> int:
        """Width of the matrix."""
        return len(self.feature_names)

    @property
    def schema(self) -> dict[str, Kind]:
        """The raw columns that are needed, by name: ``numeric``, ``boolean``, ``categorical`` or ``date``."""
        return {column.name: column.kind for column in self.columns}

    @property
    def example(self) -> pd.DataFrame:
        """One row of raw columns: medians and the most frequent values of training, nobody's own row."""
        return pd.DataFrame({column.name: [column.example] for column in self.columns})

    def parsed(self, frame: pd.DataFrame, first_row: int = 1) -> pd.DataFrame:
        """Return the needed columns as plain values (see `tables.parsing.parse`); others are left out."""
        labels: dict[str, Any] = {}
        for label in frame.columns:
            if str(label) in labels:
                raise DataError(f"two columns are called {str(label)!r}")
            labels[str(label)] = label
        for column in self.columns:
            if column.name not in labels:
                raise DataError(f"column {column.name!r} is missing{among(column.name, list(labels), 'the table')}")
        comma = frame.attrs.get("decimal") == ","
        columns: dict[str, pd.Series] = {}
        for column in self.columns:
            raw = frame[labels[column.name]]
            if comma and column.kind == "numeric" and is_text(raw):
                raw = with_points(raw)
            values = parse(raw, column.name, column.kind, column.format, first_row)
            columns[column.name] = values.set_axis(pd.RangeIndex(len(frame)))
        return pd.DataFrame(columns, copy=False)

    def apply(self, frame: pd.DataFrame, first_row: int = 1, dtype: Any = np.float64) -> np.ndarray:
        """Return the matrix (N, F) of a raw table.

        Parameters
        ----------
        frame
            With the columns of `schema`, in any order; others are ignored.
        first_row
            What its first row is called in messages, for a table that comes in pieces.
        dtype
            Of the matrix: float64, or float32 for half the memory.

        Raises
        ------
        DataError
            For a column that is missing or there twice, a value of another kind, an infinite one, or a missing one
            where training was told to refuse them; column, row and value are named.
        """
        return self.encode(self.parsed(frame, first_row), first_row, dtype)

    def encode(
        self, parsed: pd.DataFrame, first_row: int = 1, dtype: Any = np.float64, rows: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the matrix (N, F) of columns that are parsed already, or of some of their rows."""
        out = np.zeros((len(parsed) if rows is None else len(rows), self.n_features), dtype=dtype)
        start = 0
        # Column by column: a second copy of a large table would not fit beside it.
        for column in self.columns:
            stop = start + len(column.features)
            values = parsed[column.name]
            column.write(values if rows is None else values.take(rows), out[:, start:stop], first_row)
            start = stop
        return out

    def scale(self, x: np.ndarray) -> np.ndarray:
        """Return features in original units (N, F) as the network sees them."""
        return (x - self._scales[0]) / self._scales[1]

    def undo(self, x: np.ndarray) -> np.ndarray:
        """Return features that the network sees (N, F) in original units: days for dates, 0 and 1 for categories."""
        return x * self._scales[1] + self._scales[0]

    @cached_property
    def _scales(self) -> tuple[np.ndarray, np.ndarray]:
        pairs = np.array([pair for column in self.columns for pair in column.scales])
        return pairs[:, 0], pairs[:, 1]

    @property
    def state(self) -> dict[str, Any]:
        """All of it in strings, numbers and lists."""
        entries = [{"tag": column.tag, **dataclasses.asdict(column)} for column in self.columns]
        return {
            "columns": [
                {key: list(value) if isinstance(value, tuple) else value for key, value in entry.items()}
                for entry in entries
            ]
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Preprocessing:
        """Rebuild what `state` says, exactly."""
        columns = []
        for entry in state["columns"]:
            arguments: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()
            }
            columns.append(LEAVES[str(arguments.pop("tag"))](**arguments))
        return cls(tuple(columns))


def among(name: str, choices: Sequence[str], whose: str = "it") -> str:
    """Return what there is instead of a name, to end a message with: the closest choice, and the first twenty.

    >>> among("agee", ["age", "y"]), among("zzz", ["age", "y"])
    ("; did you mean 'age'? It has 'age', 'y'", "; it has 'age', 'y'")
    """
    by_fold = {choice.casefold(): choice for choice in choices}
    close = difflib.get_close_matches(name.casefold(), by_fold, n=1)
    shown = ", ".join(map(repr, choices[:20])) + (f" and {len(choices) - 20} more" if len(choices) > 20 else "")
    if not close:
        return f"; {whose} has {shown}"
    return f"; did you mean {by_fold[close[0]]!r}? {whose[0].upper()}{whose[1:]} has {shown}"
