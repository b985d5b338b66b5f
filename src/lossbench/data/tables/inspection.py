"""What a table holds, and what in it would spoil a comparison: constants, identifiers, duplicates, leaks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from sklearn.tree import DecisionTreeClassifier

from lossbench.data.splits import Split
from lossbench.data.table import Table, TableDraw
from lossbench.data.tables.columns import Column
from lossbench.data.tables.dialect import Layout, is_text_file, lay_out
from lossbench.data.tables.fitting import fit
from lossbench.data.tables.parsing import Kind
from lossbench.data.tables.target import alike
from lossbench.errors import DataError

# A column whose AUROC for the target, alone and on rows that it was not fitted to, is this high, is suspicious.
LEAK = 0.99
# Rows on which that is judged.
_JUDGED = 20_000
# A text column with so large a share of distinct values names rows.
_NAMES = 0.9


@dataclass(frozen=True)
class ColumnReport:
    """One feature column.

    Parameters
    ----------
    name, kind
        Of the column.
    missing
        Share of the rows, in [0, 1].
    distinct
        Number of different values.
    features
        How many columns of the matrix it becomes.
    values
        Its values in a few words: a range, or the most frequent ones.
    alone
        AUROC of this column alone (one-vs-rest, averaged, for more than two classes); NaN where too few rows tell.
    rows
        Of the table.
    counts
        Whether its values are successive whole numbers, one a row, like an index that was saved along.
    alike
        Two of its categories that differ in capitals or blanks alone; None where no two do.
    """

    name: str
    kind: Kind
    missing: float
    distinct: int
    features: int
    values: str
    alone: float
    rows: int
    counts: bool
    alike: tuple[str, str] | None

    @property
    def constant(self) -> bool:
        """Whether it has one value at most, so that nothing can be learnt from it."""
        return self.distinct + (self.missing > 0) <= 1

    @property
    def identifier(self) -> bool:
        """Whether it seems to name the rows: text of which nearly every value is another, or numbers that count."""
        named = self.kind == "categorical" and self.distinct >= _NAMES * self.rows
        return self.rows > 20 and (named or self.counts)

    @property
    def leak(self) -> bool:
        """Whether it predicts the target alone."""
        return bool(self.alone >= LEAK)

    @property
    def note(self) -> str:
        """What is remarkable about it."""
        notes = []
        if self.missing == 1:
            notes.append("always missing")
        elif self.constant:
            notes.append("constant")
        if self.identifier:
            notes.append("names rows?")
        if self.leak:
            notes.append("predicts the target alone: a leak?")
        elif 0.5 < self.missing < 1:
            notes.append("mostly missing")
        if self.alike is not None and not self.identifier:
            notes.append(f"{self.alike[0]!r} and {self.alike[1]!r} differ in capitals or blanks alone")
        return ", ".join(notes)


@dataclass(frozen=True)
class Inspection:
    """A table as lossbench understands it.

    Parameters
    ----------
    rows
        Of the table.
    bytes_
        Of its feature columns in memory.
    layout
        How a text file is written; None for others.
    classes
        Rows of each class, in the order of the classes.
    columns
        The feature columns.
    splits
        Rows of each split; None where no split can be made, and `problem` says why.
    repeated
        Rows that are equal in all features and target to an earlier one.
    straddling
        Rows of validation and test whose features are those of a training row.
    contradicting
        Rows whose features have other rows of another class.
    """

    rows: int
    bytes_: int
    layout: Layout | None
    classes: dict[str, int]
    columns: tuple[ColumnReport, ...]
    splits: dict[str, int] | None
    problem: str | None
    repeated: int
    straddling: int | None
    contradicting: int

    @property
    def imbalance(self) -> float:
        """Rows of the largest class over those of the smallest."""
        return max(self.classes.values()) / max(min(self.classes.values()), 1)

    @property
    def useless(self) -> list[str]:
        """Columns that nothing can be learnt from: constants and names of rows."""
        return [column.name for column in self.columns if column.constant or column.identifier]

    @property
    def leaks(self) -> list[str]:
        """Columns that predict the target alone."""
        return [column.name for column in self.columns if column.leak]


def inspect(source: Table) -> Inspection:
    """Return what a run would make of a table, and what in it is remarkable.

    Raises
    ------
    DataError
        Where a run could not read it either.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "t.csv"
    >>> _ = path.write_text("age,code,y" + "".join(f"\\n{row % 7},{'AB'[row % 2]},{row % 2}" for row in range(80)))
    >>> found = inspect(Table(path=str(path), target="y"))
    >>> found.classes, found.leaks, found.repeated
    ({'0': 40, '1': 40}, ['code'], 66)
    >>> folder.cleanup()
    """
    path = Path(source.path).expanduser()
    draw = source.draw()
    problem, split = None, None
    try:
        split = source.cut(draw)
    except DataError as error:
        problem = str(error)
    kinds = draw.loaded.kinds
    train = np.arange(len(draw.y)) if split is None else split.train
    fitted = fit(draw.x, kinds.of, source.recipe, kinds.formats, train)
    counts = np.bincount(draw.y, minlength=len(draw.class_names))
    hashed = pd.util.hash_pandas_object(draw.x, index=False).to_numpy()
    return Inspection(
        rows=len(draw.y),
        bytes_=int(draw.x.memory_usage(deep=True).sum()),
        layout=lay_out(path, source.dialect) if is_text_file(path) else None,
        classes={name: int(count) for name, count in zip(draw.class_names, counts, strict=True)},
        columns=tuple(_report(draw, column) for column in fitted.columns),
        splits=None if split is None else _sizes(split, draw),
        problem=problem,
        repeated=int(pd.DataFrame({"x": hashed, "y": draw.y}).duplicated().sum()),
        straddling=None if split is None else _straddling(hashed, split, draw),
        contradicting=int((pd.Series(draw.y).groupby(hashed).transform("nunique") > 1).sum()),
    )


def _sizes(split: Split, draw: TableDraw) -> dict[str, int]:
    sizes = {"train": len(split.train), "val": len(split.val)}
    if draw.test is not None:
        return {**sizes, "test": len(draw.test[1])}
    return sizes if split.test is None else {**sizes, "test": len(split.test)}


def _straddling(hashed: np.ndarray, split: Split, draw: TableDraw) -> int:
    judged = [hashed[rows] for rows in (split.val, split.test) if rows is not None]
    if draw.test is not None:
        judged.append(pd.util.hash_pandas_object(draw.test[0], index=False).to_numpy())
    return int(np.isin(np.concatenate(judged), hashed[split.train]).sum())


def _report(draw: TableDraw, column: Column) -> ColumnReport:
    values = draw.x[column.name]
    return ColumnReport(
        name=column.name,
        kind=column.kind,
        missing=float(values.isna().mean()),
        distinct=int(values.nunique()),
        features=len(column.features),
        values=_in_words(values, column),
        alone=alone(values, draw.y, len(draw.class_names)),
        rows=len(values),
        counts=_counts(values, column),
        alike=alike(values.cat.categories) if column.kind == "categorical" else None,
    )


def _counts(values: pd.Series, column: Column) -> bool:
    if column.kind != "numeric" or values.isna().any():
        return False
    ordered = np.sort(values.to_numpy())
    return bool(ordered[0] == np.floor(ordered[0]) and (np.diff(ordered) == 1).all())


def _in_words(values: pd.Series, column: Column) -> str:
    filled = values.dropna()
    if len(filled) == 0:
        return "–"
    if column.kind == "categorical":
        counts = filled.value_counts()
        if counts.iloc[0] == 1:
            return f"such as {' '.join(str(filled.iloc[0]).split())[:24]}"
        top = counts.head(3)
        return ", ".join(
            f"{' '.join(str(level).split())[:16]} {count / len(values):.0%}" for level, count in top.items()
        )
    if column.kind == "boolean":
        return f"true {filled.mean():.0%}"
    if column.kind == "date":
        first, last = (pd.Timestamp("1970-01-01") + pd.Timedelta(days=day) for day in (filled.min(), filled.max()))
        return f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
    return f"{filled.min():.6g} to {filled.max():.6g}, median {filled.median():.6g}"


def alone(values: pd.Series, y: np.ndarray, classes: int) -> float:
    """Return the AUROC with which a column predicts the target alone, fitted on every other row and judged on the rest.

    Categories say their own class frequencies, numbers a decision tree of eight leaves; for more than two classes the
    mean over one-vs-rest. NaN where a half lacks a class.

    >>> y = np.tile([0, 0, 1, 1], 50)
    >>> alone(pd.Series(y * 2.0 + 5), y, 2), alone(pd.Series(np.repeat([1.0, 2.0], 100)), y, 2)
    (1.0, 0.5)
    """
    step = max(1, len(y) // _JUDGED)
    kept, labels = values.iloc[::step].reset_index(drop=True), y[::step]
    # Rows may stand in the order of their classes or of time: every other row is a sample of either.
    order = np.argsort(labels, kind="stable")
    learnt, judged = order[::2], order[1::2]
    if any(len(np.unique(labels[half])) < classes for half in (learnt, judged)):
        return float("nan")
    array = kept.array
    if isinstance(array, pd.Categorical):
        codes = array.codes.astype(np.int64)
        prior = np.bincount(labels[learnt], minlength=classes) / len(learnt)
        table = np.tile(prior, (len(array.categories) + 1, 1))
        np.add.at(table, (codes[learnt], labels[learnt]), 1.0)
        probs = (table / table.sum(axis=1, keepdims=True))[codes[judged]]
    else:
        column = kept.to_numpy().astype(np.float64).reshape(-1, 1)
        column = np.clip(column, -1e30, 1e30)  # the tree computes in float32
        tree = DecisionTreeClassifier(max_leaf_nodes=8, min_samples_leaf=3, random_state=0)
        probs = tree.fit(column[learnt], labels[learnt]).predict_proba(column[judged])
    scores = [roc_auc_score(labels[judged] == label, probs[:, label]) for label in range(classes)]
    return float(np.mean(scores[1:] if classes == 2 else scores))
