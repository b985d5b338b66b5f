"""Run many jobs in one process, and watch its memory and its open files: after a warm-up neither may grow.

    .venv/bin/python scripts/bench/soak.py                  # 5,000 jobs, as sweeps of 100
    .venv/bin/python scripts/bench/soak.py --jobs 500 --sweep 50

Prints a line a sweep; status 1 where memory grew by 5% or more after the first fifth, or open files at all.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import os
import sys
import tempfile
from pathlib import Path


def resident() -> float:
    """Return the memory that this process holds, in MB (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--sweep", type=int, default=100, help="jobs of a sweep")
    given = parser.parse_args()

    from lossbench.cli.main import dispatch

    seen: list[tuple[float, int]] = []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for number in range(given.jobs // given.sweep):
            arguments = [
                "-m", "loss=cross_entropy,focal", f"seed=range({given.sweep // 2})", "hydra.launcher.processes=1",
                "trainer.max_epochs=2", "data.test_rows=200", "data.negatives=150", "data.positives=30",
                "tracking.predictions=20", f"paths.mlruns={folder}/mlruns",
            ]  # fmt: skip
            sys.argv = ["lossbench", *arguments]
            with contextlib.redirect_stdout(io.StringIO()):
                status = dispatch(arguments)
            if status:
                print(f"sweep {number} ended with status {status}")
                return 1
            gc.collect()
            seen.append((resident(), open_files()))
            print(f"{(number + 1) * given.sweep:>6} jobs: {seen[-1][0]:.0f} MB, {seen[-1][1]} open files", flush=True)
    after = seen[len(seen) // 5 :]
    growth = after[-1][0] / after[0][0] - 1
    files = after[-1][1] - after[0][1]
    print(f"after the warm-up: memory {growth:+.1%}, open files {files:+d}")
    return int(growth >= 0.05 or files > 0)


if __name__ == "__main__":
    sys.exit(main())
