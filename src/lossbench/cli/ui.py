"""``lossbench ui``: MLflow's interface over the project's store, and the link that opens the last sweep."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lossbench.cli.arguments import add_store_arguments, store_from
from lossbench.errors import UserError
from lossbench.tracking import read, ui
from lossbench.tracking.schema import JUDGED_BY, Tag


def main(arguments: Sequence[str]) -> int:
    """Serve MLflow's interface until Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="lossbench ui", description="Serve MLflow's interface over the recorded runs until Ctrl-C."
    )
    parser.add_argument("sweep", nargs="?", default="last", help="the sweep to link to (default: the last)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=5000, help="(default: %(default)s)")
    add_store_arguments(parser)
    options = parser.parse_args(arguments)

    store = store_from(options)
    try:
        sweep = read.find_sweep(store, options.sweep)
    except UserError:
        if options.sweep != "last":
            raise
        # A store with single runs alone has an interface too.
        sweep = None
    ui.serve(
        store,
        options.host,
        options.port,
        sweep=None if sweep is None else sweep.id,
        metric=JUDGED_BY if sweep is None else sweep.tags.get(Tag.METRIC, JUDGED_BY),
        show=lambda line: print(line, flush=True),
    )
    return 0
