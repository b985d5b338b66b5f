"""Reading runs back: the only door from MLflow to statistics."""

from __future__ import annotations

import difflib
import gc
import io
import json
import math
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lossbench.errors import UserError
from lossbench.tracking.artifacts import read_artifact
from lossbench.tracking.schema import (
    OF_JOBS_AND_REFERENCES,
    Artifact,
    Role,
    Status,
    Tag,
    digest_tag,
    having_status,
    rows_tag,
    tagged,
)
from lossbench.tracking.store.client import MlflowException, Run, RunInfo
from lossbench.tracking.store.open import Store

# MLflow's objects of a run take 150 kB while a page is read, and only a part of that ever goes back to the system.
_PAGE = 250
_RECENT = 1000
_COLUMNS = [
    "run_id",
    "name",
    "objective",
    "role",
    "status",
    "start",
    "seconds",
    "sweep",
    "overrides",
    "error",
    "seeds",
    "val_digest",
    "test_digest",
    "rows_train",
    "rows_val",
    "rows_test",
]


@dataclass(frozen=True)
class Sweep:
    """A sweep as MLflow knows it; `tags` holds what the sweep wrote about itself."""

    id: str
    name: str
    status: str
    start: pd.Timestamp
    tags: dict[str, str]


def search(store: Store, filter: str) -> Iterator[Run]:
    """Yield MLflow's runs that match a filter, oldest first.

    Raises
    ------
    UserError
        For a filter that MLflow cannot read.
    """
    for page in _pages(store, filter):
        yield from page


def _pages(store: Store, filter: str) -> Iterator[list[Run]]:
    token = None
    while True:
        try:
            with _no_collections():
                page = store.client.search_runs(
                    [store.experiment_id],
                    filter,
                    max_results=_PAGE,
                    order_by=["attributes.start_time ASC"],
                    page_token=token,
                )
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            first = str(error).splitlines()[0]
            raise UserError(f"MLflow cannot read the filter {filter!r}: {first}") from error
        token = page.token
        yield list(page)
        if not token:
            return


@contextmanager
def _no_collections() -> Iterator[None]:
    """Keep Python from looking for garbage among the objects that a page is made of.

    MLflow makes one for every metric, param and tag, 100,000 for a thousand runs, and while they pile up the collector
    goes through all of them again and again: half of the time of a page.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def runs(
    store: Store,
    sweep: str | None = None,
    *,
    filter: str | None = None,
    status: str | Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return one row per job or reference row, in bulk and without a query per run.

    Parameters
    ----------
    sweep
        Run id of a sweep (see `find_sweep`). None: every run of the experiment.
    filter
        Any filter of MLflow's beside it, `params.loss = 'focal'`; runs that lossbench did not make are taken
        with role `run`.
    status
        Keep runs of this status, or of these: FINISHED, FAILED, KILLED, RUNNING.

    Returns
    -------
    DataFrame
        `run_id, name, objective, role, status, start (UTC), seconds, sweep, overrides, error`; what decides the
        test of a comparison, missing where a run does not say: `seeds` (draws or splits), `val_digest, test_digest`
        (which rows are judged) and `rows_train, rows_val, rows_test` (how many); then `params.<key>` and
        `metrics.<key>`. Params are numbers where all of a column are, else text; a metric that a run has not is
        NaN. Runs that another supersedes, sweeps and objectives are left out.
    """
    clauses = [filter] if filter else []
    if sweep is not None:
        clauses.append(tagged(Tag.SWEEP, sweep))
    if filter is None:
        clauses.append(OF_JOBS_AND_REFERENCES)
    wanted = {status} if isinstance(status, str) else None if status is None else set(status)
    places: list[tuple[float, str, str]] = []
    frames: list[pd.DataFrame] = []
    for page in _pages(store, " AND ".join(clauses)):
        kept = [run for run in page if _counts(run) and (wanted is None or run.info.status in wanted)]
        places += map(_place, kept)
        # A frame at once: MLflow's own runs are a hundred times as large, and what is kept of their numbers and texts
        # keeps the memory around it from the system.
        frames.append(pd.DataFrame(map(_row, kept)))
    frame = pd.concat(frames, ignore_index=True).infer_objects()
    if sweep is not None:
        # By job, not by time: a job that was done again later stands where it would have stood, to the last digit.
        frame = frame.iloc[sorted(range(len(places)), key=places.__getitem__)].reset_index(drop=True)
    frame = frame.reindex(columns=[*_COLUMNS, *sorted(set(frame.columns) - set(_COLUMNS))])
    for column in frame.columns:
        if column.startswith("params."):
            frame[column] = _numbers(frame[column])
    return frame


def _counts(run: Run) -> bool:
    tags = run.data.tags
    return tags.get(Tag.ROLE, Role.RUN) in (Role.RUN, Role.REFERENCE) and Tag.SUPERSEDED not in tags


