"""``lossbench compare``: the leaderboard of a sweep, or of any runs, read back from MLflow at any time."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from lossbench.cli.arguments import add_store_arguments, store_from
from lossbench.errors import UserError
from lossbench.sweep.answer import Answer, chart_link, read_answer
from lossbench.tracking import read
from lossbench.tracking.store.open import Store


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
        choices=("terminal", "html", "markdown", "csv", "json"),
        default="terminal",
        help="html: a report with figures, written to a file (default: terminal)",
    )
    parser.add_argument("--output", type=Path, help="the report's file (default: in mlruns/reports)")
    add_store_arguments(parser)
    options = parser.parse_args(arguments)
    if options.output is not None and options.format != "html":
        parser.error("--output goes with --format html; the other formats are printed")

    store = store_from(options)
    names = options.sweeps or ([] if options.filter else ["last"])
    sweeps = list({sweep.id: sweep for sweep in (read.find_sweep(store, name) for name in names)}.values())
    answer = read_answer(
        store,
        *(sweep.id for sweep in sweeps),
        filter=options.filter,
        metric=options.metric,
        baseline=options.baseline,
        by=tuple(options.by.split(",")),
        better=options.direction,
        rope=options.rope,
    )
    if answer is None:
        what = f"the sweep {sweeps[0].name!r} ({sweeps[0].id}) holds" if sweeps else f"{store.experiment!r} holds"
        raise UserError(f"{what} no run{f' that matches {options.filter!r}' if options.filter else ' yet'}")
    if options.format == "csv":
        print(answer.table.to_csv(index=False), end="")
    elif options.format == "json":
        print(answer.table.to_json(orient="records", indent=1))
    elif options.format == "html":
        _write_report(store, answer, [sweep.id for sweep in sweeps], options.output)
    elif options.format == "markdown":
        print(answer.markdown, end="")
    else:
        console = Console()
        for sweep in sweeps:
            started = f"{sweep.start:%Y-%m-%d %H:%M} UTC"
            console.print(f"{sweep.name}, {sweep.status.lower()}, started {started}", markup=False)
        answer.show(console)
        for sweep in sweeps:
            console.print(chart_link(store, sweep.id, answer), soft_wrap=True, markup=False, highlight=False)
    return 0


def _write_report(store: Store, answer: Answer, sweeps: Sequence[str], output: Path | None) -> None:
    # Drawing takes a second to import, and no other format draws.
    from lossbench.sweep.reporting import make_report, report_path, save

    report = make_report(store, answer, sweeps)
    try:
        path = save(report, (output or report_path(store, sweeps, answer)).absolute())
    except OSError as error:
        raise UserError(f"the report cannot be written: {error}") from error
    print(f"report: {path}")
