"""What `lossbench compare` costs over a thousand runs, and their report, in seconds of CPU time after imports.

    .venv/bin/python scripts/bench/compare.py [--store FOLDER]

Two sweeps of 20 losses by 50 seeds are recorded (a minute; once, where a folder is given): one whose runs hold 8
metrics and 4 params, and one whose runs hold the metrics, params and tags of a real run, with epochs and predictions.
Nothing is trained but that one run: the values are drawn. Each command runs in a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from lossbench.config.compose import compose
from lossbench.runs.execute import run
from lossbench.runs.prepare import plan_run
from lossbench.tracking import read, row_tables
from lossbench.tracking.run import RunRecord
from lossbench.tracking.store.open import Store, open_store
from lossbench.tracking.sweep import SweepRecord

LOSSES, SEEDS, EPOCHS = 20, 50, 20
EIGHT = [
    f"test/{name}" for name in ("auroc", "average_precision", "accuracy", "f1", "tuned/f1", "mcc", "log_loss", "ece")
]

MEASURE = """
import sys, time
from lossbench.verbs import compare
import lossbench.sweep.reporting, lossbench.comparison.report.page, mlflow.store.tracking.sqlalchemy_store
start, imported = time.perf_counter(), time.process_time()
compare.main(sys.argv[1:])
print(f"{time.process_time() - imported:.2f} {time.perf_counter() - start:.2f} {imported:.2f}", file=sys.stderr)
"""


def losses() -> list[str]:
    return ["cross_entropy", *(f"loss_{number}" for number in range(1, LOSSES))]


def seeds(seed: int) -> dict[str, object]:
    return {"seed": seed, "data.source_seed": seed, "data.split_seed": seed}


def record(store: Store, name: str, metrics: list[str], more: dict[str, dict[str, object]], rows: pd.DataFrame) -> None:
    """Record a sweep; `rows`, the predictions of one run, stand for those of every run where there are any."""
    rng = np.random.default_rng(0)
    told = {"lossbench.metric": "test/auroc", "lossbench.baseline": "cross_entropy"}
    with SweepRecord.open(store, name, objectives={loss: {"loss": loss} for loss in losses()}, tags=told) as sweep:
        folder, counting = row_tables.shard_folder(store.mlruns, sweep.id), set()
        folder.mkdir(parents=True)
        for loss in losses():
            for seed in range(SEEDS):
                job = RunRecord.start(
                    store,
                    f"s{seed} · {loss}",
                    role="run",
                    params={**more["params"], "loss": loss, "data": "rings", "epochs": EPOCHS, **seeds(seed)},
                    tags={**more["tags"], "lossbench.seeds": "draws", "lossbench.test_digest": seed},
                    parent=sweep.objectives[loss],
                    sweep=sweep.id,
                    objective=loss,
                )
                if len(rows):
                    epochs = {"epoch": range(EPOCHS), "val/auroc": np.linspace(0.5, 0.9, EPOCHS)}
                    job.artifacts.table(pd.DataFrame(epochs), "history.csv")
                    rows.drop(columns="run_id").to_feather(folder / f"{job.id}.feather")
                counting.add(job.id)
                job.finish(dict(zip(metrics, 0.9 + 0.01 * rng.random(len(metrics)), strict=True)))
        row_tables.merge(store, sweep, counting)


def real(mlruns: Path) -> tuple[list[str], dict[str, dict[str, object]], pd.DataFrame]:
    """Return the metrics, the params and tags, and the predictions of a real run."""
    config = compose(["data=rings", f"paths.mlruns={mlruns}", "trainer.max_epochs=2"])
    done = run(config)
    store = open_store(mlruns)
    found = store.client.get_run(done.run_id)
    rows = pd.read_parquet(Path(store.mlruns, "artifacts", done.run_id, "artifacts", "predictions.parquet"))
    return list(found.data.metrics), {"params": found.data.params, "tags": plan_run(config).description.tags}, rows


def measure(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments], capture_output=True, text=True, check=True, encoding="utf-8"
    )
    cpu, wall, imports = done.stderr.split()
    return f"{cpu} s CPU ({wall} s by the clock; imports {imports} s)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="folder that keeps the two sweeps (default: a temporary one)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        mlruns = given.store or Path(folder) / "mlruns"
        store = open_store(mlruns)
        if not read.sweeps(store):
            metrics, more, rows = real(mlruns)
            record(store, "eight", EIGHT, {"params": {}, "tags": {}}, pd.DataFrame())
            record(store, "all", metrics, more, rows)
        at = ("--mlruns", str(mlruns))
        for name in ("eight", "all"):
            runs = read.runs(store, read.find_sweep(store, name).id)
            held = f"{sum(column.startswith('metrics.') for column in runs)} metrics"
            print(f"{len(runs):,} runs x {held}, leaderboard: {measure(name, *at)}")
        report = ("--format", "html", "--output", str(Path(folder, "report.html")))
        print(f"{len(runs):,} runs x {held}, report:      {measure('all', *at, *report)}")


if __name__ == "__main__":
    main()
