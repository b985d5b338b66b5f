"""Statements that put rows into MLflow's tables, within one transaction."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST
from mlflow.store.db.base_sql_model import Base
from sqlalchemy import Connection, Select, Table, bindparam, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from lossbench.tracking.store.table_rows import Row, TableRows, changed_param

_DIALECTS: dict[str, Any] = {"sqlite": sqlite, "postgresql": postgresql}


def write_rows(connection: Connection, rows: TableRows) -> None:
    """Write the rows of some calls.

    Raises
    ------
    MlflowException
        As MLflow's own store, for a run that is missing or deleted and for a param that is there with another value.
    """
    experiments = _experiments(connection, rows)
    writer = _Writer(connection)
    writer.insert("runs", list(rows.runs.values()))
    writer.insert("params", _new_params(connection, rows))
    writer.insert("metrics", rows.metrics)
    writer.insert_or_update("latest_metrics", rows.latest, "value timestamp step is_nan", later=True)
    writer.insert_or_update("tags", rows.tags, "value")
    writer.insert_inputs(rows, experiments)
    writer.update_runs(list(rows.names.values()), "name")
    writer.update_runs(list(rows.ends.values()), "status", "end_time")


def _table(name: str) -> Table:
    return Base.metadata.tables[name]


def _experiments(connection: Connection, rows: TableRows) -> dict[str, int]:
    """Return the experiment of each run; raise MLflow's own exception for a run or experiment that is deleted."""
    experiments = {run: int(row["experiment_id"]) for run, row in rows.runs.items()}
    if rows.runs:
        table = _table("experiments").c
        stages = select(table.experiment_id, table.lifecycle_stage)
        for experiment, stage in connection.execute(stages.where(table.experiment_id.in_(set(experiments.values())))):
            _require_active(stage, f"The experiment {experiment}")
    if rows.older:
        table = _table("runs").c
        known = select(table.run_uuid, table.experiment_id, table.lifecycle_stage)
        for run, experiment, stage in connection.execute(known.where(table.run_uuid.in_(rows.older))):
            _require_active(stage, f"The run {run}")
            experiments[run] = experiment
    for run in rows.older - set(experiments):
        raise MlflowException(f"Run with id={run} not found", RESOURCE_DOES_NOT_EXIST)
    return experiments


def _require_active(stage: str, what: str) -> None:
    if stage != "active":
        raise MlflowException(
            f"{what} must be in the 'active' state. Current state is {stage}.", INVALID_PARAMETER_VALUE
        )


def _new_params(connection: Connection, rows: TableRows) -> list[Row]:
    """Return the params that are not there yet; raise MLflow's own exception for one that is, with another value."""
    older = {run for run, _ in rows.params} & rows.older
    if not older:
        return list(rows.params.values())
    table = _table("params").c
    query = select(table.run_uuid, table.key, table.value).where(table.run_uuid.in_(older))
    known = {(run, key): value for run, key, value in connection.execute(query)}
    for (run, key), row in rows.params.items():
        if known.get((run, key), row["value"]) != row["value"]:
            raise changed_param(run, key, known[run, key], row["value"])
    return [row for run_and_key, row in rows.params.items() if run_and_key not in known]


class _Writer:
    """Statements of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._insert = _DIALECTS[connection.dialect.name].insert

    def insert(self, table: str, rows: list[Row]) -> None:
        """Insert the rows that are not there: MLflow passes over a metric that is, and we write again what may be."""
        if rows:
            self._connection.execute(self._insert(_table(table)).on_conflict_do_nothing(), rows)

    def insert_or_update(
        self, table: str, rows: Mapping[tuple[str, str], Row], columns: str, *, later: bool = False
    ) -> None:
        """Insert rows by run and key, or update those that are there; with `later`, only by a row that is later."""
        if not rows:
            return
        names = columns.split()
        statement = self._insert(_table(table))
        new, old = statement.excluded, _table(table).c
        newer = (
            tuple_(new.step, new.timestamp, new.value) > tuple_(old.step, old.timestamp, old.value) if later else None
        )
        statement = statement.on_conflict_do_update(
            index_elements=["key", "run_uuid"], set_={name: new[name] for name in names}, where=newer
        )
        # In one order, in which transactions lock the same rows without blocking each other.
        self._connection.execute(statement, [rows[run_and_key] for run_and_key in sorted(rows)])

    def update_runs(self, rows: list[Row], *columns: str) -> None:
        if rows:
            table = _table("runs")
            statement = update(table).where(table.c.run_uuid == bindparam("run"))
            self._connection.execute(statement.values({name: bindparam(name) for name in columns}), rows)

    def insert_inputs(self, rows: TableRows, experiments: Mapping[str, int]) -> None:
        """Insert datasets that are new, and which runs used which."""
        if not rows.inputs:
            return
        datasets = self._datasets(rows, experiments)
        known = self._known_inputs({run for run, _ in rows.inputs})
        inputs, tags = [], []
        for run, each in rows.inputs:
            dataset = datasets[experiments[run], each.dataset.name, each.dataset.digest]
            if (dataset, run) in known:
                continue
            known.add((dataset, run))
            entry = uuid.uuid4().hex
            inputs.append(
                {
                    "input_uuid": entry,
                    "source_type": "DATASET",
                    "source_id": dataset,
                    "destination_type": "RUN",
                    "destination_id": run,
                }
            )
            tags += [{"input_uuid": entry, "name": tag.key, "value": tag.value} for tag in each.tags]
        self.insert("inputs", inputs)
        self.insert("input_tags", tags)

    def _datasets(self, rows: TableRows, experiments: Mapping[str, int]) -> dict[tuple[int, str, str], str]:
        """Return the ids of the datasets by experiment, name and digest, after inserting those that are missing."""
        wanted = {(experiments[run], each.dataset.name, each.dataset.digest): each.dataset for run, each in rows.inputs}
        table = _table("datasets").c
        key = tuple_(table.experiment_id, table.name, table.digest)
        query = select(table.experiment_id, table.name, table.digest, table.dataset_uuid).where(key.in_(list(wanted)))

        ids = self._ids(query)
        new = [
            {
                "dataset_uuid": uuid.uuid4().hex,
                "experiment_id": experiment,
                "name": name,
                "digest": digest,
                "dataset_source_type": dataset.source_type,
                "dataset_source": dataset.source,
                "dataset_schema": dataset.schema,
                "dataset_profile": dataset.profile,
            }
            for (experiment, name, digest), dataset in wanted.items()
            if (experiment, name, digest) not in ids
        ]
        self.insert("datasets", new)
        # Another may have brought one of them at this moment.
        return self._ids(query) if new else ids

    def _ids(self, query: Select[Any]) -> dict[tuple[int, str, str], str]:
        return {(experiment, name, digest): each for experiment, name, digest, each in self._connection.execute(query)}

    def _known_inputs(self, runs: set[str]) -> set[tuple[str, str]]:
        table = _table("inputs").c
        query = select(table.source_id, table.destination_id).where(
            table.source_type == "DATASET", table.destination_type == "RUN", table.destination_id.in_(runs)
        )
        return {(dataset, run) for dataset, run in self._connection.execute(query)}
