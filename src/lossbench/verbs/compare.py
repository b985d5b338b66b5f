"""``lossbench compare``: the leaderboard of a sweep, read back from MLflow at any time."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich.console import Console

from lossbench.answer import answer, chart_link
from lossbench.errors import UserError
from lossbench.tracking import read
from lossbench.verbs.arguments import add_store_arguments, store_from


def main(arguments: Sequence[str]) -> int:
    """Print the leaderboard of the sweep that the arguments name."""
    parser = argparse.ArgumentParser(
        prog="lossbench compare", description="Show the leaderboard of a sweep, from what MLflow recorded."
    )
    parser.add_argument("sweep", nargs="?", default="last", help="name, id or beginning of an id (default: the last)")
    parser.add_argument("--metric", help="such as test/auroc, val/log_loss, test/tuned/f1")
    parser.add_argument("--direction", choices=("max", "min"), help="for a metric of your own")
    parser.add_argument("--baseline", help="objective that the others are compared with")
    parser.add_argument("--by", default="objective", help="what is compared: objective, or params as in loss,weighting")
    parser.add_argument(
        "--format",
        choices=("terminal", "markdown", "csv", "json"),
        default="terminal",
        help="(default: terminal)",
    )
    add_store_arguments(parser)
    given = parser.parse_args(arguments)

    store = store_from(given)
    sweep = read.find_sweep(store, given.sweep)
    found = answer(
        store,
        sweep.id,
        metric=given.metric,
        baseline=given.baseline,
        by=tuple(given.by.split(",")),
        better=given.direction or sweep.tags.get("lossbench.direction"),
    )
    if found is None:
        raise UserError(f"the sweep {sweep.name!r} ({sweep.id}) holds no run yet")
    if given.format == "csv":
        print(found.table.to_csv(index=False), end="")
    elif given.format == "json":
        print(found.table.to_json(orient="records", indent=1))
    elif given.format == "markdown":
        print(found.markdown, end="")
    else:
        console = Console()
        console.print(f"{sweep.name}, {sweep.status.lower()}, started {sweep.start:%Y-%m-%d %H:%M} UTC", markup=False)
        found.show(console)
        console.print(chart_link(store, sweep.id, found), soft_wrap=True, markup=False, highlight=False)
    return 0
