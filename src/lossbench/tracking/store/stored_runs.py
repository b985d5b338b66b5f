"""Runs read from MLflow's tables by four queries for a thousand of them, without an object a row."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from mlflow.store.db.base_sql_model import Base
from mlflow.store.tracking.dbmodels.models import SqlRun
from mlflow.store.tracking.sqlalchemy_store import _get_sqlalchemy_filter_clauses
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME
from mlflow.utils.search_utils import SearchUtils
from sqlalchemy import Engine, Select, select
from sqlalchemy.orm import Session

_AT_ONCE = 1000


class StoredRun(NamedTuple):
    """A run as the tables hold it; times are milliseconds since 1970."""

    id: str
    name: str
    status: str
    start: int
    end: int | None
    artifact_uri: str
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]


def select_runs(
    engine: Engine, experiment: str, filter: str, *, newest_first: bool = False, most: int | None = None
) -> Iterator[list[StoredRun]]:
    """Yield an experiment's active runs that match a filter of MLflow's, oldest first, a thousand at a time.

    Where there is none, an empty page comes, as from MLflow.

    Raises
    ------
    MlflowException
        With the code INVALID_PARAMETER_VALUE for a filter that MLflow cannot read.
    """
    query = _matching(engine, experiment, filter, newest_first).limit(most)
    with engine.connect() as connection:
        runs = connection.execute(query).all()
    # What runs are comes before what they hold: one that is read as FINISHED has all that it was to get.
    for first in range(0, max(len(runs), 1), _AT_ONCE):
        yield _with_values(engine, runs[first : first + _AT_ONCE])


def _matching(engine: Engine, experiment: str, filter: str, newest_first: bool) -> Select[Any]:
    run = SqlRun
    query: Any = select(run.run_uuid, run.name, run.status, run.start_time, run.end_time, run.artifact_uri)
    with Session(engine) as session:  # MLflow builds its subqueries by one, and asks it nothing
        attributes, entries, datasets = _get_sqlalchemy_filter_clauses(
            SearchUtils.parse_search_filter(filter), session, engine.dialect.name
        )
    for each in entries:
        query = query.join(each)
    for each in datasets:
        query = query.join(each, run.run_uuid == each.c.destination_id)
    return (
        query.where(run.experiment_id == int(experiment), run.lifecycle_stage == "active", *attributes)
        .distinct()
        .order_by(run.start_time.desc() if newest_first else run.start_time.asc(), run.run_uuid)
    )


def _with_values(engine: Engine, runs: Sequence[Any]) -> list[StoredRun]:
    ids = [run.run_uuid for run in runs]
    params: dict[str, dict[str, str]] = {run: {} for run in ids}
    metrics: dict[str, dict[str, float]] = {run: {} for run in ids}
    tags: dict[str, dict[str, str]] = {run: {} for run in ids}
    intern, nan = sys.intern, float("nan")
    with engine.connect() as connection:
        for name, values in (("params", params), ("tags", tags)):
            table = Base.metadata.tables[name].c
            query = select(table.run_uuid, table.key, table.value).where(table.run_uuid.in_(ids))
            for run, key, value in connection.execute(query):
                values[run][intern(key)] = value
        table = Base.metadata.tables["latest_metrics"].c
        latest = select(table.run_uuid, table.key, table.value, table.is_nan).where(table.run_uuid.in_(ids))
        for run, key, number, is_nan in connection.execute(latest):
            metrics[run][intern(key)] = nan if is_nan else number
    return [
        StoredRun(run, name or tags[run].get(MLFLOW_RUN_NAME, ""), status, start, end or None, artifact_uri,
                  params[run], metrics[run], tags[run])
        for run, name, status, start, end, artifact_uri in runs
    ]  # fmt: skip
