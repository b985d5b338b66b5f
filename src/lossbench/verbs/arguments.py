"""The options that every verb over recorded runs shares: which store, which experiment."""

from __future__ import annotations

import argparse
from pathlib import Path

from lossbench import composition
from lossbench.tracking.store import Store, open_store


def add_store_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--mlruns``, ``--uri`` and ``--experiment``, the options for paths.mlruns and tracking.*."""
    parser.add_argument("--mlruns", type=Path, help="folder of the store (default: mlruns of the project)")
    parser.add_argument("--uri", help="MLflow's tracking address (default: $MLFLOW_TRACKING_URI, else the folder's)")
    parser.add_argument("--experiment", help="MLflow experiment (default: $MLFLOW_EXPERIMENT_NAME, else lossbench)")


def store_from(given: argparse.Namespace) -> Store:
    """Open the store that the options name."""
    return open_store(given.mlruns or composition.project() / "mlruns", given.uri, given.experiment)
