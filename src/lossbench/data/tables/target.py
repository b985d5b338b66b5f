"""From a column of labels to class indices and class names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from lossbench.data.tables.parsing import as_text, is_text
from lossbench.errors import DataError

# A float column with more distinct values than this is a quantity, not a set of classes.
FLOAT_CLASSES = 20
# So are more integers than that, where they have fewer rows than this on average.
ROWS_PER_CLASS = 10


def encode(
    column: pd.Series,
    name: str,
    positive: str | int | bool | None = None,
    classes: Sequence[str | int | bool] | None = None,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return class indices (N,) int64 and the names of the classes.

    Classes are sorted: numbers by value, text by code point. With two classes the larger one in this order is
    the positive class, index 1, unless ``positive`` names the other or ``classes`` gives the order. Floats that are
    all integers count as integers (readers make floats of integers for their own reasons).

    Raises
    ------
    DataError
        For a missing label, fewer than two classes, a float column with more than 20 distinct values (a
        regression target) or one of integers of fewer than 10 rows each, classes that differ in capitals or blanks
        alone, a type that is neither integer, bool nor text, a ``positive`` that is no class
        of two, or ``classes`` that are not those of the column.

    Examples
    --------
    >>> y, names = encode(pd.Series(["b", "a", "b"]), "label")
    >>> y.tolist(), names
    ([1, 0, 1], ('a', 'b'))
    >>> y, names = encode(pd.Series([0, 1, 1]), "label", positive=0)
    >>> y.tolist(), names
    ([1, 0, 0], ('1', '0'))
    """
    missing = column.isna().to_numpy()
    if missing.any():
        words = "; where NA, None or null is a class of a text file, say data.usual_missing=false"
        row = int(np.argmax(missing)) + 1
        raise DataError(f"target {name!r} has a missing value in row {row}{words if is_text(column) else ''}")
    values, y = np.unique(_labels(column, name), return_inverse=True)
    class_names = tuple(str(value) for value in values.tolist())
    if len(class_names) < 2:
        raise DataError(f"target {name!r} needs two classes or more, every row has {class_names[0]!r}")
    y = y.astype(np.int64)
    if classes is None:
        _require_classes(values, y, name)
    if classes is not None:
        order = [str(label) for label in classes]
        if sorted(order) != sorted(class_names):
            raise DataError(
                f"classes={order} are not those of {name!r}, which has {_shown(class_names)} (quote words such as 'no')"
            )
        if positive is not None and (len(order) != 2 or str(positive) != order[1]):
            raise DataError(f"positive={positive!r} and classes={order} disagree: the last of two classes is positive")
        return np.array([order.index(label) for label in class_names], dtype=np.int64)[y], tuple(order)
    if positive is None:
        return y, class_names
    if len(class_names) > 2:
        raise DataError(f"positive={positive!r} needs a target of two classes, {name!r} has {len(class_names)}")
    if str(positive) not in class_names:
        raise DataError(f"positive={positive!r} is no class of {name!r}, it has {' and '.join(map(repr, class_names))}")
    if str(positive) == class_names[0]:
        return 1 - y, class_names[::-1]
    return y, class_names


def follow(column: pd.Series, name: str, class_names: Sequence[str]) -> np.ndarray:
    """Return the class indices of a column that is labelled as another was, such as that of a test file.

    Raises
    ------
    DataError
        For a missing label, or one that is none of the classes; its row is named.
    """
    codes, distinct = pd.factorize(column)
    number_of = {label: number for number, label in enumerate(class_names)}
    y = np.array([number_of.get(as_text(label), -1) for label in distinct] + [-1], dtype=np.int64)[codes]
    if (y < 0).any():
        row = int(np.argmax(y < 0))
        label = column.iloc[row]
        raise DataError(
            f"target {name!r} has {str(label)[:40]!r} in row {row + 1}, which is none of {_shown(class_names)}"
        )
    return y


def _require_classes(values: np.ndarray, y: np.ndarray, name: str) -> None:
    """Refuse what is hardly meant as classes, unless a person has listed them."""
    if values.dtype.kind in "iu" and len(values) > FLOAT_CLASSES and len(y) < ROWS_PER_CLASS * len(values):
        raise DataError(
            f"target {name!r} looks like a regression target (integers, {len(values)} distinct values in {len(y)} "
            f"rows); where they are classes, list them in data.classes"
        )
    pair = alike(values.tolist()) if values.dtype == object else None
    if pair is not None:
        row = int(np.argmax(values[y] == pair[1])) + 1
        raise DataError(
            f"target {name!r} has the classes {pair[0]!r} and, in row {row}, {pair[1]!r}, which differ in capitals or "
            f"blanks alone: write them alike, or list the classes in data.classes"
        )


def alike(levels: Iterable[str]) -> tuple[str, str] | None:
    """Return the first two texts that differ in capitals or blanks alone; None where no two do.

    >>> alike(["no", "Yes", "yes "]), alike(["a b", "ab"])
    (('Yes', 'yes '), None)
    """
    first: dict[str, str] = {}
    for level in levels:
        other = first.setdefault(" ".join(level.split()).casefold(), level)
        if other != level:
            return other, level
    return None


def _shown(class_names: Sequence[str], limit: int = 10) -> str:
    more = f" and {len(class_names) - limit} more" if len(class_names) > limit else ""
    return ", ".join(map(repr, class_names[:limit])) + more


def _labels(column: pd.Series, name: str) -> np.ndarray:
    """Return labels that sort: bools, integers, floats, or text as objects."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    kind = column.dtype
    if pd.api.types.is_bool_dtype(kind):
        return column.to_numpy(dtype=bool)
    if pd.api.types.is_integer_dtype(kind):
        return column.to_numpy()
    if pd.api.types.is_float_dtype(kind):
        values = column.to_numpy(dtype=np.float64)
        distinct = len(np.unique(values))
        if distinct > FLOAT_CLASSES:
            raise DataError(
                f"target {name!r} looks like a regression target (float, {distinct} distinct values); "
                f"classes are integers, bools or text"
            )
        whole = np.isfinite(values).all() and (values == np.floor(values)).all() and np.abs(values).max() < 2**53
        return values.astype(np.int64) if whole else values
    labels = column.to_numpy(dtype=object)
    for row, label in enumerate(labels):
        if not isinstance(label, str):
            shown = f"{type(label).__name__} {str(label)[:40]!r} in row {row + 1}"
            raise DataError(f"target {name!r} needs integers, bools or text, got {shown}")
    return labels
