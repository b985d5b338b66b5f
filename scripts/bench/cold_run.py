"""What `lossbench` from a shell costs above the import of the modules that it loads.

    .venv/bin/python scripts/bench/cold_run.py [--runs 7] [overrides ...]

One process trains, which makes sure of a store, and says which modules it has loaded at its end. Each further process
imports all of them first, and then runs the command with a clock beside it: on a shared machine the imports alone
differ by more from one process to the next than what is to be measured.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import statistics
import subprocess
import sys
import time
from contextlib import redirect_stdout, suppress

from lossbench.cli import main as cli


def command(overrides: list[str]) -> float:
    sys.argv = ["lossbench", *overrides]
    start = time.process_time()
    with redirect_stdout(io.StringIO()):
        try:
            cli.main()
        except SystemExit as end:
            if end.code:
                raise
    return time.process_time() - start


def child(modules: list[str], overrides: list[str]) -> None:
    for module in modules:
        # Some modules come into being only as parts of others.
        with suppress(Exception):
            importlib.import_module(module)
    seconds = command(overrides)
    print(json.dumps([seconds, [name for name in sys.modules if name != "__main__"]]))


def measured(modules: list[str], overrides: list[str]) -> tuple[float, list[str]]:
    given = json.dumps([modules, overrides])
    again = [sys.executable, __file__, "--child"]
    told = subprocess.run(again, input=given, capture_output=True, text=True, check=True)
    seconds, loaded = json.loads(told.stdout.splitlines()[-1])
    return seconds, loaded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    arguments, overrides = parser.parse_known_args()
    _, modules = measured([], overrides)
    above = [measured(modules, overrides)[0] for _ in range(arguments.runs)]
    print(
        f"lossbench {' '.join(overrides)}: {statistics.median(above):.2f} s of CPU above its imports "
        f"({min(above):.2f} to {max(above):.2f}); the bound for the default run is 3 s"
    )


if __name__ == "__main__":
    if "--child" in sys.argv:
        child(*json.load(sys.stdin))
    else:
        main()
