"""``lossbench export``: a recorded run's model as an MLflow model, which needs no lossbench where it is used."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lossbench.verbs.arguments import add_run_arguments, add_store_arguments, model_from, store_from


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
    add_store_arguments(parser)
    given = parser.parse_args(arguments)

    store = store_from(given)
    found, model = model_from(store, given)
    from lossbench.exporting import export

    logged = export(
        store, found.run_id, model, register=given.register, trust=given.trust, code=given.code, require=given.require
    )
    print(f"run {found.run_id} ({found.name}), {found.reason}")
    print(f"exported as {logged.uri}")
    if logged.name is not None:
        print(f"registered as {logged.name!r}, version {logged.version}: models:/{logged.name}/{logged.version}")
    return 0
