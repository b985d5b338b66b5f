"""MLflow's entry point to our store: `lossbench+sqlite:///...` and `lossbench+postgresql://...`.

MLflow loads this module whenever it is imported, so that it imports nothing itself.
"""

from __future__ import annotations

import logging
from typing import Any

PREFIX = "lossbench+"
SCHEMES = ("sqlite", "postgresql", "postgresql+psycopg", "postgresql+psycopg2")


def open_bulk_store(store_uri: str, artifact_uri: str | None = None) -> Any:
    """Return our store for an address, or MLflow's own if this MLflow has other tables than ours writes."""
    from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
    from mlflow.tracking._tracking_service.utils import _get_sqlalchemy_store
    from mlflow.version import VERSION

    from lossbench.tracking.store.bulk import BulkStore, knows_tables

    uri = store_uri.removeprefix(PREFIX)
    if MLFLOW_ENABLE_WORKSPACES.get():
        return _get_sqlalchemy_store(uri, artifact_uri)
    if not knows_tables():
        logging.getLogger(__name__).warning(
            "MLflow %s has other tables than lossbench knows: runs are recorded by its public API, which is slower",
            VERSION,
        )
        return _get_sqlalchemy_store(uri, artifact_uri)
    return BulkStore(uri, artifact_uri or "./mlruns")


def register() -> None:
    """Make the addresses known to MLflow, which reads entry points only of what was installed since they were added."""
    from mlflow.tracking._tracking_service.utils import _tracking_store_registry as registry

    for scheme in SCHEMES:
        if f"{PREFIX}{scheme}" not in registry._registry:
            registry.register(f"{PREFIX}{scheme}", open_bulk_store)
