"""Is any loss worse tuned than with its defaults, on seeds that tuning never saw?

    .venv/bin/python scripts/bench/tuning.py [--mlruns FOLDER] [--trials 50] [--confirm 5]

Runs `comparison=tuned_losses_on_rings`, and the same losses with their defaults over the same seeds, as whole commands
(sweeps that the folder holds already are taken as they are). Every seed is a fresh draw, and both sweeps have the same
draws, splits and initial weights, so the difference is paired. One-sided sign-flip tests, Holm over the losses. Means
and p-values are printed, and kept in docs/benchmarks/tuning.json with the machine's name and the seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from lossbench.comparison.sign_flip import SignFlip
from lossbench.comparison.verdicts import holm
from lossbench.sweep.answer import answer
from lossbench.tracking import read
from lossbench.tracking.store.open import Store, open_store

TUNED, DEFAULTS = "tuned_losses_on_rings", "losses_on_rings"
METRIC = "metrics.test/auroc"
# What --confirm 0 measures stays beside what the comparison as shipped does.
STRAIGHT = "the best trial taken straight"
OUT = Path(__file__).parents[2] / "docs" / "benchmarks" / "tuning.json"


def swept(store: Store, name: str, *overrides: str) -> tuple[pd.DataFrame, float | None]:
    """Return the finished jobs of a comparison by loss and seed, and its seconds if it had to be run."""
    seconds = None
    if not any(sweep.name == name and sweep.status == "FINISHED" for sweep in read.sweeps(store)):
        line = [sys.executable, "-m", "lossbench", f"comparison={name}", *overrides, f"paths.mlruns={store.mlruns}"]
        start = time.perf_counter()
        subprocess.run(line, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        seconds = time.perf_counter() - start
    runs = read.runs(store, read.find_sweep(store, name).id, status="FINISHED")
    jobs = runs[runs["role"] == "run"]
    return jobs.pivot_table(index="params.seed", columns="objective", values=METRIC), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mlruns", type=Path)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--confirm", type=int, default=5, help="0: take the best trial straight")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        store = open_store((given.mlruns or Path(scratch) / "mlruns").absolute())
        tuned, seconds = swept(store, TUNED, f"tuning.trials={given.trials}", f"tuning.confirm={given.confirm}")
        defaults, seconds_of_defaults = swept(store, DEFAULTS, f"seed=range({len(tuned)})")
        found = answer(store, read.find_sweep(store, TUNED).id)
    assert found is not None
    assert found.tuning is not None
    assert tuned.index.equals(defaults.index)
    gained = tuned - defaults
    test = SignFlip()
    worse, better = ([test.greater((sign * gained[loss]).to_numpy()) for loss in gained] for sign in (-1, 1))
    table = pd.DataFrame(
        {"tuned": tuned.mean(), "default": defaults.mean(), "gain": gained.mean(), "worse": holm(worse),
         "better": holm(better)}, index=gained.columns,
    ).sort_values("gain", ascending=False)  # fmt: skip
    print(f"{len(tuned)} seeds, test/auroc; worse and better: one-sided p, Holm over {len(table)} losses")
    print(table.round(4).to_string())
    settings = found.tuning.objectives.set_index("objective")
    said: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "seeds": len(tuned),
        "trials": sorted(set(settings["finished"].tolist())),
        "failed": int(settings["failed"].sum()),
        "scored again": found.tuning.confirm,
        "seconds": {"tuned": seconds, "defaults": seconds_of_defaults},
        "losses": {
            str(loss): {key: round(float(value), 6) for key, value in row.items()} for loss, row in table.iterrows()
        },
        "settings": {str(loss): setting for loss, setting in settings["setting"].items()},
    }
    known = json.loads(OUT.read_text()) if OUT.is_file() else {}
    if given.confirm:
        known = said | {key: known[key] for key in (STRAIGHT,) if key in known}
    else:
        known[STRAIGHT] = said
    OUT.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
