"""A table of the user's own: one row per example, one column the target, the others whatever they are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import numpy as np
import pandas as pd

from lossbench.data import splits
from lossbench.data.checks import is_integer, require
from lossbench.data.dataset import Seeds
from lossbench.data.preprocessing import Preprocessing
from lossbench.data.source import Draw, Source
from lossbench.data.tables.dialect import Dialect
from lossbench.data.tables.fitting import Impute, Recipe, fit
from lossbench.data.tables.loading import Loaded, Roles, load
from lossbench.data.tables.memory import require_memory
from lossbench.data.tables.parsing import Kind
from lossbench.errors import DataError

# A matrix of more cells is kept in float32, which is what training in single precision sees anyway.
LARGE = 1 << 22


@dataclass(frozen=True, eq=False)
class TableDraw(Draw):
    """The rows of a table: ``x`` holds parsed columns of several kinds."""

    loaded: Loaded = field(kw_only=True)

    def __post_init__(self) -> None:
        """Nothing is left to check: `load` has."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of names, kinds and values."""
        kinds = self.loaded.kinds.of
        hashed = hashlib.sha256(repr((kinds, self.class_names, len(self.y))).encode())
        for x, y in ((self.x, self.y), *([self.test] if self.test else [])):
            for name in kinds:
                values = x[name].array
                if isinstance(values, pd.Categorical):
                    hashed.update(repr(list(values.categories)).encode())
                    hashed.update(values.codes.astype(np.int32).data)
                else:
                    hashed.update(np.ascontiguousarray(x[name].to_numpy()).data)
            hashed.update(y.data)
        if self.weight is not None:
            hashed.update(self.weight.data)
        return hashed.hexdigest()


