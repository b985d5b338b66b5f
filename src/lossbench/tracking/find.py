"""Which recorded run an id or the name of a registered model means, and the model that it left."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lossbench.errors import UserError
from lossbench.tracking import read
from lossbench.tracking.artifacts import read_artifact
from lossbench.tracking.client import MlflowException, ModelVersion, Run
from lossbench.tracking.store import Store

MODEL = "model.pt"


@dataclass(frozen=True)
class Found:
    """A recorded run, and in words why it is the one that was meant."""

    run_id: str
    name: str
    artifact_uri: str
    reason: str


def by_id(store: Store, said: str) -> Found | None:
    """Return the run of an id, or of its first 6 or more characters; None where there is none.

    Raises
    ------
    UserError
        Where several begin with it.
    """
    if not re.fullmatch(r"[0-9a-f]{6,32}", said):
        return None
    found = list(read.search(store, f"attributes.run_id LIKE '{said}%'"))
    if len(found) > 1:
        raise UserError(f"{len(found)} runs begin with {said!r}: give more of the id")
    return _found(found[0], "by its id") if found else None


def by_registered_name(store: Store, said: str) -> Found | None:
    """Return the run behind ``name`` (its newest version), ``name/3`` or ``name@alias``; None where there is none."""
    version = _registered(store, said)
    if version is None:
        return None
    what = f"version {version.version} of the registered model {version.name!r}"
    try:
        run = store.client.get_run(version.run_id or "")
    except MlflowException as error:
        raise UserError(f"{what} was not made by a run in {store.place}") from error
    return _found(run, what)


def registered_names(store: Store) -> list[str]:
    """Return the names of the registered models."""
    return [model.name for model in store.client.search_registered_models()]


def model_of(store: Store, found: Found) -> bytes:
    """Return the bytes of a run's model file."""
    data = read_artifact(store, found.run_id, found.artifact_uri, MODEL)
    if data is None:
        raise UserError(f"the run {found.run_id} ({found.name}) left no {MODEL}")
    return data


def _registered(store: Store, said: str) -> ModelVersion | None:
    """Return the version of a registered model that a name means, None where no model has that name."""
    name, version = said.rsplit("/", 1) if re.fullmatch(r".+/\d+", said) else (said, None)
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
    return max(versions, key=lambda found: int(found.version), default=None)


def of_run(store: Store, run_id: str, reason: str) -> Found:
    """Return a run that is known to be there."""
    return _found(store.client.get_run(run_id), reason)


def _found(run: Run, reason: str) -> Found:
    return Found(run.info.run_id, str(run.info.run_name), run.info.artifact_uri, reason)
