"""How the batched engine's cost grows with replicates, rows and width, and what a recorded stack spends its time on.

    .venv/bin/python scripts/bench/growth.py [--replicates 1200] [--rows 1000000]

Processor time in milliseconds a run, in this process, with one thread: training and evaluation for the growth; for the
shares also building and recording into a store of its own. Rings, 12 losses, the tutorial's 2-4-8-1 network, batches of
100, 20 epochs with eight validation metrics each, unless the axis says otherwise; iris stands beside. Writes
docs/benchmarks/growth.json and growth.svg.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import torch

from lossbench.config.compose import compose
from lossbench.processes.lifetime import collect_rarely
from lossbench.runs import dataset_cache, engines, record
from lossbench.runs.prepare import prepare_job
from lossbench.runs.settings import read_settings
from lossbench.runs.train import evaluate_fast
from lossbench.sweep import stacks
from lossbench.training.stacked import eligible, engine
from sweep import LOSSES, OUT, machine

SMALL = ("model.widths=[4,8]",)
Config = dict[str, Any]


def configs(runs: int, *overrides: str) -> list[Config]:
    """Return the configs of so many jobs: the losses in turn over as many seeds as that takes, loss by loss."""
    losses = LOSSES.split(",")
    base = {loss: compose([f"loss={loss}", *overrides]) for loss in losses[: min(runs, len(losses))]}
    found = []
    for number in range(runs):
        made = copy.deepcopy(base[losses[number % len(base)]])
        made["seed"] = made["data"]["source_seed"] = made["data"]["split_seed"] = number // len(base)
        found.append(made)
    return sorted(found, key=lambda config: losses.index(config["choices"]["loss"]))


def milliseconds(jobs: list[Config]) -> float:
    """Return what training and evaluation of the jobs cost, per job, in stacks as a sweep would cut them."""
    total = 0.0
    for _, places in stacks.plan_stacks(jobs, 1, 512):
        own = [jobs[place] for place in places]
        made = [prepare_job(config, dataset_cache.dataset_of(config["data"], config["seed"])) for config in own]
        kinds = [eligible.kind_key(job) for job in made]
        start = time.process_time()
        engine.fit(made, kinds)
        for config, job in zip(own, made, strict=True):
            evaluate_fast(job, read_settings(config))
        total += time.process_time() - start
    return 1e3 * total / len(jobs)


@contextmanager
def clocks(parts: dict[str, tuple[Any, str]]) -> Iterator[dict[str, float]]:
    """Measure the processor time within some functions, each a module's or class's attribute."""
    seconds = dict.fromkeys(parts, 0.0)
    before = {part: getattr(place, name) for part, (place, name) in parts.items()}

    def measured(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            start = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                seconds[part] += time.process_time() - start

        return call

    for part, (place, name) in parts.items():
        setattr(place, name, measured(part, before[part]))
    try:
        yield seconds
    finally:
        for part, (place, name) in parts.items():
            setattr(place, name, before[part])


def shares(runs: int, *overrides: str) -> dict[str, float]:
    """Return where the time of recorded stacks goes, in ms a run."""
    with tempfile.TemporaryDirectory() as folder:
        jobs = configs(runs, f"paths.mlruns={folder}/mlruns", *overrides)
        record.store_of(read_settings(jobs[0]))
        parts = {
            "build": (stacks, "_plan"),
            "record: start": (record, "start_record"),
            "train and validate": (engine, "fit"),
            "evaluate": (engines, "evaluate_fast"),
            "record: end": (record, "finish_record"),
        }
        start = time.process_time()
        chunks = stacks.plan_stacks(jobs, 1, 512)
        with clocks(parts) as seconds:
            for reason, places in chunks:
                stacks.run_chunk([jobs[place] for place in places], [True] * len(places), reason, Path(folder))
        total = time.process_time() - start
    found = {part: 1e3 * value / runs for part, value in seconds.items()}
    return found | {"other": 1e3 * total / runs - sum(found.values())}


def picture(found: dict[str, Any]) -> None:
    mpl.use("svg")
    figure, axes = plt.subplots(1, 4, figsize=(14, 3.4), layout="constrained")
    for axis, (name, label) in zip(
        axes, (("replicates", "runs in the sweep"), ("rows", "rows"), ("width", "width")), strict=False
    ):
        values = {float(key): value for key, value in found[name].items()}
        axis.loglog(list(values), list(values.values()), "o-")
        axis.set(xlabel=label, ylabel="ms of CPU a run" if name == "replicates" else None)
        axis.set_title(f"growth with {label}", fontsize=10)
        axis.set_ylim(bottom=min(values.values()) / 2)
    left = 0.0
    for part, value in found["shares"].items():
        axes[3].barh([0], [value], left=left, label=f"{part} {value:.1f}")
        left += value
    axes[3].set_title("a recorded run of 360, ms of CPU", fontsize=10)
    axes[3].set_yticks([])
    axes[3].legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    figure.savefig(OUT.with_name("growth.svg"), metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=1200)
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    milliseconds(configs(2, *SMALL))  # warms up
    gc.freeze()  # as a sweep's workers do
    collect_rarely()
    found: dict[str, Any] = {"machine": machine(), "unit": "ms of CPU a run, train and evaluate"}

    def measure(name: str, label: object, jobs: list[Config]) -> None:
        found.setdefault(name, {})[str(label)] = round(milliseconds(jobs), 2)
        print(f"{name} {label}: {found[name][str(label)]:.1f} ms a run", flush=True)

    for runs in (1, 12, 36, 120, 360, 1200, 3600, 10_000):
        if runs <= arguments.replicates:
            measure("replicates", runs, configs(runs, *SMALL))
    for rows in (1_000, 10_000, 100_000, 1_000_000):
        if rows <= arguments.rows:
            positives = round(rows * 200 / 6200)
            counts = f"data.positives={positives}", f"data.negatives={rows - positives}", "data.batch_size=1000"
            measure("rows", rows, configs(12 if rows < 100_000 else 2, *SMALL, *counts, "data.test_rows=1000"))
    for width in (8, 32, 128, 512):
        measure("width", width, configs(24 if width < 500 else 12, f"model.widths=[{width},{width}]"))
    measure(
        "iris, 100 epochs, 9 metrics", 360, configs(360, "data=iris", "trainer.max_epochs=100", "model.widths=[50,50]")
    )
    found["shares"] = {part: round(value, 2) for part, value in shares(360, *SMALL).items()}
    print("shares", found["shares"])
    OUT.with_name("growth.json").write_text(json.dumps(found, indent=1) + "\n")
    picture(found)


if __name__ == "__main__":
    main()
