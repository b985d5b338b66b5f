"""Where data comes from: a `Source` draws rows; splitting and scaling are the same for all of them."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lossbench.data.checks import is_integer, is_number, require
from lossbench.data.dataset import Dataset, Rows, Seeds
from lossbench.data.order import Sampler
from lossbench.data.preprocessing import Preprocessing
from lossbench.data.scaling import SCALES, Scale
from lossbench.data.splits import Split, by_fold, by_fraction
from lossbench.errors import DataError
from lossbench.task import Task


@dataclass(frozen=True, eq=False)
class Draw:
    """Raw rows of a source.

    Parameters
    ----------
    x
        (N, F) float64 in original units, finite. (A table's are columns of several kinds: see
        `lossbench.data.table`.)
    y
        (N,) int64 class indices.
    feature_names, class_names
        One name per column and per class; for two classes, index 1 is the positive class.
    test
        An independent test draw ``(x, y)``; None to split one off.
    weight
        Weight of each row (N,) in the training loss; None where all weigh 1.

    Raises
    ------
    DataError
        For no rows or no columns, shapes that disagree, a missing or infinite value (column and row are
        named).

    Examples
    --------
    >>> Draw(np.array([[1.0], [np.nan]]), np.array([0, 1]), ("age",), ("no", "yes"))
    Traceback (most recent call last):
        ...
    lossbench.errors.DataError: column 'age' has a missing value in row 2
    """

    x: Any
    y: np.ndarray
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...]
    test: tuple[Any, np.ndarray] | None = None
    weight: np.ndarray | None = None

    def __post_init__(self) -> None:
        for x, y, where in [
            (self.x, self.y, ""),
            *([(*self.test, " of the test draw")] if self.test else []),
        ]:
            if x.ndim != 2 or y.shape != x.shape[:1]:
                raise DataError(f"a draw needs x (N, F) and y (N,), got {x.shape} and {y.shape}{where}")
            if len(x) == 0 or x.shape[1] == 0:
                raise DataError(f"a draw needs rows and feature columns, got {x.shape[0]} x {x.shape[1]}{where}")
            if x.shape[1] != len(self.feature_names):
                raise DataError(
                    f"a draw needs one name per column, got {len(self.feature_names)} names "
                    f"for {x.shape[1]} columns{where}"
                )
            if x.dtype != np.float64 or y.dtype != np.int64:
                raise DataError(f"a draw needs float64 x and int64 y, got {x.dtype} and {y.dtype}{where}")
            if y.min() < 0 or y.max() >= len(self.class_names):
                raise DataError(
                    f"class indices run from 0 to {len(self.class_names) - 1}, got {y.min()} to {y.max()}{where}"
                )
            finite = np.isfinite(x).all(axis=0)
            if not finite.all():
                column = int(np.argmin(finite))
                row = int(np.argmin(np.isfinite(x[:, column])))
                kind = "a missing" if np.isnan(x[row, column]) else "an infinite"
                raise DataError(f"column {self.feature_names[column]!r} has {kind} value in row {row + 1}{where}")

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of names and values."""
        hashed = hashlib.sha256(repr((self.feature_names, self.class_names, self.x.shape)).encode())
        for array in (self.x, self.y, *(self.test or ())):
            hashed.update(np.ascontiguousarray(array).data)
        return hashed.hexdigest()


