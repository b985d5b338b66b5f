"""Columns brought to a common scale, by the training rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from lossbench.errors import DataError

Scale = Literal["standard", "robust", "minmax", "none"]
SCALES: tuple[str, ...] = get_args(Scale)


def fit_scale(x: np.ndarray, names: Sequence[str], scale: Scale) -> tuple[np.ndarray, np.ndarray]:
    """Return center and spread (F,) of the columns of x (N, F), for x -> (x - center) / spread.

    ``standard``: mean and standard deviation (divisor N); ``robust``: median and interquartile range; ``minmax``:
    minimum and range; ``none``: 0 and 1. A constant column has spread 1. scikit-learn's scalers compute them and
    decide what is constant up to rounding: https://scikit-learn.org/stable/modules/preprocessing.html

    Raises
    ------
    DataError
        For a column whose statistics overflow.

    Examples
    --------
    >>> center, spread = fit_scale(np.array([[1.0, 5.0], [3.0, 5.0]]), ["varies", "constant"], "standard")
    >>> center.tolist(), spread.tolist()
    ([2.0, 5.0], [1.0, 1.0])
    """
    width = x.shape[1]
    if scale == "none":
        return np.zeros(width), np.ones(width)
    with np.errstate(over="ignore", invalid="ignore"):
        if scale == "standard":
            standard = StandardScaler().fit(x)
            center, spread = standard.mean_, standard.scale_
        elif scale == "robust":
            robust = RobustScaler().fit(x)
            center, spread = robust.center_, robust.scale_
        else:
            minmax = MinMaxScaler().fit(x)
            center, spread = minmax.data_min_, 1 / minmax.scale_
    finite = np.isfinite(center) & np.isfinite(spread)
    if not finite.all():
        name = names[int(np.argmin(finite))]
        raise DataError(f"column {name!r} cannot be scaled: its values are too large for a variance in float64")
    return center, spread
