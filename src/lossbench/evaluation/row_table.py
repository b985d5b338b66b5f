"""The table of a network's predictions, row by row, from which figures and row bootstraps are made later."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lossbench.data.dataset import Dataset, Rows
from lossbench.evaluation.evaluation import Evaluation

GRID = 64


def build_row_table(
    dataset: Dataset,
    evaluation: Evaluation,
    scores_of: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    limit: int | None = 5000,
) -> pa.Table:
    """Return the validation and test rows with their scores, probabilities and posteriors.

    Columns: ``split`` (``val``, ``test`` or ``grid``), ``row`` (number in the draw), ``target`` (class index),
    ``score_<i>``, ``prob_<i>`` (through the link) and ``posterior_<i>``; for two features also ``x_<i>`` in original
    units and a 64 x 64 grid of scores over the training data (``target`` -1), for decision regions.

    Parameters
    ----------
    scores_of
        The network, for the grid; the splits' scores are in ``evaluation``.
    limit
        Rows kept per split, evenly spaced, the same for every objective of a seed; None keeps all.
    """
    two = dataset.train.x.shape[1] == 2
    parts = []
    for name, rows in (("val", dataset.val), ("test", dataset.test)):
        if rows is None:
            continue
        keep = _thin(len(rows), limit)
        thinned = Rows(rows.x[keep], rows.y[keep], rows.index[keep])
        columns = _columns("score", evaluation.scores[name][keep])
        columns |= _columns("prob", evaluation.probs[name][keep])
        columns |= _columns("posterior", evaluation.posteriors[name][keep])
        parts.append(_table(name, dataset, thinned, columns, two))
    if two:
        grid = _grid(dataset)
        parts.append(_table("grid", dataset, grid, _columns("score", scores_of(grid.x)), two))
    return pa.concat_tables(parts, promote_options="default")


def _table(name: str, dataset: Dataset, rows: Rows, columns: dict[str, NDArray[np.float64]], two: bool) -> pa.Table:
    columns |= _columns("x", dataset.raw(rows)) if two else {}
    keys = {"split": pa.repeat(name, len(rows)), "row": pa.array(rows.index), "target": pa.array(rows.y)}
    # NaN is "not known" here: null, as pandas would write it.
    return pa.table(keys | {key: pa.array(values, from_pandas=True) for key, values in columns.items()})


@cache
def _thin(n_rows: int, limit: int | None) -> NDArray[np.int64]:
    kept = n_rows if limit is None else min(limit, n_rows)
    return np.unique(np.linspace(0, n_rows - 1, kept).round().astype(np.int64))


def _columns(name: str, values: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    return {f"{name}_{i}": values[:, i] for i in range(values.shape[1])}


def _grid(dataset: Dataset) -> Rows:
    # Column by column, since numpy takes ten times as long over an axis of two.
    columns = np.ascontiguousarray(dataset.train.x.T)
    low, high = columns.min(axis=1), columns.max(axis=1)
    margin = 0.05 * (high - low)
    x, y = np.linspace(low - margin, high + margin, GRID, axis=1)
    points = np.column_stack([np.tile(x, GRID), np.repeat(y, GRID)])
    return Rows(points, np.full(len(points), -1), np.arange(len(points)))