def _row(run: Run) -> dict[str, Any]:
    tags, info = run.data.tags, run.info
    ended = info.end_time if info.end_time else None
    return {
        "run_id": info.run_id,
        "name": info.run_name,
        "objective": tags.get(Tag.OBJECTIVE, info.run_name),
        "role": tags.get(Tag.ROLE, Role.RUN),
        "status": info.status,
        "start": pd.Timestamp(info.start_time, unit="ms", tz="UTC"),
        "seconds": (ended - info.start_time) / 1000 if ended else float("nan"),
        "sweep": tags.get(Tag.SWEEP),
        "overrides": tags.get(Tag.OVERRIDES),
        "error": tags.get(Tag.ERROR),
        "seeds": tags.get(Tag.SEEDS),
        **{f"{split}_digest": tags.get(digest_tag(split)) for split in ("val", "test")},
        **{f"rows_{split}": _count(tags.get(rows_tag(split))) for split in ("train", "val", "test")},
        **{sys.intern(f"params.{key}"): value for key, value in run.data.params.items()},
        **{sys.intern(f"metrics.{key}"): value for key, value in run.data.metrics.items()},
    }


def _count(tag: str | None) -> float:
    return float(tag) if tag is not None and tag.isdecimal() else float("nan")


def _place(run: Run) -> tuple[float, str, str]:
    """Return where a run stands in its sweep; references, which have no number, come last, by data and name.

    Not by time, since several processes record them: the last bits of a mean depend on the order.
    """
    number = run.data.tags.get(Tag.JOB)
    if number is not None and number.isdecimal():
        return float(number), "", ""
    if run.data.tags.get(Tag.ROLE) != Role.REFERENCE:
        return math.inf, "", ""
    return math.inf, run.data.params.get("data", ""), str(run.info.run_name)


def _numbers(column: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce")
    return numbers if numbers.notna().equals(column.notna()) and numbers.notna().any() else column


def seconds_by_objective(store: Store) -> dict[str, float]:
    """Return how long the newest thousand finished runs trained, as the median of each objective's fingerprint."""
    page = store.client.search_runs(
        [store.experiment_id],
        f"{having_status(Status.FINISHED)} AND {tagged(Tag.ROLE, Role.RUN)}",
        max_results=_RECENT,
        order_by=["attributes.start_time DESC"],
    )
    found: dict[str, list[float]] = {}
    for run in page:
        objective, seconds = run.data.tags.get(Tag.OBJECTIVE_FINGERPRINT), run.data.metrics.get("seconds")
        if objective is not None and seconds is not None:
            found.setdefault(objective, []).append(seconds)
    return {objective: statistics.median(seconds) for objective, seconds in found.items()}


def failures(frame: pd.DataFrame) -> pd.DataFrame:
    """Return name, overrides, status and error of the jobs that did not finish, failed ones first."""
    broken = frame[(frame["role"] == Role.RUN) & (frame["status"] != Status.FINISHED)]
    columns = ["run_id", "name", "overrides", "status", "error"]
    return broken.sort_values("status", kind="stable")[columns].reset_index(drop=True)


def sweeps(store: Store) -> list[Sweep]:
    """Return the experiment's sweeps, newest first."""
    found = search(store, tagged(Tag.ROLE, Role.SWEEP))
    kept = [run for run in found if Tag.SUPERSEDED not in run.data.tags]
    return [
        Sweep(
            id=run.info.run_id,
            name=run.info.run_name,
            status=run.info.status,
            start=pd.Timestamp(run.info.start_time, unit="ms", tz="UTC"),
            tags=dict(run.data.tags),
        )
        for run in reversed(kept)
    ]


def find_sweep(store: Store, name_or_id: str) -> Sweep:
    """Return the newest sweep of a name or id, or of the first 6 or more characters of an id; `last`: any.

    Raises
    ------
    UserError
        Where no sweep, or more than one by its beginning, answers to it; the message lists near names.
    """
    known = sweeps(store)
    if not known:
        raise UserError(
            f"the experiment {store.experiment!r} in {store.place} holds no sweep yet, so none like {name_or_id!r}"
        )
    if name_or_id == "last":
        return known[0]
    exact = [sweep for sweep in known if name_or_id in (sweep.id, sweep.name)]
    if exact:
        return exact[0]
    begun = [sweep for sweep in known if len(name_or_id) >= 6 and sweep.id.startswith(name_or_id)]
    if len(begun) == 1:
        return begun[0]
    if begun:
        raise UserError(f"{len(begun)} sweeps begin with {name_or_id!r}: give more of the id")
    names = list(dict.fromkeys(sweep.name for sweep in known))
    near = difflib.get_close_matches(name_or_id, names, n=5, cutoff=0.4) or names[:5]
    raise UserError(f"no sweep is named {name_or_id!r} in {store.place}; there are {', '.join(map(repr, near))}")


def left_out(store: Store, sweep: str) -> list[tuple[str, str]]:
    """Return (overrides, reason) of the jobs that a sweep left out before it began."""
    run = store.client.get_run(sweep)
    data = read_artifact(store, sweep, run.info.artifact_uri, Artifact.LEFT_OUT)
    return [(entry["overrides"], entry["reason"]) for entry in json.loads(data)] if data else []


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
    data = read_artifact(store, run.run_id, run.artifact_uri, Artifact.HISTORY)
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
