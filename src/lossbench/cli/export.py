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
    options = parser.parse_args(arguments)
    if options.onnx is not None and (options.register or options.code or options.require):
        parser.error("--onnx writes one file, and takes none of --register, --code and --require")

    store = store_from(options)
    chosen, model = model_from(store, options)
    if options.onnx is not None:
        return _as_onnx(chosen, model, options)
    from lossbench.runs.export import export

    logged = export(
        store,
        chosen.run_id,
        model,
        register=options.register,
        trust=options.trust,
        code=options.code,
        require=options.require,
    )
    print(f"run {chosen.run_id} ({chosen.name}), {chosen.reason}")
    print(f"exported as {logged.uri}")
    if logged.name is not None:
        print(f"registered as {logged.name!r}, version {logged.version}: models:/{logged.name}/{logged.version}")
    return 0


def _as_onnx(chosen: ChosenRun, model: bytes, options: argparse.Namespace) -> int:
    from lossbench.inference.onnx import export_onnx
    from lossbench.inference.predictor import Predictor

    predictor = Predictor.load(io.BytesIO(model), f"the model of run {chosen.run_id}", trust=options.trust)
    export_onnx(predictor, options.onnx)
    print(f"run {chosen.run_id} ({chosen.name}), {chosen.reason}")
    print(f"network and link as ONNX, from features to scores and probabilities: {options.onnx}")
    return 0
