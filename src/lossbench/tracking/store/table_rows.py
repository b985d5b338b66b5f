"""Rows of MLflow's tables, as its own store would make them of the same calls."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME, MLFLOW_USER
from mlflow.utils.validation import (
    _validate_dataset_inputs,
    _validate_metric,
    _validate_metric_name,
    _validate_param,
    _validate_tag,
)

from lossbench.tracking.store.calls import Call
from lossbench.tracking.store.client import DatasetInput, Metric, MlflowException, Param, RunTag

Row = dict[str, Any]
# Tables that are written here and their columns: what a store is asked for before anything is written past MLflow.
COLUMNS = {
    "runs": "run_uuid name source_type source_name entry_point_name user_id status start_time end_time deleted_time "
    "source_version lifecycle_stage artifact_uri experiment_id",
    "params": "run_uuid key value",
    "tags": "run_uuid key value",
    "metrics": "run_uuid key value timestamp step is_nan",
    "latest_metrics": "run_uuid key value timestamp step is_nan",
    "datasets": "dataset_uuid experiment_id name digest dataset_source_type dataset_source dataset_schema "
    "dataset_profile",
    "inputs": "input_uuid source_type source_id destination_type destination_id step",
    "input_tags": "input_uuid name value",
}


@dataclass
class TableRows:
    """What calls write, by table, before anything is asked of the database.

    Of a param, a tag, a run's end and the latest value of a metric there is one row each; `runs` holds the rows of runs
    that the calls start.
    """

    runs: dict[str, Row] = field(default_factory=dict)
    params: dict[tuple[str, str], Row] = field(default_factory=dict)
    tags: dict[tuple[str, str], Row] = field(default_factory=dict)
    metrics: list[Row] = field(default_factory=list)
    latest: dict[tuple[str, str], Row] = field(default_factory=dict)
    inputs: list[tuple[str, DatasetInput]] = field(default_factory=list)
    ends: dict[str, Row] = field(default_factory=dict)
    names: dict[str, Row] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, calls: Iterable[Call]) -> TableRows:
        """Return the rows of some calls, which count in their order.

        Raises
        ------
        MlflowException
            For a name or value that MLflow's own store would refuse.
        """
        rows = cls()
        for call in calls:
            rows.touched.add(call.run)
            getattr(rows, f"_{call.name}")(call.run, **call.values)
        return rows

    @property
    def older(self) -> set[str]:
        """Runs that the database knows already."""
        return self.touched - set(self.runs)

    def _create_run(
        self, run: str, *, experiment_id: str, start_time: int, artifact_uri: str, tags: dict[str, str]
    ) -> None:
        self.runs[run] = {
            "run_uuid": run,
            "name": tags[MLFLOW_RUN_NAME],
            "source_type": "UNKNOWN",
            "source_name": "",
            "entry_point_name": "",
            "user_id": tags.get(MLFLOW_USER, "unknown"),
            "status": "RUNNING",
            "start_time": start_time,
            "end_time": None,
            "deleted_time": None,
            "source_version": "",
            "lifecycle_stage": "active",
            "artifact_uri": artifact_uri,
            "experiment_id": int(experiment_id),
        }
        for key, value in tags.items():
            self.tags[run, key] = {"run_uuid": run, "key": key, "value": value}

    def _log_batch(
        self, run: str, *, metrics: Iterable[Metric] = (), params: Iterable[Param] = (), tags: Iterable[RunTag] = ()
    ) -> None:
        for param in params:
            param = _validate_param(param.key, param.value)
            row = {"run_uuid": run, "key": param.key, "value": param.value}
            first = self.params.setdefault((run, param.key), row)
            if first != row:
                raise changed_param(run, param.key, first["value"], param.value)
        for metric in metrics:
            self._log_metric(run, metric)
        for tag in tags:
            self._set_tag(run, key=tag.key, value=tag.value)

    def _log_metric(self, run: str, metric: Metric) -> None:
        key, value, timestamp, step = metric.key, metric.value, metric.timestamp, metric.step
        if type(value) is not float:
            _validate_metric(key, value, timestamp, step)
        _require_name(key)
        # What MLflow makes of what a database cannot hold (`sanitize_metric_value`).
        is_nan = value != value
        if is_nan:
            value = 0
        elif math.isinf(value):
            value = math.copysign(sys.float_info.max, value)
        row = {"run_uuid": run, "key": key, "value": value, "timestamp": timestamp, "step": step, "is_nan": is_nan}
        self.metrics.append(row)
        latest = self.latest.get((run, key))
        if latest is None or (step, timestamp, value) > (latest["step"], latest["timestamp"], latest["value"]):
            self.latest[run, key] = row

    def _set_tag(self, run: str, *, key: str, value: object) -> None:
        tag = _validate_tag(key, str(value))
        self.tags[run, tag.key] = {"run_uuid": run, "key": tag.key, "value": tag.value}
        if tag.key == MLFLOW_RUN_NAME:
            self.names[run] = {"run": run, "name": tag.value}

    def _log_inputs(self, run: str, *, datasets: list[DatasetInput]) -> None:
        _validate_dataset_inputs(datasets)
        self.inputs += [(run, each) for each in datasets]

    def _set_terminated(self, run: str, *, status: str, end_time: int) -> None:
        self.ends[run] = {"run": run, "status": status, "end_time": end_time}


def changed_param(run: str, key: str, old: str, new: str) -> MlflowException:
    """Return what MLflow raises where a param is given another value."""
    changed = {"key": key, "old_value": old, "new_value": new}
    return MlflowException(
        f"Changing param values is not allowed. Params were already logged='[{changed}]' for run ID='{run}'.",
        INVALID_PARAMETER_VALUE,
    )


@lru_cache(4096)  # a sweep's runs have the same names
def _require_name(key: str) -> None:
    _validate_metric_name(key)
