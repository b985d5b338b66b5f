"""MLflow, imported quietly: the one place where lossbench imports it.

The environment counts only if it is set before the first import, so this module sets it and the other modules
of `tracking` take MLflow's names from here. A value that the user has set is left alone. `MlflowClient` alone
is used: the fluent interface (`mlflow.start_run`, `mlflow.set_tracking_uri`) keeps global state, which two
sweeps in one process, or a user's own MLflow code beside ours, would share.
"""

from __future__ import annotations

import logging
import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # "Updating database tables", one line a migration
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines for every run that ends
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# What MLflow's client tries again by itself, for some ten seconds instead of four minutes: the rest is the outbox's.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # a line for every request that it sends again
logging.getLogger("alembic").setLevel(logging.WARNING)

from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import (  # noqa: E402
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelOutput,
    Metric,
    Param,
    Run,
    RunInfo,
    RunTag,
)
from mlflow.entities.model_registry import ModelVersion  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.version import VERSION  # noqa: E402

__all__ = [
    "VERSION",
    "Dataset",
    "DatasetInput",
    "InputTag",
    "LoggedModelOutput",
    "Metric",
    "MlflowClient",
    "MlflowException",
    "ModelVersion",
    "Param",
    "Run",
    "RunInfo",
    "RunTag",
]
