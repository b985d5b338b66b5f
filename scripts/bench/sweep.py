"""What a sweep costs, as whole commands: stacked, one by one, and as the stock template has it.

    .venv/bin/python scripts/bench/sweep.py [--network tutorial|default] [--seeds 30] [--rounds 1]

Sweeps 12 losses over the seeds on rings (20 epochs, full history in MLflow) from the shell to the printed leaderboard:
stacked, stacked without histories, and one by one (`hydra/launcher=basic`), the last extrapolated from a sweep of 12
jobs and one of 2. The time to the prompt, with the report drawn, stands beside. After imports, a run of the stock
template (`scripts/bench/stock.py`), and the tutorial's plain loop and the best eager loop, which record nothing. All
have the same network: the tutorial's, 2-4-8-1, or lossbench's default, 2-32-32-1. Rounds interleave all of them;
medians are printed, and kept with the machine's name in docs/benchmarks/sweep.json.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from overhead import eager_rings, plain_rings
from stock import Folder, quiet, train

from lossbench.config.compose import compose
from lossbench.runs.prepare import prepare_job

LOSSES = (
    "cross_entropy,bce_with_logits,mse,brier,focal,poly1,hinge,squared_hinge,logit_adjusted,balanced_softmax,"
    "generalized_cross_entropy,symmetric_cross_entropy"
)
OUT = Path(__file__).parents[2] / "docs" / "benchmarks" / "sweep.json"
NETWORKS = {"tutorial": (4, 8), "default": (32, 32)}


def command(mlruns: Path, *overrides: str) -> tuple[float, float]:
    """Return the seconds from the shell to the printed leaderboard, and to the prompt (the report is drawn between)."""
    line = [sys.executable, "-m", "lossbench", "-m", *overrides, f"paths.mlruns={mlruns}"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    shown = math.nan
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for text in process.stdout:
            if text.startswith("rank"):
                shown = time.perf_counter() - start
        if process.wait():
            raise SystemExit(f"{' '.join(line)} ended with {process.returncode}")
    return shown, time.perf_counter() - start


def seconds_of_loops(runs: int, widths: tuple[int, int]) -> dict[str, float]:
    """Return the seconds of one stock run, of one plain loop and of one eager loop, after imports."""
    job = prepare_job(compose(["data=rings"]))
    found: dict[str, float] = {}
    with Folder() as folder:
        actions: dict[str, Callable[[int], object]] = {
            "stock run": lambda seed: train(job.dataset, seed, folder, widths=widths),
            "plain loop": lambda _: plain_rings(job, widths),
            "eager loop": lambda _: eager_rings(job, widths),
        }
        for name, action in actions.items():
            action(0)
            start = time.perf_counter()
            for seed in range(1, runs + 1):
                action(seed)
            found[name] = (time.perf_counter() - start) / runs
    return found


def machine() -> str:
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, default="tutorial")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    quiet()
    jobs = 12 * arguments.seeds
    widths = NETWORKS[arguments.network]
    network = f"model.widths=[{','.join(map(str, widths))}]"
    sweep = (f"loss={LOSSES}", f"seed=range({arguments.seeds})", network)
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        mlruns = Path(folder) / "mlruns"
        command(mlruns, "loss=focal", "seed=0", "trainer.max_epochs=1")  # makes the store
        for _ in range(arguments.rounds):
            measured: dict[str, float] = {}
            for name, overrides in {
                "stacked": sweep,
                "stacked, no history": (*sweep, "tracking.history=none"),
                "12 one by one": (f"loss={LOSSES}", "seed=0", network, "hydra/launcher=basic"),
                "2 one by one": ("loss=cross_entropy,focal", "seed=0", network, "hydra/launcher=basic"),
            }.items():
                measured[name], measured[f"{name}, with report"] = command(mlruns, *overrides)
            measured |= seconds_of_loops(3, widths)
            for name, value in measured.items():
                found.setdefault(name, []).append(value)
    medians = {name: statistics.median(values) for name, values in found.items()}
    each = (medians["12 one by one"] - medians["2 one by one"]) / 10
    medians["one by one, extrapolated"] = medians["2 one by one"] + each * (jobs - 2)
    medians["stock, extrapolated"] = medians["stock run"] * jobs
    medians["plain loops, extrapolated"] = medians["plain loop"] * jobs
    medians["eager loops, extrapolated"] = medians["eager loop"] * jobs
    ratios = {
        f"{other} / {ours}": medians[other] / medians[ours]
        for ours in ("stacked", "stacked, no history")
        for other in (
            "one by one, extrapolated",
            "stock, extrapolated",
            "plain loops, extrapolated",
            "eager loops, extrapolated",
        )
    }
    for name, value in medians.items():
        print(f"{name:32} {value:8.1f} s" + (f"   ({jobs} runs)" if "stacked" in name or "extra" in name else ""))
    for name, value in ratios.items():
        print(f"{name:60} {value:6.1f}")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(OUT.read_text()) if OUT.is_file() else {}
    kept = {key: value for key, value in kept.items() if key in NETWORKS}
    kept[arguments.network] = {
        "machine": machine(),
        "runs": jobs,
        "rounds": arguments.rounds,
        "seconds": {name: round(value, 3) for name, value in medians.items()},
        "ratios": {name: round(value, 2) for name, value in ratios.items()},
    }
    OUT.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
