"""From a file to parsed columns: what each column is for, what it holds, and the classes of the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lossbench.data.preprocessing import among
from lossbench.data.tables.dialect import Dialect
from lossbench.data.tables.kinds import Kinds, infer
from lossbench.data.tables.memory import release, require_memory
from lossbench.data.tables.parsing import Kind, categories, parse
from lossbench.data.tables.reading import estimate, read
from lossbench.data.tables.target import encode, follow
from lossbench.errors import DataError

# A table is read, parsed and encoded within so many times its size.
FACTOR = 2.5


@dataclass(frozen=True)
class Roles:
    """What the columns of a table are for; see `lossbench.data.table.Table`."""

    target: str
    classes: Sequence[str | int | bool] | None = None
    positive: str | int | bool | None = None
    drop: tuple[str, ...] = ()
    stated_kinds: Mapping[str, Kind] | None = None
    date_format: str | None = None
    weight: str | None = None
    group: str | None = None
    time: str | None = None
    split_column: str | None = None

    @property
    def others(self) -> dict[str, str]:
        """Columns that are neither target nor feature, by their role."""
        columns = {"weight": self.weight, "group": self.group, "time": self.time, "split_column": self.split_column}
        return {role: name for role, name in columns.items() if name is not None}


@dataclass(frozen=True, eq=False)
class Loaded:
    """A table in memory.

    Parameters
    ----------
    frame
        The feature columns, as plain values of their kind.
    kinds
        Of these columns.
    y, class_names
        Class indices (N,) and names.
    weight, groups, moments, split_labels
        Of each row, (N,), where the table says so: its weight, the number of its group, its time, its split.
    """

    frame: pd.DataFrame
    kinds: Kinds
    y: np.ndarray
    class_names: tuple[str, ...]
    weight: np.ndarray | None = None
    groups: np.ndarray | None = None
    moments: np.ndarray | None = None
    split_labels: list[str | None] | None = None

    def another(self, path: Path, dialect: Dialect, roles: Roles, complete: bool) -> tuple[pd.DataFrame, np.ndarray]:
        """Read rows that are labelled and typed as these, such as those of a test file."""
        # Text here is text there, though all of it may look like numbers: 007 stays 007.
        raw = read_checked(path, dialect, [name for name, kind in self.kinds.of.items() if kind == "categorical"])
        for name in (roles.target, *self.kinds.of):
            if name not in raw.columns:
                raise DataError(f"{path} has no column {name!r}{among(name, list(raw.columns))}")
        try:
            y = follow(raw[roles.target], roles.target, self.class_names)
            return parsed(raw, self.kinds, complete), y
        except DataError as error:
            raise DataError(f"{path}: {error}") from None


def load(path: Path, dialect: Dialect, roles: Roles, complete: bool = False) -> Loaded:
    """Read and parse a table.

    Parameters
    ----------
    complete
        Refuse missing values.

    Raises
    ------
    DataError
        For a file, a column or a value that cannot be used.
    """
    raw = read_checked(
        path, dialect, [name for name, kind in (roles.stated_kinds or {}).items() if kind == "categorical"]
    )
    columns = list(raw.columns)
    target = roles.target
    if target not in columns:
        raise DataError(f"{path} has no target column {target!r}{among(target, columns)}")
    if len(raw) == 0:
        raise DataError(f"{path} has no rows below its header")
    for key, names in {"drop": roles.drop, "kind": tuple(roles.stated_kinds or {}), **_single(roles)}.items():
        for name in names:
            if name not in columns:
                what = "column of a given kind" if key == "kind" else f"column for data.{key}"
                raise DataError(f"{path} has no {what} {name!r}{among(name, columns)}")
            if name == target:
                raise DataError(f"{path}: column {name!r} is the target, and cannot be a {key} column as well")
    y, class_names = encode(raw.pop(target), target, roles.positive, roles.classes)
    weight = None if roles.weight is None else _weights(raw[roles.weight], roles.weight)
    groups = None if roles.group is None else _groups(raw[roles.group], roles.group)
    moments = None if roles.time is None else _moments(raw[roles.time], roles.time, roles.date_format)
    labels = None if roles.split_column is None else raw[roles.split_column].tolist()
    for name in {*roles.drop, *roles.others.values()}:
        del raw[name]
    if raw.shape[1] == 0:
        raise DataError(f"{path} has no feature columns beside the target {target!r}")
    kinds = infer(raw, roles.stated_kinds, roles.date_format)
    return Loaded(parsed(raw, kinds, complete), kinds, y, class_names, weight, groups, moments, labels)


def read_checked(path: Path, dialect: Dialect, text: Sequence[str]) -> pd.DataFrame:
    """Read a file after a check that it fits into memory; some columns of a text file stay as they are written."""
    size = estimate(path, dialect)
    require_memory(int(FACTOR * size), f"{path}", "take fewer rows or columns, or a machine with more memory")
    return read(path, dialect, text)


def parsed(raw: pd.DataFrame, kinds: Kinds, complete: bool) -> pd.DataFrame:
    """Parse columns one by one, letting go of each raw one: two copies of a large table would not fit."""
    columns: dict[str, pd.Series] = {}
    for name, kind in kinds.of.items():
        values = parse(raw.pop(name), name, kind, kinds.formats.get(name))
        if complete and values.isna().any():
            row = int(np.argmax(values.isna().to_numpy())) + 1
            raise DataError(f"column {name!r} has a missing value in row {row}")
        columns[name] = values
    release()
    return pd.DataFrame(columns, copy=False)


def _single(roles: Roles) -> dict[str, tuple[str, ...]]:
    return {role: (name,) for role, name in roles.others.items()}


def _weights(column: pd.Series, name: str) -> np.ndarray:
    values = parse(column, name, "numeric").to_numpy()
    if np.isnan(values).any():
        raise DataError(f"weight column {name!r} has a missing value in row {int(np.argmax(np.isnan(values))) + 1}")
    if (values < 0).any():
        row = int(np.argmax(values < 0))
        raise DataError(f"weight column {name!r} needs weights >= 0, got {values[row]} in row {row + 1}")
    return values


def _groups(column: pd.Series, name: str) -> np.ndarray:
    codes = categories(column).codes.astype(np.int64)
    if (codes < 0).any():
        raise DataError(f"group column {name!r} has a missing value in row {int(np.argmax(codes < 0)) + 1}")
    return codes


def _moments(column: pd.Series, name: str, date_format: str | None) -> np.ndarray:
    kinds = infer(column.to_frame(name), None, date_format)
    kind = kinds.of[name]
    if kind not in ("numeric", "date"):
        raise DataError(f"time column {name!r} needs numbers or dates, got {kind} values such as {column.iloc[0]!r}")
    values = parse(column, name, kind, kinds.formats.get(name)).to_numpy()
    if np.isnan(values).any():
        raise DataError(f"time column {name!r} has a missing value in row {int(np.argmax(np.isnan(values))) + 1}")
    return values
