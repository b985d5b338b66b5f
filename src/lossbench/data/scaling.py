"""Columns brought to mean 0 and standard deviation 1, by the training rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.preprocessing import StandardScaler

from lossbench.errors import DataError


@dataclass(frozen=True, eq=False)
class Scaler:
    """The map x -> (x - mean) / scale, column by column, as plain arrays.

    Parameters
    ----------
    mean, scale
        (F,) float64; ``scale`` is the standard deviation with divisor N, and 1 for a constant column.

    Examples
    --------
    >>> scaler = Scaler.fit(np.array([[1.0, 5.0], [3.0, 5.0]]), ["varies", "constant"])
    >>> scaler.mean.tolist(), scaler.scale.tolist()
    ([2.0, 5.0], [1.0, 1.0])
    >>> scaler.apply(np.array([[4.0, 6.0]])).tolist()
    [[2.0, 1.0]]
    >>> scaler.undo(np.array([[2.0, 1.0]])).tolist()
    [[4.0, 6.0]]
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, x: np.ndarray, feature_names: Sequence[str]) -> Scaler:
        """Take mean and scale from these rows (N, F); DataError for a column whose variance overflows.

        scikit-learn's StandardScaler decides what is constant up to rounding:
        https://scikit-learn.org/stable/modules/generated/sklearn.preprocessing.StandardScaler.html
        """
        with np.errstate(over="ignore", invalid="ignore"):
            fitted = StandardScaler().fit(x)
        finite = np.isfinite(fitted.mean_) & np.isfinite(fitted.scale_)
        if not finite.all():
            name = feature_names[int(np.argmin(finite))]
            raise DataError(f"column {name!r} cannot be scaled: its values are too large for a variance in float64")
        return cls(mean=fitted.mean_, scale=fitted.scale_)

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Return scaled inputs, (N, F) -> (N, F)."""
        return (x - self.mean) / self.scale

    def undo(self, x: np.ndarray) -> np.ndarray:
        """Return inputs in original units, (N, F) -> (N, F)."""
        return x * self.scale + self.mean
