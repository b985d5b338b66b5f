"""The three splits of one draw, preprocessed, with what later steps read of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lossbench.data.order import Sampler
from lossbench.data.preprocessing import Preprocessing
from lossbench.task import Task

# "draws": each source seed is an independent draw; "splits": each split seed cuts the same table once more.
# The statistical test of a comparison depends on it.
Seeds = Literal["draws", "splits"]


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of one split.

    Parameters
    ----------
    x
        (N, F) float64, preprocessed.
    y
        (N,) int64 class indices.
    index
        (N,) int64 row numbers, counted from 0 in the draw that the split was cut from (for an independent
        test draw: in that test draw).
    weight
        (N,) float64, >= 0: what each row's loss is multiplied by in training; None where all rows weigh 1. Metrics,
        priors, thresholds and calibrators count every row once.

    Examples
    --------
    >>> rows = Rows(x=np.zeros((2, 3)), y=np.array([0, 1]), index=np.array([7, 4]))
    >>> len(rows)
    2
    """

    x: np.ndarray
    y: np.ndarray
    index: np.ndarray
    weight: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, eq=False)
class Dataset:
    """One draw of a source, split and preprocessed: what one run is trained and judged on.

    Parameters
    ----------
    name
        What tables and the record call it.
    train, val, test
        The splits; ``test`` is None where there is none.
    task
        What the training split says about the problem.
    preprocessing
        From raw columns to ``x``, fitted on train; the same for rows that come later.
    seeds
        Whether seeds are independent ``"draws"`` or ``"splits"`` of one table.
    digest
        SHA-256 (hex) of the raw draw, test draw included; equal digests mean equal data, whatever the split.
    batch_size
        Rows of a training batch; None is the full batch.
    bayes
        The true class posterior as a function of x in original units, (N, F) -> (N, K); None where unknown.
    sampler
        How training batches draw rows; ``task`` counts those of the split, whatever is drawn.
    """

    name: str
    train: Rows
    val: Rows
    test: Rows | None
    task: Task
    preprocessing: Preprocessing
    seeds: Seeds
    digest: str
    batch_size: int | None
    bayes: Callable[[np.ndarray], np.ndarray] | None
    sampler: Sampler = "natural"

    @property
    def feature_names(self) -> tuple[str, ...]:
        """One name per column of ``x``."""
        return self.preprocessing.feature_names

    @property
    def sampling_rates(self) -> np.ndarray | None:
        """How often training draws a row of each class relative to the natural training split, (K,).

        Share in the batches / prior, 1 / (K prior) for the balanced sampler; None for the natural one, where all
        are 1.
        """
        if self.sampler == "natural":
            return None
        return 1 / (self.task.n_classes * np.array(self.task.priors))

    def raw(self, rows: Rows) -> np.ndarray:
        """Return the inputs of a split in original units, (N, F) (equal to the draw up to rounding)."""
        return self.preprocessing.undo(rows.x)
