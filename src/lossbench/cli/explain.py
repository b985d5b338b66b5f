"""``lossbench explain``: which columns a recorded run's model looks at, and where it errs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lossbench.cli.arguments import add_run_arguments, add_store_arguments, blocks_from, model_from, store_from
from lossbench.comparison.report.explanation import tables
from lossbench.errors import DataError

if TYPE_CHECKING:
    from lossbench.tracking.models import ChosenRun


# Raw columns of a mistake that the terminal shows, the most important ones; the report and --format json have all.
COLUMNS = 6
HEAD = ("row", "true", "label", "probability")


def main(arguments: Sequence[str]) -> int:
    """Explain the model of a run on its test split, or on a labelled file."""
    parser = argparse.ArgumentParser(
        prog="lossbench explain",
        description="Permutation importance of the raw columns, and for each class the rows that the model mislabelled "
        "most surely: on the run's own test split, or on a labelled table.",
    )
    add_run_arguments(parser)
    parser.add_argument("table", type=Path, nargs="?", help="a labelled file (default: the run's test split)")
    parser.add_argument("--target", help="the file's column of true classes (default: as in training)")
    parser.add_argument("--metric", help="such as auroc, log_loss (default: the one that selected the epoch)")
    parser.add_argument("--format", choices=("terminal", "json"), default="terminal", help="(default: terminal)")
    add_store_arguments(parser)
    options = parser.parse_args(arguments)

    store = store_from(options)
    if options.table is None:
        chosen, _ = model_from(store, options)
        from lossbench.runs.explain import explain_run

        explanation = explain_run(store, chosen, metric=options.metric, trust=options.trust)
    else:
        explanation = _on_table(*model_from(store, options), options)
    if options.format == "json":
        print(json.dumps(explanation, indent=1, ensure_ascii=False, default=str))
        return 0
    console = Console()
    console.print(
        f"run {explanation['run_id']} ({explanation['run']}), {explanation['reason']}", markup=False, highlight=False
    )
    _show(console, _fitting(explanation))
    if len(explanation["importances"]) > COLUMNS:
        console.print(f"of these rows the {COLUMNS} most important columns; --format json has all", highlight=False)
    return 0


def _on_table(chosen: ChosenRun, model: bytes, options: argparse.Namespace) -> dict[str, Any]:
    import io

    import numpy as np
    import pandas as pd

    from lossbench.inference.assess import labels_of
    from lossbench.inference.importance import explain
    from lossbench.inference.predictor import Predictor
    from lossbench.runs.explain import describe, selected_by

    predictor = Predictor.load(io.BytesIO(model), f"the model of run {chosen.run_id}", trust=options.trust)
    target = options.target or str(predictor.config["data"].get("target", "target"))
    parsed, labels, rows = [], [], 0
    for piece in blocks_from(options, predictor):
        parsed.append(predictor.preprocessing.parsed(piece, rows + 1))
        labels.append(labels_of(piece, target, predictor.task.class_names, rows + 1))
        rows += len(piece)
    if rows == 0:
        raise DataError(f"{options.table} has no rows to explain")
    whole = pd.concat(parsed, ignore_index=True)
    for name, kind in predictor.preprocessing.schema.items():
        if kind == "categorical":
            whole[name] = whole[name].astype("category")  # each block has categories of its own
    whole.index += 1
    explained = explain(predictor, whole, np.concatenate(labels), options.metric or selected_by(predictor))
    return describe(chosen, options.table.name, explained)


def _fitting(explanation: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of each mistake the most important raw columns, as many as a terminal has room for."""
    raw = [entry["column"] for entry in explanation["importances"]]
    dropped = {name for column in raw[COLUMNS:] for name in (column, f"{column} (column)")} - {*HEAD}
    kept = [{name: value for name, value in entry.items() if name not in dropped} for entry in explanation["mistakes"]]
    return {**explanation, "mistakes": kept}


def _show(console: Console, explanation: Mapping[str, Any]) -> None:
    for caption, headers, rows in tables(explanation):
        console.print(caption, markup=False, highlight=False)
        shown = Table()
        for header in headers:
            shown.add_column(escape(header))
        for row in rows:
            shown.add_row(*map(escape, row))
        console.print(shown)
