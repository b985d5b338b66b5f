"""Measure what a store costs: CPU time and rows a second of recording, and how much the database grows by a run.

.venv/bin/python scripts/bench/store.py --runs 300
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=20)
    given = parser.parse_args()

    from lossbench.experiment import compose, run
    from lossbench.tracking.run import RunRecord
    from lossbench.tracking.store import open_store

    with tempfile.TemporaryDirectory() as folder:
        mlruns = Path(folder) / "mlruns"
        # A real run says what a run holds.
        result = run(compose([f"paths.mlruns={mlruns}", f"trainer.max_epochs={given.epochs}"]))
        store = open_store(mlruns)
        like = store.client.get_run(result.run_id).data
        epochs = [{key: value for key, value in row.items() if key != "epoch"} for row in result.fit.history]
        tags = {key: value for key, value in like.tags.items() if key.startswith(("lossbench.", "version."))}
        for key in ("lossbench.role", "lossbench.sweep", "lossbench.objective", "lossbench.process"):
            tags.pop(key, None)

        def size() -> int:
            return sum(file.stat().st_size for file in mlruns.glob("mlflow.db*"))

        before, started, cpu = size(), time.perf_counter(), time.process_time()
        for number in range(given.runs):
            with RunRecord.start(store, f"s{number}", role="run", params=like.params, tags=tags) as record:
                record.log(enumerate(epochs), hold=True)
                record.finish(result.metrics)
        seconds, busy = time.perf_counter() - started, time.process_time() - cpu
        rows = given.runs * (len(epochs) * len(epochs[0]) + len(result.metrics))
        found = {
            "runs": given.runs,
            "epochs": given.epochs,
            "rows a run": rows / given.runs,
            "runs a minute": 60 * given.runs / seconds,
            "runs a minute of CPU time": 60 * given.runs / busy,
            "rows a second of CPU time": rows / busy,
            "database growth a run, kB": (size() - before) / given.runs / 1000,
        }
        json.dump({key: round(value, 1) for key, value in found.items()}, sys.stdout, indent=1)
        print()


if __name__ == "__main__":
    main()
