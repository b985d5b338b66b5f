"""Fit a table's preprocessing on its training rows; scikit-learn's estimators find the statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

from lossbench.data.checks import is_integer, is_number, require
from lossbench.data.preprocessing import Preprocessing
from lossbench.data.scaling import SCALES, Scale, fit_scale
from lossbench.data.tables.columns import Categorical, Column, Date, Numeric
from lossbench.data.tables.parsing import Kind

Impute = Literal["median", "mean", "most_frequent"]


@dataclass(frozen=True)
class Recipe:
    """How columns are prepared.

    Parameters
    ----------
    impute
        What takes the place of a missing number: ``median``, ``mean`` or ``most_frequent`` of the training rows (a
        boolean always takes the most frequent, a date the median; a missing category is a level of its own). None
        refuses missing values.
    indicator
        Whether a number, boolean or date that is missing in training gets a column that says where.
    scale
        Of numbers, booleans and days: ``standard``, ``robust``, ``minmax`` or ``none``.
    min_frequency
        Training rows that a level needs for a column of its own: a number of rows, or a fraction of them in (0, 1).
    max_categories
        Columns that one categorical column becomes at most, that of the rare levels included.

    Raises
    ------
    ValueError
        For an argument of the wrong type or out of range.
    """

    impute: Impute | None = "median"
    indicator: bool = True
    scale: Scale = "standard"
    min_frequency: int | float = 5
    max_categories: int = 20

    def __post_init__(self) -> None:
        imputes = get_args(Impute)
        require(
            self.impute is None or self.impute in imputes, "Table", f"impute null, {', '.join(imputes)}",
            impute=self.impute,
        )  # fmt: skip
        require(isinstance(self.indicator, bool), "Table", "indicator true or false", indicator=self.indicator)
        require(self.scale in SCALES, "Table", f"scale one of {', '.join(SCALES)}", scale=self.scale)
        rows = is_integer(self.min_frequency) and self.min_frequency >= 1
        share = isinstance(self.min_frequency, float) and is_number(self.min_frequency) and 0 < self.min_frequency < 1
        rule = "min_frequency a whole number >= 1 or a fraction in (0, 1)"
        require(rows or share, "Table", rule, min_frequency=self.min_frequency)
        several = is_integer(self.max_categories) and self.max_categories >= 2
        require(several, "Table", "a whole number max_categories >= 2", max_categories=self.max_categories)


def fit(
    parsed: pd.DataFrame,
    kinds: Mapping[str, Kind],
    recipe: Recipe,
    formats: Mapping[str, str],
    rows: np.ndarray | None = None,
) -> Preprocessing:
    """Fit parsed rows.

    Parameters
    ----------
    parsed
        Columns as `lossbench.data.tables.parsing.parse` leaves them.
    kinds
        Of every column, by name.
    recipe
        What to do with them.
    formats
        How the dates of a column were written, where not in ISO 8601.
    rows
        The training rows; None: all.

    Examples
    --------
    >>> train = pd.DataFrame({"age": [1.0, 3.0, np.nan], "color": pd.Categorical(["red", "blue", "red"])})
    >>> kinds = {"age": "numeric", "color": "categorical"}
    >>> fitted = fit(train, kinds, Recipe(scale="none", min_frequency=2), {})
    >>> fitted.feature_names
    ('age', 'age missing', 'color=red', 'color other')
    >>> fitted.encode(train).tolist()
    [[1.0, 0.0, 1.0, 0.0], [3.0, 0.0, 0.0, 1.0], [2.0, 1.0, 1.0, 0.0]]
    """
    columns = []
    for name, kind in kinds.items():
        values = parsed[name] if rows is None else parsed[name].take(rows)
        columns.append(_fit(values, name, kind, recipe, formats.get(name)))
    return Preprocessing(tuple(columns))


def _fit(values: pd.Series, name: str, kind: Kind, recipe: Recipe, pattern: str | None) -> Column:
    impute = recipe.impute is not None
    if kind == "categorical":
        return _categorical(values, name, recipe)
    column = values.to_numpy().reshape(-1, 1)
    strategy = {"boolean": "most_frequent", "date": "median"}.get(kind, recipe.impute or "median")
    # A column without a single value is filled with 0, as scikit-learn fills it.
    imputer = SimpleImputer(strategy=strategy, keep_empty_features=True).fit(column)
    filled = imputer.transform(column)
    center, spread = (float(part[0]) for part in fit_scale(filled, [name], recipe.scale))
    fill = float(imputer.statistics_[0])
    indicator = recipe.indicator and impute and bool(np.isnan(column).any())
    if kind == "date":
        times = bool((filled % 1 != 0).any())
        return Date(name, pattern, fill, impute, center, spread, indicator, times)
    return Numeric(name, kind == "boolean", fill, impute, center, spread, indicator)


def _categorical(values: pd.Series, name: str, recipe: Recipe) -> Categorical:
    categories = values.array
    assert isinstance(categories, pd.Categorical)
    # The encoder sees numbers, which it sorts and counts much faster than text; a missing value is the last of them.
    levels = [*categories.categories, None]
    codes = np.where(categories.codes < 0, len(categories.categories), categories.codes).astype(np.int64).reshape(-1, 1)
    encoder = OneHotEncoder(
        min_frequency=recipe.min_frequency,
        max_categories=recipe.max_categories,
        handle_unknown="infrequent_if_exist",
    ).fit(codes)
    rare = encoder.infrequent_categories_[0]
    rare = np.array([], dtype=np.int64) if rare is None else rare
    kept = [levels[code] for code in np.setdiff1d(encoder.categories_[0], rare)]
    counts = np.bincount(categories.codes[categories.codes >= 0], minlength=1)
    most = levels[int(np.argmax(counts))] or ""
    return Categorical(name, tuple(kept), len(rare) > 0, recipe.impute is not None, most)
