"""What the runs said epoch by epoch, read back."""

from __future__ import annotations

import io
from collections.abc import Iterable

import pandas as pd

from lossbench.errors import UserError
from lossbench.tracking.artifacts import read_artifact
from lossbench.tracking.client import MlflowException, Run, RunInfo
from lossbench.tracking.run import HISTORY
from lossbench.tracking.store import Store


def history(store: Store, run_id: str) -> pd.DataFrame:
    """Return the epochs of a run: a column `epoch` and one per metric.

    From the run's `history.csv`; where that is missing (a run still going, or not ours) from MLflow's own
    history, key by key.
    """
    run = _get(store, run_id)
    table = _table(store, run.info)
    if table is not None:
        return table
    by_epoch: dict[int, dict[str, float]] = {}
    for key in run.data.metrics:
        for point in store.client.get_metric_history(run_id, key):
            by_epoch.setdefault(point.step, {})[key] = point.value
    rows = [{"epoch": step, **by_epoch[step]} for step in sorted(by_epoch)]
    return pd.DataFrame(rows, columns=None if rows else ["epoch"])


def mean_curve(store: Store, runs: Iterable[RunInfo], prefix: str = "val/") -> pd.DataFrame:
    """Return the mean history of some runs over the epochs that all of them reached.

    Where runs stop early, an epoch that only the longest reached would average another set of runs than the
    one before it, and the curve would jump for that reason alone.

    Parameters
    ----------
    runs
        Those without a `history.csv` are passed over.
    prefix
        Which keys.

    Returns
    -------
    DataFrame
        `epoch` and the keys; a NaN of one run leaves the mean of the others.
    """
    tables = [table for run in runs if (table := _table(store, run)) is not None and len(table)]
    if not tables:
        return pd.DataFrame(columns=["epoch"])
    keys = [key for key in tables[0].columns if key.startswith(prefix)]
    joined = pd.concat([table.reindex(columns=["epoch", *keys]) for table in tables])
    grouped = joined.groupby("epoch")
    return grouped.mean()[grouped.size() == len(tables)].reset_index()


def _table(store: Store, run: RunInfo) -> pd.DataFrame | None:
    data = read_artifact(store, run.run_id, run.artifact_uri, HISTORY)
    if data is None:
        return None
    # By way of text, since Python's own float gives back the very numbers that were written.
    text = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False)
    return text.replace("", "nan").astype(float).astype({"epoch": int})


def _get(store: Store, run_id: str) -> Run:
    try:
        return store.client.get_run(run_id)
    except MlflowException as error:
        raise UserError(f"no run has the id {run_id!r} in {store.place}") from error
