"""Runs as `tracking.read.runs` returns them, written down by hand."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lossbench.comparison.leaderboard import build_leaderboard
from lossbench.comparison.report.evidence import Evidence, Names
from lossbench.comparison.report.row_curves import Predictions

Table = Callable[..., pd.DataFrame]


@pytest.fixture
def runs() -> Table:
    """Build runs from (objective, seed, value) or (objective, seed, value, status), and reference rows."""

    def build(*rows: tuple, references: dict[str, float] | None = None) -> pd.DataFrame:
        jobs = [
            {
                "objective": objective,
                "role": "run",
                "status": status[0] if status else "FINISHED",
                "params.seed": seed,
                "params.loss": objective.split(" · ")[0],
                "metrics.test/auroc": value,
            }
            for objective, seed, value, *status in rows
        ]
        jobs += [
            {
                "objective": name,
                "role": "reference",
                "status": "FINISHED",
                "params.seed": 0,
                "metrics.test/auroc": value,
            }
            for name, value in (references or {}).items()
        ]
        frame = pd.DataFrame(jobs)
        return frame.assign(
            run_id=[f"r{n}" for n in range(len(frame))], name="s", seconds=2.0, overrides=None, error=None
        )

    return build


METRICS = ("auroc", "average_precision", "f1", "tuned/f1", "ece")


@pytest.fixture(scope="session")
def evidence() -> Callable[..., Evidence]:
    """Build evidence of objectives that differ by how well they separate two or more classes.

    ``strengths``: for each objective how far its scores lie apart, or its params with that under ``strength``.
    """

    def build(
        strengths: dict[str, float | dict[str, Any]],
        *,
        seeds: int = 12,
        classes: int = 2,
        features: int = 2,
        data: tuple[str, ...] = ("rings",),
        epochs: int = 3,
        names: Names | None = None,
        **compare: Any,
    ) -> Evidence:
        rng = np.random.default_rng(0)
        rows, shards, histories = [], [], {}
        for source in data:
            for label, given in strengths.items():
                params = given if isinstance(given, dict) else {"strength": given}
                for seed in range(seeds):
                    run = f"{source} {label} {seed}"
                    said = _said(rng, run, float(params["strength"]), classes, features)
                    shards.append(said)
                    values = 0.5 + float(params["strength"]) / 10 + 0.01 * rng.random(epochs)
                    histories[run] = pd.DataFrame({"epoch": range(epochs), "val/auroc": values})
                    rows.append(
                        {
                            "run_id": run, "objective": label, "role": "run", "status": "FINISHED", "seeds": "draws",
                            "seconds": 1.0, "start": pd.Timestamp("2026-01-01", tz="UTC"), "params.data": source,
                            "params.seed": seed, "params.epochs": epochs, "params.select.metric": "val/auroc",
                            "rows_train": 100.0, "rows_val": 20.0, "rows_test": 60.0,
                            **{f"params.{key}": value for key, value in params.items() if key != "strength"},
                            **{f"metrics.test/{key}": float(values[-1]) for key in METRICS},
                            "metrics.test/posterior/ece": 0.01, "metrics.threshold/f1": 0.4,
                            "metrics.weights/near_zero": float(params["strength"]) / 10,
                        }
                    )  # fmt: skip
        buffer = io.BytesIO()
        schema = pa.unify_schemas([pa.Schema.from_pandas(shard).remove_metadata() for shard in shards])
        with pq.ParquetWriter(buffer, schema) as writer:
            for shard in shards:
                writer.write_table(pa.Table.from_pandas(shard.reindex(columns=schema.names), schema=schema))
        frame = pd.DataFrame(rows)
        board = build_leaderboard(frame, "test/auroc", **compare)
        known = {} if names is None else dict.fromkeys(data, names)
        return Evidence(frame, board, history=histories.get, predictions=Predictions([buffer.getvalue()]), names=known)

    return build


def _said(rng: np.random.Generator, run: str, strength: float, classes: int, features: int) -> pd.DataFrame:
    n = 60
    target = np.arange(n) % classes
    columns: dict[str, Any] = {"run_id": run, "split": "test", "row": range(n), "target": target}
    if classes == 2:
        score = rng.normal(size=n) + strength * (target - 0.5)
        probs = np.stack([1 / (1 + np.exp(score)), 1 / (1 + np.exp(-score))], axis=1)
        columns["score_0"] = score
    else:
        scores = rng.normal(size=(n, classes)) + strength * (target[:, None] == np.arange(classes))
        probs = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        columns |= {f"score_{k}": scores[:, k] for k in range(classes)}
    for name in ("prob", "posterior"):
        columns |= {f"{name}_{k}": probs[:, k] for k in range(classes)}
    if features != 2:
        return pd.DataFrame(columns)
    x = rng.normal(size=(n, 2)) + target[:, None]
    rows = pd.DataFrame(columns | {"x_0": x[:, 0], "x_1": x[:, 1]})
    points = np.stack(np.meshgrid(np.linspace(-2, 3, 8), np.linspace(-2, 3, 8)), axis=-1).reshape(-1, 2)
    grid = {"run_id": run, "split": "grid", "row": range(64), "target": -1, "x_0": points[:, 0], "x_1": points[:, 1]}
    width = 1 if classes == 2 else classes
    grid |= {f"score_{k}": points.sum(axis=1) - 1 - k for k in range(width)}
    return pd.concat([rows, pd.DataFrame(grid)], ignore_index=True)