@dataclass(kw_only=True)
class Source(ABC):
    """The arguments that every source has; a leaf says in `draw` where the rows come from.

    Parameters
    ----------
    name
        What tables and the record call the data.
    source_seed
        Seed of the streams ``source`` and ``test``: which rows are drawn.
    split_seed
        Seed of the stream ``split``: which rows land in which split.
    val
        Validation rows, in (0, 1): a fraction of the draw, with folds a fraction of what the test fold
        leaves. Never 0, since epochs are selected on it.
    test
        Test rows as a fraction of the draw; 0 for no test split. Not used with a fold or an independent test
        draw.
    folds, fold
        With ``fold`` given, that one of ``folds`` stratified folds is the test split.
    scale
        ``"standard"``: mean 0 and standard deviation 1 by the training rows; ``"robust"``: median 0 and
        interquartile range 1; ``"minmax"``: from 0 to 1; or ``"none"``.
    batch_size
        Rows of a training batch; None for the full batch.
    sampler
        ``"natural"``: an epoch of training visits every row once. ``"balanced"``: it draws as many rows with
        replacement, every class equally often, which is re-sampling where a ``balanced`` weighting is
        re-weighting. Priors stay those of the split, and the posterior undoes the sampler.

    Raises
    ------
    ValueError
        For an argument of the wrong type or out of range.
    """

    seeds: ClassVar[Seeds]

    name: str
    source_seed: int = 0
    split_seed: int = 0
    val: float = 0.2
    test: float = 0.2
    folds: int = 5
    fold: int | None = None
    scale: Scale = "standard"
    batch_size: int | None = None
    sampler: Sampler = "natural"

    def __post_init__(self) -> None:
        me = type(self).__name__
        require(isinstance(self.name, str) and self.name != "", me, "a name", name=self.name)
        require(is_integer(self.source_seed), me, "an integer seed", source_seed=self.source_seed)
        require(is_integer(self.split_seed), me, "an integer seed", split_seed=self.split_seed)
        require(is_number(self.val) and 0 < self.val < 1, me, "0 < val < 1", val=self.val)
        require(is_number(self.test) and 0 <= self.test < 1, me, "0 <= test < 1", test=self.test)
        require(is_integer(self.folds) and self.folds >= 2, me, "an integer folds >= 2", folds=self.folds)
        in_range = self.fold is None or (is_integer(self.fold) and 0 <= self.fold < self.folds)
        require(in_range, me, f"fold null or an integer from 0 to {self.folds - 1}", fold=self.fold)
        if self.fold is None:
            require(self.val + self.test < 1, me, "val + test < 1", val=self.val, test=self.test)
        require(self.scale in SCALES, me, f"scale one of {', '.join(SCALES)}", scale=self.scale)
        positive = self.batch_size is None or (is_integer(self.batch_size) and self.batch_size >= 1)
        require(positive, me, "batch_size null or an integer >= 1", batch_size=self.batch_size)
        require(self.sampler in ("natural", "balanced"), me, "sampler 'natural' or 'balanced'", sampler=self.sampler)

    @abstractmethod
    def draw(self) -> Draw:
        """Return the raw rows; a function of the arguments alone, whatever the global generators hold."""

    def bayes(self) -> Callable[[np.ndarray], np.ndarray] | None:
        """Return the true class posterior as a function of raw x, (N, F) -> (N, K); None where unknown."""
        return None

    def cut(self, draw: Draw) -> Split:
        """Return which rows of a draw land in which split."""
        if self.fold is not None:
            return by_fold(draw.y, draw.class_names, self.val, self.folds, self.fold, self.split_seed)
        test = self.test if draw.test is None else 0.0
        return by_fraction(draw.y, draw.class_names, self.val, test, self.split_seed)

    def fit(self, draw: Draw, train: np.ndarray) -> Preprocessing:
        """Fit the preprocessing on the training rows of a draw."""
        return Preprocessing.of_matrix(draw.x[train], draw.feature_names, self.scale)

    def encode(self, fitted: Preprocessing, x: Any, index: np.ndarray) -> np.ndarray:
        """Return some rows of a draw's ``x`` as the network sees them, (N, F)."""
        return fitted.scale(x[index])

    def prepare(self) -> Dataset:
        """Draw, split and preprocess; whatever is fitted is fitted on the training rows."""
        draw = self.draw()
        if self.fold is not None and draw.test is not None:
            raise DataError(f"a fold is a test split, but {self.name} has its own test draw, got fold={self.fold}")
        split = self.cut(draw)
        fitted = self.fit(draw, split.train)
        counts = np.bincount(draw.y[split.train], minlength=len(draw.class_names))
        task = Task(fitted.n_features, draw.class_names, tuple(int(count) for count in counts))

        def rows(index: np.ndarray, weight: np.ndarray | None = None) -> Rows:
            x = self.encode(fitted, draw.x, index)
            return Rows(x, draw.y[index], index, None if weight is None else weight[index])

        test_rows: Rows | None = None
        if draw.test is not None:
            x, y = draw.test
            index = np.arange(len(y))
            test_rows = Rows(self.encode(fitted, x, index), y, index)
        elif split.test is not None:
            test_rows = rows(split.test)
        return Dataset(
            name=self.name,
            train=rows(split.train, draw.weight),
            val=rows(split.val),
            test=test_rows,
            task=task,
            preprocessing=fitted,
            seeds=self.seeds,
            digest=draw.digest,
            batch_size=self.batch_size,
            bayes=self.bayes(),
            sampler=self.sampler,
        )
