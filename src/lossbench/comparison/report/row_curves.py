"""Recorded predictions of many runs: one run in memory at a time, and what of it a figure over seeds needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RATES = np.linspace(0, 1, 201)  # false positive rates and recalls at which curves of several runs are averaged
THRESHOLDS = np.linspace(0, 1, 201)
BINS = 15  # as the metric `ece` has them


class Predictions:
    """The rows that sweeps recorded, found by run; see `lossbench.evaluation.row_table` for their columns.

    Parameters
    ----------
    sources
        Parquet files, or their bytes.
    """

    def __init__(self, sources: Iterable[Path | bytes]) -> None:
        self._groups: dict[str, list[tuple[pq.ParquetFile, int]]] = {}
        self._read: dict[tuple[int, int], dict[str, pd.DataFrame]] = {}
        for source in sources:
            file = pq.ParquetFile(pa.BufferReader(source) if isinstance(source, bytes) else source)
            for group in range(file.num_row_groups):
                for run in _runs_in(file, group):
                    self._groups.setdefault(run, []).append((file, group))

    def __contains__(self, run: str) -> bool:
        return run in self._groups

    def of(self, run: str) -> pd.DataFrame:
        """Return a run's rows without the columns that only runs on other data have; empty for an unknown run."""
        parts = [self._of_group(file, group)[run] for file, group in self._groups.get(run, [])]
        if len(parts) < 2:
            return parts[0] if parts else pd.DataFrame()
        return pd.concat(parts, ignore_index=True)

    def _of_group(self, file: pq.ParquetFile, group: int) -> dict[str, pd.DataFrame]:
        key = (id(file), group)
        if key not in self._read:
            # A group may hold many runs, which are mostly asked for one after the other; two groups are kept at most.
            while len(self._read) > 1:
                del self._read[next(iter(self._read))]
            table = file.read_row_group(group)
            runs = table.column("run_id").unique().to_pylist()
            tables = [table] if len(runs) == 1 else [table.filter(pc.field("run_id") == run) for run in runs]
            self._read[key] = {str(run): _to_frame(part) for run, part in zip(runs, tables, strict=True)}
        return self._read[key]


def _to_frame(table: pa.Table) -> pd.DataFrame:
    kept = [name for name in table.column_names if table.column(name).null_count < len(table)]
    return table.select(kept).to_pandas()


def _runs_in(file: pq.ParquetFile, group: int) -> list[str]:
    # A sweep writes one run per row group, so that its statistics say which without reading it.
    column = file.schema_arrow.get_field_index("run_id")
    statistics = file.metadata.row_group(group).column(column).statistics
    if statistics is not None and statistics.has_min_max and statistics.min == statistics.max:
        return [str(statistics.min)]
    return [str(run) for run in file.read_row_group(group, ["run_id"]).column(0).unique().to_pylist()]


def matrix(rows: pd.DataFrame, name: str) -> Floats:
    """Return the columns ``<name>_0``, ``<name>_1`` ... as (N, columns)."""
    width = 0
    while f"{name}_{width}" in rows:
        width += 1
    return rows[[f"{name}_{column}" for column in range(width)]].to_numpy(dtype=np.float64)


def margin(rows: pd.DataFrame) -> Floats:
    """Return the score for the positive class of two, (N,): above 0 the link decides for it."""
    scores = matrix(rows, "score")
    return scores[:, 0] if scores.shape[1] == 1 else scores[:, 1] - scores[:, 0]


@dataclass(frozen=True)
class Bins:
    """Rows by what was said about them, in `BINS` bins of equal width: how many, and the sums of said and true."""

    count: Floats
    expected: Floats
    true: Floats


@dataclass(frozen=True)
class Curves:
    """What figures over seeds need of one run.

    Parameters
    ----------
    true_rate
        (201,) of the ROC at `RATES`, micro-averaged for three classes or more; None without both classes.
    precision
        (201,) at the recalls `RATES`; None likewise.
    link, posterior
        Reliability of the positive class for two, of the most probable one for more.
    f1_link, f1_posterior
        (201,) at `THRESHOLDS`; None for three classes or more.
    """

    true_rate: Floats | None
    precision: Floats | None
    link: Bins
    posterior: Bins
    f1_link: Floats | None
    f1_posterior: Floats | None


def curves_of(rows: pd.DataFrame, split: str) -> Curves | None:
    """Return the curves of one run on one split; None where it has no rows of it, or scores that are not finite."""
    part = rows[rows["split"] == split] if len(rows) else rows
    if part.empty:
        return None
    target = part["target"].to_numpy()
    scores, link, posterior = (matrix(part, name) for name in ("score", "prob", "posterior"))
    if not (np.isfinite(scores).all() and np.isfinite(link).all() and np.isfinite(posterior).all()):
        return None
    binary = link.shape[1] == 2
    positive = target == 1 if binary else (target[:, None] == np.arange(link.shape[1])).ravel()
    order = (scores if scores.shape[1] == 1 else link[:, 1:] if binary else link).ravel()
    true_rate, precision = _ranked(positive, order)
    return Curves(
        true_rate,
        precision,
        _bins(target, link),
        _bins(target, posterior),
        _f1(positive, link[:, 1]) if binary else None,
        _f1(positive, posterior[:, 1]) if binary else None,
    )


def _ranked(positive: NDArray[np.bool_], scores: Floats) -> tuple[Floats | None, Floats | None]:
    """Return true positive rates and precisions at `RATES`, from the points that `evaluation.curves` gives."""
    if positive.all() or not positive.any():
        return None, None
    # One sort serves both curves; scikit-learn's would sort and check three times.
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(positive[order])[last]
    false = last + 1 - hits
    recall, false_rate = hits / hits[-1], false / false[-1]
    # Where the curve climbs straight up, its top counts.
    true_rate = np.interp(RATES, np.append(0.0, false_rate), np.append(0.0, recall))
    top = np.searchsorted(false_rate, RATES + 1e-12, side="right") - 1
    exact = (top >= 0) & np.isclose(false_rate[top], RATES, rtol=0, atol=1e-12)
    true_rate[exact] = recall[top[exact]]
    precision = hits / (last + 1)
    return true_rate, precision[np.searchsorted(recall, RATES - 1e-12, side="left")]


def _bins(target: NDArray[np.int64], probs: Floats) -> Bins:
    top = np.ones(len(probs), dtype=np.int64) if probs.shape[1] == 2 else probs.argmax(axis=1)
    expected = probs[np.arange(len(probs)), top]
    inside = np.minimum((expected * BINS).astype(np.int64), BINS - 1)
    sums = [np.bincount(inside, weights=w, minlength=BINS) for w in (None, expected, (target == top).astype(float))]
    return Bins(*(values.astype(np.float64) for values in sums))


def _f1(positive: NDArray[np.bool_], probs: Floats) -> Floats:
    """Return F1 where a row is called positive above each of `THRESHOLDS`."""
    # The number of thresholds below a row's probability: it is called positive at all of those.
    below = np.searchsorted(THRESHOLDS, probs, side="left")
    size = len(THRESHOLDS) + 1
    called = [np.bincount(below[which], minlength=size)[::-1].cumsum()[::-1][1:] for which in (positive, ~positive)]
    hits, false_alarms = called
    return 2 * hits / np.maximum(hits + false_alarms + positive.sum(), 1)


def mean_and_band(lines: Sequence[Any]) -> tuple[Floats, Floats, Floats]:
    """Return the mean over runs and the middle 80% of them, at every point."""
    stacked = np.stack(lines)
    low, high = np.quantile(stacked, [0.1, 0.9], axis=0)
    return stacked.mean(axis=0), low, high
