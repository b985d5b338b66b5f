"""Read runs back, as one tidy table: the only door from MLflow to statistics."""

from __future__ import annotations

import difflib
import io
import json
import math
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
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
from lossbench.tracking.search import RunRow, newest_runs, pages, read_run, search_runs
from lossbench.tracking.store.open import Store

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
    tags: Mapping[str, str]


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
    sort_keys: list[tuple[float, str, str]] = []
    frames: list[pd.DataFrame] = []
    for page in pages(store, *clauses):
        kept = [run for run in page if _counts(run) and (wanted is None or run.status in wanted)]
        sort_keys += map(_sort_key, kept)
        # A frame at once: MLflow's own runs are a hundred times as large, and what is kept of their numbers and texts
        # keeps the memory around it from the system.
        frames.append(pd.DataFrame(map(_columns_of, kept)))
    frame = pd.concat(frames, ignore_index=True).infer_objects()
    if sweep is not None:
        # By job, not by time: a job that was done again later stands where it would have stood, to the last digit.
        frame = frame.iloc[sorted(range(len(sort_keys)), key=sort_keys.__getitem__)].reset_index(drop=True)
    frame = frame.reindex(columns=[*_COLUMNS, *sorted(set(frame.columns) - set(_COLUMNS))])
    for column in frame.columns:
        if column.startswith("params."):
            frame[column] = _numbers(frame[column])
    return frame


def _counts(run: RunRow) -> bool:
    return run.role in (Role.RUN, Role.REFERENCE) and not run.superseded


def _columns_of(run: RunRow) -> dict[str, Any]:
    tags = run.tags
    return {
        "run_id": run.id,
        "name": run.name,
        "objective": tags.get(Tag.OBJECTIVE, run.name),
        "role": run.role,
        "status": run.status,
        "start": _time(run.start),
        "seconds": (run.end - run.start) / 1000 if run.end else float("nan"),
        "sweep": tags.get(Tag.SWEEP),
        "overrides": tags.get(Tag.OVERRIDES),
        "error": tags.get(Tag.ERROR),
        "seeds": tags.get(Tag.SEEDS),
        **{f"{split}_digest": tags.get(digest_tag(split)) for split in ("val", "test")},
        **{f"rows_{split}": _count(tags.get(rows_tag(split))) for split in ("train", "val", "test")},
        **{sys.intern(f"params.{key}"): value for key, value in run.params.items()},
        **{sys.intern(f"metrics.{key}"): value for key, value in run.metrics.items()},
    }


def _count(tag: str | None) -> float:
    return float(tag) if tag is not None and tag.isdecimal() else float("nan")


def _sort_key(run: RunRow) -> tuple[float, str, str]:
    """Return what orders the runs of a sweep: jobs by number, then references, by data and name.

    Not by time, since several processes record them: the last bits of a mean depend on the order.
    """
    number = run.tags.get(Tag.JOB)
    if number is not None and number.isdecimal():
        return float(number), "", ""
    if run.role != Role.REFERENCE:
        return math.inf, "", ""
    return math.inf, run.params.get("data", ""), run.name


def _time(milliseconds: int) -> pd.Timestamp:
    return pd.Timestamp(milliseconds, unit="ms", tz="UTC")


def _numbers(column: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce")
    return numbers if numbers.notna().equals(column.notna()) and numbers.notna().any() else column


def seconds_by_objective(store: Store) -> dict[str, float]:
    """Return the median training time by the objective's fingerprint, over the newest thousand finished runs."""
    seconds: dict[str, list[float]] = {}
    newest = newest_runs(store, having_status(Status.FINISHED), tagged(Tag.ROLE, Role.RUN), most=_RECENT)
    for run in newest:
        if Tag.OBJECTIVE_FINGERPRINT in run.tags and "seconds" in run.metrics:
            seconds.setdefault(run.tags[Tag.OBJECTIVE_FINGERPRINT], []).append(run.metrics["seconds"])
    return {objective: statistics.median(each) for objective, each in seconds.items()}


def failures(frame: pd.DataFrame) -> pd.DataFrame:
    """Return name, overrides, status and error of the jobs that did not finish, failed ones first."""
    broken = frame[(frame["role"] == Role.RUN) & (frame["status"] != Status.FINISHED)]
    columns = ["run_id", "name", "overrides", "status", "error"]
    return broken.sort_values("status", kind="stable")[columns].reset_index(drop=True)


def sweeps(store: Store) -> list[Sweep]:
    """Return the experiment's sweeps, newest first."""
    kept = [run for run in search_runs(store, tagged(Tag.ROLE, Role.SWEEP)) if not run.superseded]
    return [Sweep(run.id, run.name, run.status, _time(run.start), run.tags) for run in reversed(kept)]


def find_sweep(store: Store, name_or_id: str) -> Sweep:
    """Return the newest sweep of a name or id, or of the first 6 or more characters of an id; `last`: the newest.

    Raises
    ------
    UserError
        Where there is no such sweep, or several ids begin so; the message lists similar names.
    """
    recorded = sweeps(store)
    if not recorded:
        raise UserError(
            f"the experiment {store.experiment!r} in {store.place} holds no sweep yet, so none like {name_or_id!r}"
        )
    if name_or_id == "last":
        return recorded[0]
    exact = [sweep for sweep in recorded if name_or_id in (sweep.id, sweep.name)]
    if exact:
        return exact[0]
    beginning = [sweep for sweep in recorded if len(name_or_id) >= 6 and sweep.id.startswith(name_or_id)]
    if len(beginning) == 1:
        return beginning[0]
    if beginning:
        raise UserError(f"{len(beginning)} sweeps begin with {name_or_id!r}: give more of the id")
    names = list(dict.fromkeys(sweep.name for sweep in recorded))
    near = difflib.get_close_matches(name_or_id, names, n=5, cutoff=0.4) or names[:5]
    raise UserError(f"no sweep is named {name_or_id!r} in {store.place}; there are {', '.join(map(repr, near))}")


def left_out(store: Store, sweep: str) -> list[tuple[str, str]]:
    """Return (overrides, reason) of the jobs that a sweep left out before it began."""
    data = read_artifact(store, sweep, read_run(store, sweep).artifact_uri, Artifact.LEFT_OUT)
    return [(entry["overrides"], entry["reason"]) for entry in json.loads(data)] if data else []


def mean_curve(store: Store, runs: Iterable[RunRow], prefix: str = "val/") -> pd.DataFrame:
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
    tables = [table for run in runs if (table := history_of(store, run)) is not None and len(table)]
    if not tables:
        return pd.DataFrame(columns=["epoch"])
    keys = [key for key in tables[0].columns if key.startswith(prefix)]
    joined = pd.concat([table.reindex(columns=["epoch", *keys]) for table in tables])
    grouped = joined.groupby("epoch")
    return grouped.mean()[grouped.size() == len(tables)].reset_index()


def history_of(store: Store, run: RunRow) -> pd.DataFrame | None:
    """Return the epochs of a run, a column `epoch` and one per metric; None where it has no `history.csv` (yet)."""
    data = read_artifact(store, run.id, run.artifact_uri, Artifact.HISTORY)
    if data is None:
        return None
    # By way of text, since Python's own float gives back the very numbers that were written.
    text = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False)
    return text.replace("", "nan").astype(float).astype({"epoch": int})
