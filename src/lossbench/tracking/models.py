"""Models in MLflow: exported ones, logged under their run and registered on request, and the run that a name means."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lossbench.errors import UserError
from lossbench.tracking.artifacts import read_artifact
from lossbench.tracking.schema import Artifact, Tag
from lossbench.tracking.search import RunRow, read_run, search_runs
from lossbench.tracking.store import address
from lossbench.tracking.store.client import LoggedModelOutput, MlflowException, ModelVersion
from lossbench.tracking.store.open import Store

NAME = "model"


@dataclass(frozen=True)
class Package:
    """The parts of an exported model.

    Parameters
    ----------
    model, code
        The model's file, and the folder of the sources that read it.
    inputs
        The raw columns. MLflow's type of each is ``any``, since the preprocessing reads every form that a column comes
        in: ``double`` would refuse whole numbers, ``string`` pandas categories and a column of gaps alone, and
        ``boolean`` silently takes a gap for False.
    outputs
        MLflow's type of each column of a prediction.
    params
        What a caller may set for a call, with its default.
    example
        A row of raw columns.
    requirements
        Packages as pip takes them; MLflow adds itself.
    trust
        Whether parts of other packages may be built when it is loaded.
    metadata
        Kept in the model's description.
    """

    model: Path
    code: Path
    inputs: Sequence[str]
    outputs: Mapping[str, str]
    params: Mapping[str, float]
    example: pd.DataFrame
    requirements: Sequence[str]
    trust: bool
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class Logged:
    """An exported model in MLflow: its address, and the name and version under which it is registered."""

    uri: str
    name: str | None = None
    version: str | None = None


def log_model(store: Store, run_id: str, package: Package, register: str | None = None) -> Logged:
    """Log a model under its run, ``runs:/<run id>/model``, and register it under a name.

    Raises
    ------
    UserError
        For a name that MLflow's registry refuses.
    """
    client = store.client
    entry = client.create_logged_model(
        store.experiment_id, NAME, source_run_id=run_id, model_type="lossbench", tags={Tag.RUN: run_id}
    )
    try:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / NAME
            save_model(folder, package, run_id=run_id, model_id=entry.model_id, location=entry.artifact_location)
            client.log_model_artifacts(entry.model_id, str(folder))
        client.finalize_logged_model(entry.model_id, "READY")
    except BaseException:
        client.finalize_logged_model(entry.model_id, "FAILED")
        raise
    client.log_outputs(run_id, [LoggedModelOutput(entry.model_id, step=0)])
    uri = f"runs:/{run_id}/{NAME}"
    if register is None:
        return Logged(uri)
    try:
        if not any(model.name == register for model in client.search_registered_models(f"name = '{register}'")):
            client.create_registered_model(register)
        # Beside a database MLflow would look a models:/ address up in its global store, which is another one.
        remote = address.scheme_of(store.uri) in address.SERVERS
        source = f"models:/{entry.model_id}" if remote else entry.artifact_location
        version = client.create_model_version(register, source, run_id=run_id, model_id=entry.model_id)
    except MlflowException as error:
        raise UserError(f"the model is logged as {uri}, but cannot be registered as {register!r}: {error}") from error
    return Logged(uri, register, str(version.version))


def save_model(folder: Path, package: Package, **identity: str) -> None:
    """Write an MLflow model of the flavor ``python_function`` into a folder.

    Requirements, signature and example are all given: inferring them would load the model in other processes, which
    takes some ten seconds.
    """
    from mlflow.models import Model, ModelSignature
    from mlflow.pyfunc import save_model as save
    from mlflow.types.schema import AnyType, ColSpec, ParamSchema, ParamSpec, Schema

    from lossbench.tracking import served

    # It announces at INFO that it validates, whatever the level of its parent.
    logging.getLogger("mlflow.pyfunc").setLevel(logging.WARNING)
    model = Model(
        run_id=identity.get("run_id"),
        artifact_path=identity.get("location"),
        model_id=identity.get("model_id"),
        model_uuid=identity.get("model_id"),
    )
    params = [ParamSpec(name, "double", default) for name, default in package.params.items()]
    signature = ModelSignature(
        inputs=Schema([ColSpec(AnyType(), name) for name in package.inputs]),
        outputs=Schema([ColSpec(kind, name) for name, kind in package.outputs.items()]),
        params=ParamSchema(params) if params else None,  # type: ignore[arg-type]  # a list of ParamSpec
    )
    save(
        path=str(folder),
        python_model=str(served.__file__),
        artifacts={"model": str(package.model), "code": str(package.code)},
        mlflow_model=model,
        signature=signature,
        input_example=package.example,
        pip_requirements=list(package.requirements),
        model_config={"trust": package.trust},
        metadata=dict(package.metadata),
    )


@dataclass(frozen=True)
class ChosenRun:
    """The run that a person means, and in words why it is this one."""

    run: RunRow
    reason: str

    @property
    def run_id(self) -> str:
        return self.run.id

    @property
    def name(self) -> str:
        return self.run.name


def find_by_id(store: Store, text: str) -> ChosenRun | None:
    """Return the run of an id, or of its first 6 or more characters; None where there is none.

    Raises
    ------
    UserError
        Where several begin with it.
    """
    if not re.fullmatch(r"[0-9a-f]{6,32}", text):
        return None
    runs = list(search_runs(store, f"attributes.run_id LIKE '{text}%'"))
    if len(runs) > 1:
        raise UserError(f"{len(runs)} runs begin with {text!r}: give more of the id")
    return ChosenRun(runs[0], "by its id") if runs else None


def find_by_registered_name(store: Store, text: str) -> ChosenRun | None:
    """Return the run behind ``name`` (its newest version), ``name/3`` or ``name@alias``; None where there is none."""
    version = _find_version(store, text)
    if version is None:
        return None
    model = f"version {version.version} of the registered model {version.name!r}"
    try:
        return ChosenRun(read_run(store, version.run_id or ""), model)
    except UserError as error:
        raise UserError(f"{model} was not made by a run in {store.place}") from error


def registered_names(store: Store) -> list[str]:
    """Return the names of the registered models."""
    return [model.name for model in store.client.search_registered_models()]


def read_model(store: Store, run: RunRow) -> bytes:
    """Return the bytes of a run's model file."""
    data = read_artifact(store, run.id, run.artifact_uri, Artifact.MODEL)
    if data is None:
        raise UserError(f"the run {run.id} ({run.name}) left no {Artifact.MODEL}")
    return data


def _find_version(store: Store, text: str) -> ModelVersion | None:
    """Return the version of a registered model that a name means, None where no model has that name."""
    name, version = text.rsplit("/", 1) if re.fullmatch(r".+/\d+", text) else (text, None)
    name, alias = name.rsplit("@", 1) if version is None and "@" in name else (name, None)
    try:
        if alias is not None:
            return store.client.get_model_version_by_alias(name, alias)
        if version is not None:
            return store.client.get_model_version(name, version)
        versions = store.client.search_model_versions(f"name = '{name}'") if "'" not in name else []
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    return max(versions, key=lambda each: int(each.version), default=None)