@dataclass(kw_only=True)
class Table(Source):
    """Rows of a file; seeds are splits of this one table.

    Numbers, booleans, text and dates are found out (`lossbench.data.tables.kinds.infer`) and become features
    (`lossbench.data.tables.fitting.Recipe`), fitted on the training rows. Rows are counted from 1 in messages, the
    header apart.

    Parameters
    ----------
    path
        Of the file, relative to the current folder: see `lossbench.data.tables.reading.read`.
    target
        The column that is to be predicted: integer, boolean or text. Classes are sorted.
    classes
        The classes in the order of their indices; None sorts them. Of two, the last is positive.
    positive
        For two classes, the name of the positive one; None takes the larger in sort order (1 of 0 and 1, True
        of False and True, ``yes`` of ``no`` and ``yes``).
    drop
        Columns that are not used.
    categorical, numeric, boolean, dates
        Columns of that kind whatever their values look like; a categorical column of a text file is kept as it is
        written (007 stays 007).
    date_format
        How dates are written, as in ``strptime``; None: ISO 8601 or what their values say.
    weight
        A column of weights >= 0 that multiply the rows' losses in training; metrics count every row once.
    group
        A column whose equal values stay in one split.
    time
        A column (numbers or dates) by which the splits are ordered: the last rows are the test split.
    split_column
        A column that says ``train``, ``val`` or ``test``.
    test_path
        Another file, whose rows are the test split.
    impute, missing_indicator, scale, min_frequency, max_categories
        How columns become features: see `lossbench.data.tables.fitting.Recipe`.
    delimiter, decimal, encoding, missing, usual_missing
        How a text file is written: see `lossbench.data.tables.dialect.Dialect`.
    dtype
        Of the features in memory: ``float64`` or ``float32``; None: float64 up to 4 million cells.
    **others
        As in `Source`; ``name`` is the file's name without its ending unless given. Columns that say a row's weight,
        group, time or split are no features.

    Raises
    ------
    ValueError
        For an argument of the wrong type or out of range.
    DataError
        From `draw`: a file that cannot be read, a column that is not there or cannot be used, fewer than two classes,
        a target that looks like a regression, no rows, no features, rows that do not fit into memory.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "churn.csv"
    >>> _ = path.write_text("age,plan,churned" + 20 * "\\n30,basic,no" + 20 * "\\n,pro,yes")
    >>> dataset = Table(path=str(path), target="churned").prepare()
    >>> dataset.name, dataset.feature_names, dataset.task.class_names
    ('churn', ('age', 'age missing', 'plan=basic', 'plan=pro'), ('no', 'yes'))
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
    classes: list[str | int | bool] | None = None
    positive: str | int | bool | None = None
    drop: list[str] = field(default_factory=list)
    categorical: list[str] = field(default_factory=list)
    numeric: list[str] = field(default_factory=list)
    boolean: list[str] = field(default_factory=list)
    dates: list[str] = field(default_factory=list)
    date_format: str | None = None
    weight: str | None = None
    group: str | None = None
    time: str | None = None
    split_column: str | None = None
    test_path: str | None = None
    impute: Impute | None = "median"
    missing_indicator: bool = True
    min_frequency: int | float = 5
    max_categories: int = 20
    delimiter: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    missing: list[str] = field(default_factory=lambda: ["?"])
    usual_missing: bool = True
    dtype: Literal["float32", "float64"] | None = None

    def __post_init__(self) -> None:
        require(isinstance(self.path, (str, Path)) and str(self.path) != "", "Table", "a path", path=self.path)
        tested = self.test_path is None or (isinstance(self.test_path, str) and self.test_path != "")
        require(tested, "Table", "test_path null or a path", test_path=self.test_path)
        require(_is_name(self.target), "Table", "the name of the target column", target=self.target)
        self.target = str(self.target)
        plain = self.positive is None or isinstance(self.positive, (str, int))
        require(plain, "Table", "positive null or the name of a class", positive=self.positive)
        named = self.classes is None or (isinstance(self.classes, list) and len(self.classes) >= 2)
        require(named, "Table", "classes null or a list of two or more", classes=self.classes)
        for key in ("drop", "categorical", "numeric", "boolean", "dates"):
            value = getattr(self, key)
            valid = isinstance(value, list) and all(map(_is_name, value))
            require(valid, "Table", f"{key} to be a list of columns", **{key: value})
            setattr(self, key, [str(name) for name in value])
        for key in ("weight", "group", "time", "split_column"):
            value = getattr(self, key)
            require(value is None or _is_name(value), "Table", f"{key} null or a column", **{key: value})
            setattr(self, key, None if value is None else str(value))
        written = self.date_format is None or (isinstance(self.date_format, str) and "%" in self.date_format)
        require(written, "Table", "date_format null or one like %d.%m.%Y", date_format=self.date_format)
        valid = isinstance(self.missing, list) and all(isinstance(text, (str, int, float)) for text in self.missing)
        require(valid, "Table", "missing to be a list of texts", missing=self.missing)
        require(self.dtype in (None, "float32", "float64"), "Table", "dtype null, float32 or float64", dtype=self.dtype)
        if self.name == "":
            self.name = Path(self.path).name.partition(".")[0] or "table"
        super().__post_init__()
        self._require_one_split()
        assert self.dialect
        assert self.recipe

    def _require_one_split(self) -> None:
        ways = {"time": self.time, "split_column": self.split_column, "group": self.group}
        named = [key for key, column in ways.items() if column is not None]
        rule = "one of time, split_column and group to decide the splits"
        require(len(named) < 2, "Table", rule, **{key: ways[key] for key in named})
        for key in ("time", "split_column"):
            rule = f"fold null with {key}, which decides the test split"
            require(ways[key] is None or self.fold is None, "Table", rule, fold=self.fold)
        both = self.test_path is not None and self.split_column is not None
        require(not both, "Table", "one of test_path and split_column", test_path=self.test_path)

    @cached_property
    def dialect(self) -> Dialect:
        """How a text file is written."""
        missing = tuple(map(str, self.missing))
        return Dialect(self.delimiter, self.decimal, self.encoding, missing, self.usual_missing)

    @cached_property
    def recipe(self) -> Recipe:
        """How columns become features."""
        return Recipe(self.impute, self.missing_indicator, self.scale, self.min_frequency, self.max_categories)

    @property
    def roles(self) -> Roles:
        """What columns are for."""
        kinds = {"categorical": self.categorical, "numeric": self.numeric, "boolean": self.boolean, "date": self.dates}
        stated = {name: cast(Kind, kind) for kind, names in kinds.items() for name in names}
        return Roles(
            self.target, self.classes, self.positive, tuple(self.drop), stated, self.date_format,
            self.weight, self.group, self.time, self.split_column,
        )  # fmt: skip

    def draw(self) -> TableDraw:
        loaded = load(Path(self.path).expanduser(), self.dialect, self.roles, complete=self.impute is None)
        test = None
        if self.test_path is not None:
            test = loaded.another(Path(self.test_path).expanduser(), self.dialect, self.roles, self.impute is None)
        return TableDraw(
            x=loaded.frame,
            y=loaded.y,
            feature_names=tuple(loaded.frame.columns),
            class_names=loaded.class_names,
            test=test,
            weight=loaded.weight,
            loaded=loaded,
        )

    def cut(self, draw: Draw) -> splits.Split:
        assert isinstance(draw, TableDraw)
        loaded, seed = draw.loaded, self.split_seed
        y, names = draw.y, draw.class_names
        test = self.test if draw.test is None else 0.0
        if loaded.split_labels is not None:
            return splits.by_column(y, names, loaded.split_labels, self.val, seed)
        if loaded.moments is not None:
            return splits.by_time(y, names, loaded.moments, self.val, test, seed)
        if loaded.groups is None:
            return super().cut(draw)
        if self.fold is None:
            return splits.by_group(y, names, loaded.groups, self.val, test, seed)
        return splits.by_group_fold(y, names, loaded.groups, self.val, self.folds, self.fold, seed)

    def fit(self, draw: Draw, train: np.ndarray) -> Preprocessing:
        assert isinstance(draw, TableDraw)
        kinds = draw.loaded.kinds
        if draw.weight is not None and not draw.weight[train].any():
            raise DataError(f"the weights in column {self.weight!r} are 0 in every training row")
        fitted = fit(draw.x, kinds.of, self.recipe, kinds.formats, train)
        rows = len(draw.y) + (len(draw.test[1]) if draw.test else 0)
        # In float64 the training tensors are a second copy, in single precision.
        cell = 12 if self._dtype(rows * fitted.n_features) == np.float64 else 4
        require_memory(
            cell * rows * fitted.n_features,
            f"{self.path} as {rows} rows of {fitted.n_features} features",
            "leave columns out (data.drop) or lower data.max_categories",
        )
        return fitted

    def encode(self, fitted: Preprocessing, x: Any, index: np.ndarray) -> np.ndarray:
        return fitted.encode(x, dtype=self._dtype(len(x) * fitted.n_features), rows=index)

    def _dtype(self, cells: int) -> type[np.floating]:
        single = cells > LARGE if self.dtype is None else self.dtype == "float32"
        return np.float32 if single else np.float64


def _is_name(value: object) -> bool:
    # Hydra makes an int of a header like 7.
    return (isinstance(value, str) and value != "") or is_integer(value)
