"""One sqlite store for all tests of tracking (making one takes two seconds), an experiment for each test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lossbench.tracking.run import RunRecord
from lossbench.tracking.store import outbox
from lossbench.tracking.store.open import Store, open_store


@pytest.fixture(scope="session")
def mlruns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("project") / "mlruns"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)


@pytest.fixture
def store(mlruns: Path, request: pytest.FixtureRequest) -> Store:
    return open_store(mlruns, experiment=request.node.nodeid)


@pytest.fixture
def by_public_api(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Record as on a server: by calls of MLflow's client, one by one."""
    monkeypatch.setattr(Store, "bulk", None)
    monkeypatch.setattr(outbox, "_outboxes", {})


@pytest.fixture
def job(store: Store) -> Callable[..., RunRecord]:
    """Start a job of a sweep."""

    def start(sweep: object, objective: str, seed: int, **tags: str) -> RunRecord:
        return RunRecord.start(
            store,
            f"s{seed} · {objective}",
            role="run",
            params={"loss": objective, "seed": seed},
            tags={"lossbench.overrides": f"loss={objective} seed={seed}"}
            | {f"lossbench.{key}": value for key, value in tags.items()},
            parent=sweep.objectives[objective],
            sweep=sweep.id,
            objective=objective,
        )

    return start
