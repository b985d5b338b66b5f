"""``lossbench evaluate``: the metrics of a recorded run's model on a labelled file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lossbench.cli.arguments import add_run_arguments, add_store_arguments, blocks_from, predictor_from, store_from
from lossbench.errors import UserError

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

    from lossbench.inference.assess import Assessment
    from lossbench.inference.predictor import Predictor


def main(arguments: Sequence[str]) -> int:
    """Evaluate the model of a run on a file."""
    parser = argparse.ArgumentParser(
        prog="lossbench evaluate",
        description="Score a labelled table with a run's model: the run's metrics, through the loss's link and for the "
        "posterior, at the thresholds that the run's validation tuned.",
    )
    add_run_arguments(parser)
    parser.add_argument("table", type=Path, help="a file with the columns of training: CSV, Parquet, Feather")
    parser.add_argument("--target", help="the column of true classes (default: as in training)")
    parser.add_argument("--format", choices=("terminal", "csv", "json"), default="terminal", help="(default: terminal)")
    add_store_arguments(parser)
    options = parser.parse_args(arguments)

    store = store_from(options)
    predictor, chosen = predictor_from(store, options)
    from lossbench.inference.assess import assess

    target = options.target or str(predictor.config["data"].get("target", "target"))
    more = _collection(predictor) if options.trust else None
    assessment = assess(predictor, blocks_from(options, predictor), target, more)
    recorded = chosen.run.metrics
    rows = [(name, value, recorded.get(f"test/{name}", float("nan"))) for name, value in assessment.metrics.items()]
    if options.format == "json":
        nulled = {name: None if value != value else value for name, value in assessment.metrics.items()}
        print(json.dumps({"run_id": chosen.run_id, "rows": assessment.counts, "metrics": nulled,
                          "undefined": assessment.undefined}, indent=1, ensure_ascii=False))  # fmt: skip
    elif options.format == "csv":
        print("metric,value,recorded_on_test")
        for name, value, before in rows:
            print(f'"{name}",{value!r},{before!r}')
    else:
        print(f"run {chosen.run_id} ({chosen.name}), {chosen.reason}")
        _show(Console(), str(options.table), rows, assessment, predictor.thresholds)
    return 0


def _show(
    console: Console,
    table: str,
    rows: Sequence[tuple[str, float, float]],
    assessment: Assessment,
    thresholds: Mapping[str, float],
) -> None:
    shown = Table()
    shown.add_column("metric")
    shown.add_column(escape(table), justify="right")
    shown.add_column("recorded on test", justify="right")
    for name, value, before in rows:
        shown.add_row(escape(name), f"{value:.4f}", "" if before != before else f"{before:.4f}")
    console.print(shown)
    counts = ", ".join(f"{count:,} {name}" for name, count in assessment.counts.items())
    console.print(f"{sum(assessment.counts.values()):,} rows: {escape(counts)}", highlight=False)
    if thresholds:
        listed = ", ".join(f"{name} {value:.4f}" for name, value in thresholds.items())
        console.print(f"thresholds on the posterior, from the run's validation: {listed}", highlight=False)
    for name, reason in assessment.undefined.items():
        console.print(f"{escape(name)} is undefined: {escape(reason)}", highlight=False)


def _collection(predictor: Predictor) -> MetricCollection | None:
    """Return the torchmetrics that the run's config adds to lossbench's own, which are equal to 1e-8."""
    from lossbench.runs.metrics import build_added_metrics

    try:
        return build_added_metrics(predictor.config["metrics"], predictor.task)
    except ImportError as error:
        raise UserError(f"the run's own metrics cannot be built: {error}") from error
