"""What a raw column becomes in the matrix that a network sees; one small class per kind of column."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from lossbench.data.tables.parsing import Kind
from lossbench.errors import DataError


@dataclass(frozen=True)
class Column(ABC):
    """A raw column with its fitted statistics, as plain Python values.

    Parameters
    ----------
    name
        Of the raw column.
    """

    name: str

    tag: ClassVar[str]

    @property
    @abstractmethod
    def kind(self) -> Kind:
        """What the raw column holds."""

    @property
    @abstractmethod
    def features(self) -> tuple[str, ...]:
        """Names of the matrix columns that it becomes."""

    @property
    @abstractmethod
    def scales(self) -> list[tuple[float, float]]:
        """Center and spread of each of these columns; (0, 1) where it is not scaled."""

    @property
    @abstractmethod
    def example(self) -> Any:
        """A typical value."""

    @property
    def format(self) -> str | None:
        """How its dates are written; None for ISO 8601."""
        return None

    @abstractmethod
    def write(self, values: pd.Series, out: np.ndarray, first_row: int = 1) -> None:
        """Put parsed values (N,) into the zeros of ``out`` (N, width)."""

    def _filled(self, values: pd.Series, fill: float, impute: bool, first_row: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the values with their gaps filled, and where the gaps were."""
        numbers = values.to_numpy()
        missing = np.isnan(numbers)
        if not missing.any():
            return numbers, missing
        if not impute:
            raise DataError(f"column {self.name!r} has a missing value in row {int(np.argmax(missing)) + first_row}")
        return np.where(missing, fill, numbers), missing


@dataclass(frozen=True)
class Numeric(Column):
    """A number, or a boolean as 0 and 1: filled, scaled, and beside it whether it was missing.

    Parameters
    ----------
    boolean
        Whether the raw column is one of booleans.
    fill
        A typical value, which takes the place of a missing one.
    impute
        Whether missing values are taken at all.
    center, spread
        x becomes (x - center) / spread.
    indicator
        A column that is 1 where the value was missing.
    """

    boolean: bool
    fill: float
    impute: bool
    center: float
    spread: float
    indicator: bool

    tag: ClassVar[str] = "numeric"

    @property
    def kind(self) -> Kind:
        return "boolean" if self.boolean else "numeric"

    @property
    def features(self) -> tuple[str, ...]:
        return (self.name, f"{self.name} missing") if self.indicator else (self.name,)

    @property
    def scales(self) -> list[tuple[float, float]]:
        return [(self.center, self.spread), (0.0, 1.0)][: len(self.features)]

    @property
    def example(self) -> float | bool:
        return bool(self.fill) if self.boolean else self.fill

    def write(self, values: pd.Series, out: np.ndarray, first_row: int = 1) -> None:
        numbers, missing = self._filled(values, self.fill, self.impute, first_row)
        out[:, 0] = (numbers - self.center) / self.spread
        if self.indicator:
            out[:, 1] = missing


@dataclass(frozen=True)
class Categorical(Column):
    """Text, one column of 0 and 1 per level; rare and unseen levels share one, where training had rare ones.

    An unseen level is all zeros where training had no rare one.

    Parameters
    ----------
    levels
        With a column each, None for a missing value, last.
    other
        Whether rare levels have a column together.
    impute
        Whether missing values are taken at all.
    most
        The most frequent level.
    """

    levels: tuple[str | None, ...]
    other: bool
    impute: bool
    most: str

    tag: ClassVar[str] = "categorical"

    @property
    def kind(self) -> Kind:
        return "categorical"

    @property
    def features(self) -> tuple[str, ...]:
        columns = [f"{self.name} missing" if level is None else f"{self.name}={level}" for level in self.levels]
        return (*columns, *([f"{self.name} other"] if self.other else []))

    @property
    def scales(self) -> list[tuple[float, float]]:
        return [(0.0, 1.0)] * len(self.features)

    @property
    def example(self) -> str:
        return self.most

    def write(self, values: pd.Series, out: np.ndarray, first_row: int = 1) -> None:
        categories = values.array
        assert isinstance(categories, pd.Categorical)
        codes = categories.codes
        if not self.impute and (codes < 0).any():
            row = int(np.argmax(codes < 0)) + first_row
            raise DataError(f"column {self.name!r} has a missing value in row {row}")
        number_of = {level: number for number, level in enumerate(self.levels)}
        # A level without a column of its own is written to one past the last, where there is none.
        rest = len(self.levels)
        target = np.array([number_of.get(level, rest) for level in (*categories.categories, None)], dtype=np.int64)[
            codes
        ]
        rows = np.arange(len(target))
        if not self.other:
            kept = target < rest
            rows, target = rows[kept], target[kept]
        out[rows, target] = 1


@dataclass(frozen=True)
class Date(Column):
    """A point in time: days since 1970, scaled, and its place in the year, the week and the day.

    The places are sine and cosine of an angle, so that December stands beside January.

    Parameters
    ----------
    pattern
        How text is read, as in ``strptime``; None for ISO 8601.
    fill
        The median of the training rows, in days, which takes the place of a missing date.
    impute, center, spread, indicator
        As in `Numeric`, of the days.
    times
        Whether the training rows have times of the day.
    """

    pattern: str | None
    fill: float
    impute: bool
    center: float
    spread: float
    indicator: bool
    times: bool

    tag: ClassVar[str] = "date"

    @property
    def kind(self) -> Kind:
        return "date"

    @property
    def format(self) -> str | None:
        return self.pattern

    @property
    def features(self) -> tuple[str, ...]:
        cycles = ["year", "week", *(["day"] if self.times else [])]
        waves = [f"{self.name} {wave} of {cycle}" for cycle in cycles for wave in ("sine", "cosine")]
        return (f"{self.name} days", *waves, *([f"{self.name} missing"] if self.indicator else []))

    @property
    def scales(self) -> list[tuple[float, float]]:
        return [(self.center, self.spread), *[(0.0, 1.0)] * (len(self.features) - 1)]

    @property
    def example(self) -> str:
        moment = pd.Timestamp("1970-01-01") + pd.Timedelta(days=self.fill)
        moment = moment.round("s") if self.times else moment.normalize()
        return moment.strftime(self.pattern) if self.pattern else moment.isoformat(sep=" ")

    def write(self, values: pd.Series, out: np.ndarray, first_row: int = 1) -> None:
        days, missing = self._filled(values, self.fill, self.impute, first_row)
        out[:, 0] = (days - self.center) / self.spread
        whole = np.floor(days)
        # 1970-01-01 was a Thursday: day 4 of a week that starts on Sunday.
        turns = [fraction_of_year(days), (days + 4) % 7 / 7, *([days - whole] if self.times else [])]
        for number, turn in enumerate(turns):
            angle = 2 * np.pi * turn
            out[:, 2 * number + 1], out[:, 2 * number + 2] = np.sin(angle), np.cos(angle)
        if self.indicator:
            out[:, -1] = missing


def fraction_of_year(days: np.ndarray) -> np.ndarray:
    """Return the fraction of its year that has passed at a day counted from 1970-01-01.

    >>> fraction_of_year(np.array([0.0, 365.0, 365.0 + 182.5])).tolist()
    [0.0, 0.0, 0.5]
    """
    dates = np.floor(days).astype("datetime64[D]")
    years = dates.astype("datetime64[Y]")
    first = years.astype("datetime64[D]").astype(np.float64)
    length = (years + 1).astype("datetime64[D]").astype(np.float64) - first
    return (days - first) / length


LEAVES: dict[str, type[Column]] = {leaf.tag: leaf for leaf in (Numeric, Categorical, Date)}
