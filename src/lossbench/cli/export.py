"""``lossbench export``: a recorded run's model as an MLflow model, which needs no lossbench where it is used."""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lossbench.cli.arguments import add_run_arguments, add_store_arguments, model_from, store_from

if TYPE_CHECKING:
    from lossbench.tracking.models import ChosenRun


def main(arguments: Sequence[str]) -> int:
    """Export the model of the run that the arguments name."""
    parser = argparse.ArgumentParser(
        prog="lossbench export",
        description="Log a run's model in MLflow: raw columns in, labels, probabilities and scores out. Where it is "
        "used it needs MLflow and the packages that it lists, but no lossbench.",
    )
    add_run_arguments(parser)
    parser.add_argument("--register", metavar="NAME", help="register it under this name in MLflow's model registry")
    parser.add_argument(
        "--code",
        type=Path,
        action="append",
        default=[],
        metavar="PATH",
        help="a module or package of yours that travels with the model; may be given again",
    )
    parser.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="a package that your own parts need, as in timm==1.0; may be given again",
    )
    parser.add_argument(
        "--onnx",
        type=Path,
        metavar="FILE",
        help="write the network and its link as ONNX instead: from the preprocessing's features to probabilities",
    )
    add_store_arguments(parser)
    given = parser.parse_args(arguments)
    if given.onnx is not None and (given.register or given.code or given.require):
        parser.error("--onnx writes one file, and takes none of --register, --code and --require")

    store = store_from(given)
    found, model = model_from(store, given)
    if given.onnx is not None:
        return _as_onnx(found, model, given)
    from lossbench.runs.export import export

    logged = export(
        store, found.run_id, model, register=given.register, trust=given.trust, code=given.code, require=given.require
    )
    print(f"run {found.run_id} ({found.name}), {found.reason}")
    print(f"exported as {logged.uri}")
    if logged.name is not None:
        print(f"registered as {logged.name!r}, version {logged.version}: models:/{logged.name}/{logged.version}")
    return 0


def _as_onnx(found: ChosenRun, model: bytes, given: argparse.Namespace) -> int:
    from lossbench.inference.onnx import export_onnx
    from lossbench.inference.predictor import Predictor

    predictor = Predictor.load(io.BytesIO(model), f"the model of run {found.run_id}", trust=given.trust)
    export_onnx(predictor, given.onnx)
    print(f"run {found.run_id} ({found.name}), {found.reason}")
    print(f"network and link as ONNX, from features to scores and probabilities: {given.onnx}")
    return 0
