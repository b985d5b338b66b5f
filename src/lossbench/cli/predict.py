"""``lossbench predict``: labels, probabilities and scores of a file's rows by a recorded run's model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossbench.cli.arguments import add_run_arguments, add_store_arguments, blocks_from, predictor_from, store_from
from lossbench.errors import UserError
from lossbench.evaluation.catalogue import TUNED

if TYPE_CHECKING:
    import pandas as pd


# Levels of a column that are counted and named at most; the names of rows are as many as there are rows.
MANY = 1000


def main(arguments: Sequence[str]) -> int:
    """Predict the rows of a file, as many as there are, a block at a time."""
    parser = argparse.ArgumentParser(
        prog="lossbench predict",
        description="Predict the rows of a table with a run's model: label, probability of each class, raw score. "
        "Columns that training had not are ignored; a level that it had not counts as rare.",
    )
    add_run_arguments(parser)
    parser.add_argument("table", type=Path, help="a file with the columns of training: CSV, Parquet, Feather")
    parser.add_argument("-o", "--output", type=Path, help="a .csv or .parquet file (default: CSV on the terminal)")
    parser.add_argument(
        "--keep", default="", metavar="COLUMNS", help="columns of the table to put first, as in id,date"
    )
    parser.add_argument(
        "--threshold",
        help=f"two classes: {TUNED[0]} (the default), {', '.join(TUNED[1:])}, as tuned on validation, or a number",
    )
    add_store_arguments(parser)
    options = parser.parse_args(arguments)

    store = store_from(options)
    predictor, chosen = predictor_from(store, options)
    # pandas and what reads files take a second to import.
    from lossbench.inference.files import lines, writing

    messages = sys.stderr
    print(f"run {chosen.run_id} ({chosen.name}), {chosen.reason}", file=messages)
    keep = [name for name in options.keep.split(",") if name]
    mentioned = _used_in_training(predictor.config["data"]) | set(keep)
    needed, ignored, unseen, rows = set(predictor.preprocessing.schema), set[str](), dict[str, set[str]](), 0
    with writing(options.output) if options.output else nullcontext(lines(sys.stdout)) as write:
        for piece in blocks_from(options, predictor):
            ignored |= set(piece.columns) - needed - mentioned
            predicted = predictor.predict(piece, options.threshold, first_row=rows + 1)
            for name, levels in predictor.unseen(piece).items():
                if len(unseen.setdefault(name, set())) < MANY:
                    unseen[name].update(levels)
            write(_with_kept(piece, keep, predicted))
            rows += len(piece)
    for name, levels in unseen.items():
        shown = ", ".join(map(repr, sorted(levels)[:5])) + (" ..." if len(levels) > 5 else "")
        count = f"{len(levels):,}" if len(levels) < MANY else f"{MANY:,} or more"
        print(f"column {name!r} has {count} values that training had rarely or not: {shown}", file=messages)
    if ignored:
        print(f"ignored, since training had no such column: {', '.join(map(repr, sorted(ignored)))}", file=messages)
    if options.output:
        print(f"{rows:,} rows: {options.output}", file=messages)
    return 0


def _used_in_training(data: Mapping[str, Any]) -> set[str]:
    """Return the columns that a table's config names: the target, those left out, those that decided the splits."""
    roles = (data.get(key) for key in ("target", "weight", "group", "time", "split_column"))
    return {str(name) for name in (*roles, *data.get("drop", ())) if name is not None}


def _with_kept(piece: pd.DataFrame, keep: Sequence[str], predicted: pd.DataFrame) -> pd.DataFrame:
    for name in keep:
        if name not in piece:
            raise UserError(f"--keep names {name!r}, which the table has not")
        if name in predicted:
            raise UserError(f"--keep names {name!r}, which is a column of the prediction too: rename it in the table")
    # Side by side as they stand: an index may repeat itself, and a join would multiply such rows.
    return predicted.assign(**{name: piece[name].array for name in keep})[[*keep, *predicted]]
