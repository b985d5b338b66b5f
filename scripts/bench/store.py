"""Measure what a store costs: runs a minute, rows a second, and how much database and disk a run takes.

    .venv/bin/python scripts/bench/store.py                                  # sqlite, one writer
    .venv/bin/python scripts/bench/store.py --writers 4 --history none
    .venv/bin/python scripts/bench/store.py --uri postgresql://ann@127.0.0.1/runs --database postgresql://ann@127.0.0.1/runs
    .venv/bin/python scripts/bench/store.py --uri http://127.0.0.1:5000 --database postgresql://ann@127.0.0.1/runs

One real run is trained; then its record, with its files, is written again and again through the code that records a
sweep's jobs, by one process or several at once. Writes into the experiment `bench` of the store that is given.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any


def write(uri: str, mlruns: Path, runs: int, stack: int, kept: Mapping[str, Any], ready: Any, spent: Any) -> None:
    """Record a run again and again, in stacks of so many, and put into `spent` how much processor time that took."""
    from lossbench.processes.lifetime import collect_rarely
    from lossbench.runs import record as recording
    from lossbench.runs.prepare import plan_run
    from lossbench.tracking.store.open import open_store
    from lossbench.tracking.store.outbox import outbox_of

    store = open_store(mlruns, uri, "bench")
    run = plan_run(kept["config"])
    gc.freeze()  # as a sweep's workers do
    collect_rarely()
    ready.wait()
    cpu = time.process_time()
    outbox = outbox_of(store)
    for first in range(0, runs, stack):
        with outbox.together():
            records = [recording.start_record(store, run, hold=True) for _ in range(first, min(first + stack, runs))]
        with outbox.together():
            for record in records:
                recording.keep_history(record, run, kept["history"])
                for name, data in kept["files"].items():
                    record.artifacts.bytes(data, name)
                record.finish(kept["metrics"])
    outbox.deliver_patiently()
    spent.put(time.process_time() - cpu)


def one_run(folder: Path, epochs: int, history: str) -> dict[str, Any]:
    """Train and record a run, and return what its record is made of."""
    from lossbench.config.compose import compose
    from lossbench.runs.execute import run
    from lossbench.tracking.schema import Artifact

    mlruns = folder / "once"
    config = compose(
        [
            f"paths.mlruns={mlruns}",
            f"tracking.uri=sqlite:///{mlruns}/mlflow.db",
            f"trainer.max_epochs={epochs}",
            f"tracking.history={history}",
        ]
    )
    result = run(config)
    artifacts = mlruns / "artifacts" / result.run_id / "artifacts"
    # The predictions of a sweep's jobs stand in one file of the sweep.
    predictions = artifacts / Artifact.PREDICTIONS
    own = [file for file in artifacts.rglob("*") if file.is_file() and file != predictions]
    written = ("config.yaml", "history.csv")  # by the record itself
    files = {str(file.relative_to(artifacts)): file.read_bytes() for file in own if file.name not in written}
    disk = [file.stat().st_blocks * 512 for file in own]
    return {
        "config": config,
        "history": result.fit.history,
        "metrics": result.metrics,
        "files": files,
        "disk": sum(disk),
        "count": len(disk),
        "predictions": predictions.stat().st_size,
    }


def meter(database: str) -> Callable[[], tuple[int, int]]:
    """Return what reads the bytes of a database and the rows of its metrics."""
    if database.startswith("sqlite"):
        file = Path(database.removeprefix("sqlite:///"))

        def of_file() -> tuple[int, int]:
            with closing(sqlite3.connect(file)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                rows = connection.execute("SELECT COUNT(*) FROM metrics").fetchone()[0]
            return file.stat().st_size, rows

        return of_file

    from sqlalchemy import create_engine, text

    engine = create_engine(database)

    def of_server() -> tuple[int, int]:
        with engine.connect() as connection:
            size = connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
            return size, connection.execute(text("SELECT COUNT(*) FROM metrics")).scalar_one()

    return of_server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=300, help="in all, over the writers")
    parser.add_argument("--writers", type=int, default=1)
    parser.add_argument("--stack", type=int, default=60, help="runs that a writer starts and ends together")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--history", default="every", help="tracking.history: every, none or a number")
    parser.add_argument("--uri", help="tracking.uri; sqlite in a folder that is removed, unless given")
    parser.add_argument("--database", help="address of the database behind --uri, to measure its growth")
    given = parser.parse_args()

    from lossbench.tracking.store.open import open_store

    with tempfile.TemporaryDirectory() as folder:
        mlruns = Path(folder) / "mlruns"
        uri = given.uri or f"sqlite:///{mlruns / 'mlflow.db'}"
        database = given.database or uri
        kept = one_run(Path(folder), given.epochs, given.history)
        open_store(mlruns, uri, "bench")
        measure = meter(database)
        spawn = multiprocessing.get_context("spawn")
        ready, spent = spawn.Barrier(given.writers + 1), spawn.Queue()
        each = given.runs // given.writers
        writers = [
            spawn.Process(target=write, args=(uri, mlruns, each, given.stack, kept, ready, spent))
            for _ in range(given.writers)
        ]
        for writer in writers:
            writer.start()
        size, rows = measure()
        ready.wait()
        started = time.perf_counter()
        for writer in writers:
            writer.join()
        if any(writer.exitcode for writer in writers):
            sys.exit("a writer failed: the store lost records")
        seconds = time.perf_counter() - started
        busy = sum(spent.get() for _ in writers)
        size_after, rows_after = measure()
        runs = each * given.writers
        found = {
            "store": uri.split(":")[0],
            "writers": given.writers,
            "runs": runs,
            "stack": given.stack,
            "epochs": given.epochs,
            "history": given.history,
            "rows a run": (rows_after - rows) / runs,
            "runs a minute": 60 * runs / seconds,
            "rows a second": (rows_after - rows) / seconds,
            "processor time of the writers a run, ms": 1000 * busy / runs,
            "database growth a run, kB": (size_after - size) / runs / 1000,
            "artifacts a run, kB on disk": kept["disk"] / 1000,
            "files a run": kept["count"],
            "predictions a run, kB": kept["predictions"] / 1000,
        }
        json.dump({key: round(value, 1) if isinstance(value, float) else value for key, value in found.items()},
                  sys.stdout)  # fmt: skip
        print()


if __name__ == "__main__":
    main()
