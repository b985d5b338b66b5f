"""Calls of MLflow's client about one run, as plain values: what a store carries out, alone or many together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from lossbench.tracking.store.client import (
    Dataset,
    DatasetInput,
    InputTag,
    Metric,
    MlflowClient,
    MlflowException,
    Param,
    RunTag,
)

# `create_run` alone is ours: MLflow's client has it too, but chooses the id and the folder by itself.
CallName = Literal["create_run", "log_batch", "log_inputs", "set_tag", "set_terminated", "log_artifact"]


@dataclass(frozen=True)
class Call:
    """One call about a run, with the arguments that MLflow's client has for it."""

    run: str
    name: CallName
    values: dict[str, Any]

    def make(self, client: MlflowClient) -> None:
        """Make the call by MLflow's public API."""
        method = getattr(client, self.name)
        try:
            method(self.run, **self.values)
        except MlflowException as error:
            # MLflow looks whether it knows a dataset, and else adds it: of two runs that bring a new one at the same
            # moment the second is refused, and finds it when it looks again
            # (`_log_inputs_impl`,
            # https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/store/tracking/sqlalchemy_store.py).
            if self.name != "log_inputs" or error.error_code != "BAD_REQUEST":
                raise
            method(self.run, **self.values)

    def as_json(self) -> dict[str, Any]:
        """Return the call as JSON can hold it."""
        plain = dict(self.values)
        if "metrics" in plain:
            plain["metrics"] = [[each.key, each.value, each.timestamp, each.step] for each in plain["metrics"]]
        for key in ("params", "tags"):
            if key in plain:
                plain[key] = [[each.key, each.value] for each in plain[key]]
        if "datasets" in plain:
            plain["datasets"] = [each.to_dictionary() for each in plain["datasets"]]
        return {"call": self.name, "values": plain}

    @classmethod
    def from_json(cls, run: str, document: dict[str, Any]) -> Call:
        """Return the call that `as_json` wrote."""
        values = dict(document["values"])
        if "datasets" in values:
            values["datasets"] = [_dataset(each) for each in values["datasets"]]
        for key, entity in (("metrics", Metric), ("params", Param), ("tags", RunTag)):
            if key in values:
                values[key] = [entity(*each) for each in values[key]]
        return cls(run, document["call"], values)


def _dataset(plain: dict[str, Any]) -> DatasetInput:
    tags = [InputTag(key, value) for key, value in (plain.get("tags") or {}).items()]
    return DatasetInput(Dataset(**plain["dataset"]), tags)
