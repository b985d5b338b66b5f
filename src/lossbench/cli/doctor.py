"""``lossbench doctor``: show what kills, crashes and moves have left wrong in a store, and mend it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich.console import Console

from lossbench.cli.arguments import add_store_arguments
from lossbench.config import compose
from lossbench.tracking.store import doctor


def main(arguments: Sequence[str]) -> int:
    """Print what is wrong, and mend it if asked; return 0 if nothing is left that is wrong, else 1."""
    parser = argparse.ArgumentParser(
        prog="lossbench doctor",
        description="Show what kills, crashes, outages and moves have left in a store, and mend it with --mend.",
        epilog="Waiting records are delivered and runs whose process is gone are ended by --mend; files that no run "
        "owns are removed by --remove-orphans alone, and are looked for only where one database owns the folder.",
    )
    parser.add_argument("--mend", action="store_true", help="mend what can be mended without losing anything")
    parser.add_argument(
        "--remove-orphans", action="store_true", help="remove files that belong to no run, listed without it"
    )
    add_store_arguments(parser)
    options = parser.parse_args(arguments)

    console = Console()
    findings = doctor.examine(options.mlruns or compose.project() / "mlruns", options.uri, options.experiment)
    left = 0
    for finding in findings:
        mend = finding.mend if (options.remove_orphans if finding.removes else options.mend) else None
        if mend is not None:
            console.print(f"mended: {finding.text}: {mend()}", markup=False, highlight=False, soft_wrap=True)
            continue
        left += 1
        advice = finding.advice or ("--remove-orphans removes it" if finding.removes else "--mend mends it")
        console.print(f"found: {finding.text}: {advice}", markup=False, highlight=False, soft_wrap=True)
    if not findings:
        console.print("nothing is wrong")
    return 1 if left else 0
