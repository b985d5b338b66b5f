"""What a large table costs: memory beside the table's own, and an epoch beside a plain loop's.

    .venv/bin/python scripts/bench/table.py [--rows 1000000] [--format csv] [--runs 3]

Writes a table of 35 numeric and 15 categorical columns into a temporary folder. One process reads it with pandas alone:
the table's memory. Another does what a run does, load, preprocess and train an epoch, and says by how much its memory
rose at most above what its imports took. Then epochs of the same network on the same features, in turn: by lossbench,
by the tutorials' loop over a DataLoader, and by a loop that indexes tensors and keeps no more than its mean loss.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

NUMERIC, CATEGORICAL, LEVELS = 35, 15, 6
BLOCK = 100_000


def write(path: Path, rows: int) -> None:
    """Write a table block by block."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(0)
    names = np.array(["basic", "standard", "professional", "gold", "north-east", "other"])
    writer = None
    for start in range(0, rows, BLOCK):
        size = min(BLOCK, rows - start)
        x = random.normal(size=(size, NUMERIC)).round(4)
        x[random.random(x.shape) < 0.02] = np.nan
        frame = pd.DataFrame(x, columns=[f"x{number}" for number in range(NUMERIC)])
        for number in range(CATEGORICAL):
            frame[f"c{number}"] = names[random.integers(0, LEVELS, size)]
        signal = np.nan_to_num(x[:, 0]) + np.nan_to_num(x[:, 1]) + (frame["c0"] == "gold")
        frame["churned"] = np.where(signal + random.normal(size=size) > 1.5, "yes", "no")
        if path.suffix == ".csv":
            frame.to_csv(path, index=False, header=start == 0, mode="a")
        else:
            table = pa.Table.from_pandas(frame, preserve_index=False)
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
    if writer is not None:
        writer.close()


class Peak:
    """The most memory that this process had while it lasted, watched every 10 ms."""

    def __init__(self) -> None:
        self.start = self.most = memory()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            self.most = max(self.most, memory())

    @property
    def rise(self) -> int:
        return self.most - self.start


@contextmanager
def peak() -> Iterator[Peak]:
    watched = Peak()
    watched._thread.start()
    try:
        yield watched
    finally:
        watched._over.set()
        watched._thread.join()


def memory() -> int:
    """Resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def frame_bytes(path: Path) -> int:
    frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    return int(frame.memory_usage(deep=True).sum())


def seconds(action: Callable[[], object]) -> float:
    start = time.process_time()
    action()
    return time.process_time() - start


def child(path: Path, batch: int, runs: int) -> dict[str, object]:
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    from lossbench.config.compose import compose
    from lossbench.runs.prepare import draw, prepare_job
    from lossbench.training.lightning.trainer import fit
    from lossbench.training.settings import TrainerSettings

    torch.set_num_threads(1)
    config = compose(
        ["data=table", f"data.path={path}", "data.target=churned", "trainer.max_epochs=1", f"data.batch_size={batch}"]
    )
    # what the first run imports is not the table's
    small = compose(["data=breast_cancer", "trainer.max_epochs=1"])
    fit(prepare_job(small), TrainerSettings.read(small["trainer"]))
    with peak() as watched:
        start = time.process_time()
        dataset = draw(config)
        loading = time.process_time() - start
        job = prepare_job(config, dataset)
        fit(job, TrainerSettings.read(config["trainer"]))
    x, y = torch.as_tensor(dataset.train.x, dtype=torch.float32), torch.as_tensor(dataset.train.y)
    x_val, y_val = torch.as_tensor(dataset.val.x, dtype=torch.float32), torch.as_tensor(dataset.val.y)

    def indexed() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for rows in torch.randperm(len(x)).split(batch):
            yield x[rows], y[rows]

    loader = DataLoader(TensorDataset(x, y), batch_size=batch, shuffle=True)

    def plain(batches: Iterable[Sequence[torch.Tensor]]) -> None:
        model = nn.Sequential(nn.Linear(x.shape[1], 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        loss_of = nn.BCEWithLogitsLoss()
        total = 0.0
        for inputs, target in batches:
            optimizer.zero_grad()
            loss = loss_of(model(inputs).squeeze(1), target.float())
            loss.backward()
            optimizer.step()
            total += loss.item()
        with torch.no_grad():
            ((model(x_val).squeeze(1) > 0) == (y_val > 0)).float().mean().item()

    times = []
    for _ in range(runs):
        job = prepare_job(config, dataset)
        ours = seconds(lambda job=job: fit(job, TrainerSettings.read(config["trainer"])))
        times.append((ours, seconds(lambda: plain(loader)), seconds(lambda: plain(indexed()))))
    return {"rise": watched.rise, "loading": loading, "features": x.shape[1], "times": times}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--format", choices=("csv", "parquet"), default="csv")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"table.{given.format}"
        write(path, given.rows)
        own = in_a_process("bytes", path, given.batch, given.runs)
        found = in_a_process("run", path, given.batch, given.runs)
    print(
        f"{given.rows:,} rows x {NUMERIC + CATEGORICAL} columns as {given.format}: the table {own / 1e6:,.0f} MB; "
        f"load, preprocess ({found['features']} features) and train an epoch {found['rise'] / 1e6:,.0f} MB at most, "
        f"{found['rise'] / own:.2f} times it; the bound is 2.5"
    )
    ours, loader, indexed = (statistics.median(column) for column in zip(*found["times"], strict=True))
    ratios = [statistics.median(row[0] / row[side] for row in found["times"]) for side in (1, 2)]
    print(
        f"loading and preprocessing {found['loading']:.1f} s of CPU; an epoch in batches of {given.batch}: "
        f"{ours:.1f} s, {ratios[0]:.2f} times the tutorials' loop over a DataLoader ({loader:.1f} s; the bound is "
        f"1.2), {ratios[1]:.2f} times a loop that indexes tensors ({indexed:.1f} s)"
    )


def in_a_process(what: str, path: Path, batch: int, runs: int) -> Any:
    command = [sys.executable, __file__, "--child", what, str(path), str(batch), str(runs)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


if __name__ == "__main__":
    if "--child" in sys.argv:
        _, _, what, path, batch, runs = sys.argv
        print(json.dumps(frame_bytes(Path(path)) if what == "bytes" else child(Path(path), int(batch), int(runs))))
    else:
        main()
