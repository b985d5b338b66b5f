"""What a large sweep costs as a whole command: seconds to the leaderboard, and the memory of all its processes.

    .venv/bin/python scripts/bench/large.py [--runs 1000 10000]

10 losses over as many seeds as that takes, rings, 20 epochs, full histories in MLflow, the tutorial's 2-4-8-1 network.
Memory is the proportional set size (pages that processes share are counted once) of the command and all that it
started, read every half second from /proc, so this runs on Linux. Writes docs/benchmarks/large.json.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from threading import Event, Thread

from sweep import LOSSES, OUT, command, machine

PERIOD = 0.5


class Memory(Thread):
    """Watches the children of this process, and theirs."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._over = Event()

    def run(self) -> None:
        while not self._over.wait(PERIOD):
            self.peak = max(self.peak, sum(map(proportional, descendants(os.getpid()))))

    def end(self) -> float:
        """Return the peak in MB."""
        self._over.set()
        self.join()
        return self.peak / 1e6


def descendants(root: int) -> list[int]:
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    children: dict[int, list[int]] = {}
    for line in listed.splitlines():
        process, parent = map(int, line.split())
        children.setdefault(parent, []).append(process)
    found, waiting = [], [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def proportional(process: int) -> int:
    try:
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:  # it has ended
        return 0
    return sum(1024 * int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[1000, 10_000])
    arguments = parser.parse_args()
    losses = ",".join(LOSSES.split(",")[:10])
    measured = {}
    for runs in arguments.runs:
        with tempfile.TemporaryDirectory() as folder:
            mlruns = Path(folder) / "mlruns"
            command(mlruns, "loss=focal", "seed=0", "trainer.max_epochs=1")  # makes the store
            memory = Memory()
            memory.start()
            shown, ended = command(
                mlruns, f"loss={losses}", f"seed=range({math.ceil(runs / 10)})", "model.widths=[4,8]"
            )
            measured[runs] = {"leaderboard, s": shown, "prompt, s": ended, "peak memory, MB": memory.end()}
            measured[runs]["disk, MB"] = sum(file.stat().st_size for file in mlruns.rglob("*") if file.is_file()) / 1e6
        print(f"{runs} runs: " + ", ".join(f"{name} {value:.0f}" for name, value in measured[runs].items()), flush=True)
    file = OUT.parent / "large.json"
    known = json.loads(file.read_text()) if file.is_file() else {}
    for runs, found in measured.items():
        known[str(runs)] = {"machine": machine(), **{name: round(value, 1) for name, value in found.items()}}
    file.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
