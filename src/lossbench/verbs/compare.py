"""``lossbench compare``: the leaderboard of a sweep, or of any runs, read back from MLflow at any time."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich.console import Console

from lossbench.answer import answer, chart_link
from lossbench.errors import UserError
from lossbench.tracking import read
from lossbench.verbs.arguments import add_store_arguments, store_from


def main(arguments: Sequence[str]) -> int:
    """Print the leaderboard of the sweeps or runs that the arguments name."""
    parser = argparse.ArgumentParser(
        prog="lossbench compare",
        description="Show the leaderboard of a sweep, of several as one, or of any runs that MLflow recorded.",
    )
    parser.add_argument(
        "sweeps", nargs="*", metavar="sweep", help="name, id, beginning of an id, or last (the default)"
    )
    parser.add_argument("--filter", help="""MLflow's, as in "params.model = 'mlp'"; without a sweep, of all runs""")
    parser.add_argument("--metric", help="such as test/auroc, val/log_loss, test/tuned/f1")
    parser.add_argument("--direction", choices=("max", "min"), help="for a metric of your own")
    parser.add_argument("--baseline", help="objective that the others are compared with")
    parser.add_argument("--rope", type=float, help="differences within +- this are equivalent (default: by metric)")
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
    names = given.sweeps or ([] if given.filter else ["last"])
    sweeps = list({sweep.id: sweep for sweep in (read.find_sweep(store, name) for name in names)}.values())
    found = answer(
        store,
        *(sweep.id for sweep in sweeps),
        filter=given.filter,
        metric=given.metric,
        baseline=given.baseline,
        by=tuple(given.by.split(",")),
        better=given.direction,
        rope=given.rope,
    )
    if found is None:
        what = f"the sweep {sweeps[0].name!r} ({sweeps[0].id}) holds" if sweeps else f"{store.experiment!r} holds"
        raise UserError(f"{what} no run{f' that matches {given.filter!r}' if given.filter else ' yet'}")
    if given.format == "csv":
        print(found.table.to_csv(index=False), end="")
    elif given.format == "json":
        print(found.table.to_json(orient="records", indent=1))
    elif given.format == "markdown":
        print(found.markdown, end="")
    else:
        console = Console()
        for sweep in sweeps:
            started = f"{sweep.start:%Y-%m-%d %H:%M} UTC"
            console.print(f"{sweep.name}, {sweep.status.lower()}, started {started}", markup=False)
        found.show(console)
        for sweep in sweeps:
            console.print(chart_link(store, sweep.id, found), soft_wrap=True, markup=False, highlight=False)
    return 0
