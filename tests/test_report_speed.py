"""A thousand runs: the report is made from what is recorded, in seconds."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lossbench.answer import answer
from lossbench.recording import merge_predictions, shards
from lossbench.reporting import make_report
from lossbench.tracking.run import RunRecord
from lossbench.tracking.store import open_store
from lossbench.tracking.sweep import SweepRecord

OBJECTIVES, SEEDS, ROWS, EPOCHS = 20, 50, 2000, 20
METRICS = ("auroc", "average_precision", "accuracy", "f1", "tuned/f1", "mcc", "log_loss", "ece")


def said(run: str, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    target = (rng.random(ROWS) < 0.1).astype(int)
    x = rng.normal(size=(ROWS, 2)) + target[:, None]
    score = x.sum(axis=1) - 1
    positive = 1 / (1 + np.exp(-score))
    probs = {f"{name}_{k}": p for name in ("prob", "posterior") for k, p in enumerate((1 - positive, positive))}
    rows = pd.DataFrame(
        {"run_id": run, "split": "test", "row": range(ROWS), "target": target, "score_0": score, **probs}
        | {"x_0": x[:, 0], "x_1": x[:, 1]}
    )
    points = np.stack(np.meshgrid(np.linspace(-3, 4, 64), np.linspace(-3, 4, 64)), axis=-1).reshape(-1, 2)
    grid = {"run_id": run, "split": "grid", "row": range(len(points)), "target": -1, "score_0": points.sum(axis=1) - 1}
    return pd.concat([rows, pd.DataFrame(grid | {"x_0": points[:, 0], "x_1": points[:, 1]})], ignore_index=True)


@pytest.mark.slow
def test_a_thousand_runs(tmp_path: Path) -> None:
    store = open_store(tmp_path / "mlruns")
    names = ["cross_entropy", *(f"loss_{n}" for n in range(1, OBJECTIVES))]
    rng = np.random.default_rng(0)
    epochs = pd.DataFrame({"epoch": range(EPOCHS), "val/auroc": np.linspace(0.5, 0.9, EPOCHS)})
    tables = [said("", seed) for seed in range(SEEDS)]
    tags = {"lossbench.metric": "test/auroc", "lossbench.baseline": "cross_entropy"}
    with SweepRecord.open(store, "thousand", objectives={name: {} for name in names}, tags=tags) as sweep:
        folder = shards(store.mlruns, sweep.id)
        folder.mkdir(parents=True)
        for name in names:
            for seed in range(SEEDS):
                run = RunRecord.start(
                    store,
                    f"s{seed} · {name}",
                    role="run",
                    params={"loss": name, "data": "rings", "seed": seed, "epochs": EPOCHS},
                    tags={"lossbench.seeds": "draws"},
                    parent=sweep.objectives[name],
                    sweep=sweep.id,
                    objective=name,
                )
                run.artifacts.table(epochs, "history.csv")
                run.finish({f"test/{metric}": 0.9 + 0.01 * rng.random() for metric in METRICS})
                tables[seed].assign(run_id=run.id).to_feather(folder / f"{run.id}.feather")
        merge_predictions(sweep, store.mlruns)

    # Seconds of this process, since the machine may be shared.
    start = time.process_time()
    found = answer(store, sweep.id)
    assert found is not None
    read = time.process_time()
    report = make_report(store, found, [sweep.id])
    drawn = time.process_time()
    print(f"1,000 runs: {read - start:.1f} s to read and judge, {drawn - read:.1f} s to draw and write")
    assert len(found.runs) == OBJECTIVES * SEEDS
    assert {"ranking", "roc_rings", "decision_regions_rings"} <= {picture.name for picture in report.pictures}
    assert drawn - start < 20
