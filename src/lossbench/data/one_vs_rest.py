"""One class of a bundled table against all the others, at any imbalance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from lossbench import randomness
from lossbench.data.bundled import TABLES, Bundled, class_names
from lossbench.data.checks import is_number, require
from lossbench.data.dataset import Seeds
from lossbench.data.source import Draw, Source
from lossbench.errors import DataError


@dataclass(kw_only=True)
class OneVsRest(Source):
    """A table that scikit-learn ships as a problem of two classes: one of its classes, and the ``rest``.

    To reach the wanted rate, rows of one side are left away; which ones stay is drawn anew per source seed. Seeds are
    splits of one table: their rows overlap.

    Parameters
    ----------
    table
        As in `Bundled`: ``digits``, ``wine`` or ``breast_cancer``.
    positive
        The class that is the positive one.
    positive_rate
        Share of positive rows, in (0, 1); None: as they are (a tenth, for digits).
    **others
        As in `Source`.

    Raises
    ------
    ValueError
        For an unknown table or class, or an argument out of range.
    DataError
        From `draw`: where the rate leaves a class fewer than ten rows, of which no split could be made.

    Examples
    --------
    >>> OneVsRest(name="threes", table="digits", positive=3).prepare().task.class_names
    ('rest', '3')
    >>> draw = OneVsRest(name="rare threes", table="digits", positive=3, positive_rate=0.02).draw()
    >>> len(draw.y), int(draw.y.sum())
    (1647, 33)
    """

    seeds: ClassVar[Seeds] = "splits"

    table: str = "digits"
    positive: str | int = 0
    positive_rate: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.table in TABLES, "OneVsRest", f"table to be one of {', '.join(TABLES)}", table=self.table)
        names = class_names(self.table)
        self.positive = str(self.positive)
        rule = f"positive to be a class of {self.table}: {', '.join(names)}"
        require(self.positive in names, "OneVsRest", rule, positive=self.positive)
        rate = self.positive_rate
        valid = rate is None or (is_number(rate) and 0 < rate < 1)
        require(valid, "OneVsRest", "positive_rate null or in (0, 1)", positive_rate=rate)

    def draw(self) -> Draw:
        whole = Bundled(name=self.table).draw()
        y = (whole.y == whole.class_names.index(str(self.positive))).astype(np.int64)
        kept = np.arange(len(y)) if self.positive_rate is None else self._thinned(y, self.positive_rate)
        return Draw(
            x=whole.x[kept],
            y=y[kept],
            feature_names=whole.feature_names,
            class_names=("rest", str(self.positive)),
        )

    def _thinned(self, y: np.ndarray, rate: float) -> np.ndarray:
        """Return rows, in order, of which a share ``rate`` is positive: one class stays whole, the other is cut."""
        positives, negatives = (np.flatnonzero(y == side) for side in (1, 0))
        wanted = (
            min(len(positives), round(len(negatives) * rate / (1 - rate))),
            min(len(negatives), round(len(positives) * (1 - rate) / rate)),
        )
        if min(wanted) < 10:
            raise DataError(
                f"positive_rate={rate} leaves {wanted[0]} rows of {str(self.positive)!r} and {wanted[1]} of 'rest' in "
                f"{self.table}: ten of each are needed"
            )
        generator = randomness.generator(self.source_seed, "source")
        kept = [
            rows[torch.randperm(len(rows), generator=generator).numpy()[:count]]
            for rows, count in zip((positives, negatives), wanted, strict=True)
        ]
        return np.sort(np.concatenate(kept))
