"""The options that verbs over recorded runs share: which store, which experiment, which run."""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import TYPE_CHECKING

from lossbench.config import compose
from lossbench.errors import UserError
from lossbench.tracking.store.open import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from lossbench.inference.predictor import Predictor
    from lossbench.tracking.models import ChosenRun


def add_store_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--mlruns``, ``--uri`` and ``--experiment``, the options for paths.mlruns and tracking.*."""
    parser.add_argument("--mlruns", type=Path, help="folder of the store (default: mlruns of the project)")
    parser.add_argument("--uri", help="MLflow's tracking address (default: $MLFLOW_TRACKING_URI, else the folder's)")
    parser.add_argument("--experiment", help="MLflow experiment (default: $MLFLOW_EXPERIMENT_NAME, else lossbench)")


def store_from(options: argparse.Namespace) -> Store:
    """Open the store that the options name."""
    return open_store(options.mlruns or compose.project() / "mlruns", options.uri, options.experiment)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run whose model is meant, and ``--trust``."""
    parser.add_argument(
        "run",
        help="id of a run or its beginning, name of a registered model (name, name/3, name@alias), or 'best of SWEEP' "
        "(picked by validation; SWEEP may be last)",
    )
    parser.add_argument(
        "--trust",
        action="store_true",
        help="build parts that the model names from packages other than lossbench and torch, which may run any code",
    )


def model_from(store: Store, options: argparse.Namespace) -> tuple[ChosenRun, bytes]:
    """Return the run that the arguments name, and its model's file."""
    from lossbench.runs.find import find_run
    from lossbench.tracking.models import read_model

    chosen = find_run(store, options.run)
    return chosen, read_model(store, chosen.run)


def predictor_from(store: Store, options: argparse.Namespace) -> tuple[Predictor, ChosenRun]:
    """Return the model of the run that the arguments name, ready to predict, and the run."""
    chosen, model = model_from(store, options)
    # torch takes seconds to import, which a run that is not there should not cost.
    from lossbench.inference.predictor import Predictor

    return Predictor.load(io.BytesIO(model), f"the model of run {chosen.run_id}", trust=options.trust), chosen


def blocks_from(options: argparse.Namespace, predictor: Predictor) -> Iterator[pd.DataFrame]:
    """Yield the rows of the table that the arguments name, a block at a time; a text file is read as in training."""
    from lossbench.data.tables.dialect import Dialect
    from lossbench.data.tables.reading import blocks
    from lossbench.inference.files import BLOCK

    data = predictor.config["data"]
    try:
        missing = tuple(map(str, data.get("missing", Dialect.missing)))
        usual = data.get("usual_missing", True)
        dialect = Dialect(data.get("delimiter"), data.get("decimal"), data.get("encoding"), missing, usual)
    except (ValueError, TypeError) as error:
        raise UserError(f"data: {error}") from error
    return blocks(options.table, BLOCK, dialect)
