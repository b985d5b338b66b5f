"""References are recorded once per rows that they are judged on."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lossbench.data.iris import Iris
from lossbench.runs import dataset_cache, record, settings
from lossbench.sweep import reference_runs
from lossbench.tracking.run import RunRecord


def test_how_training_batches_its_rows_makes_no_second_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: list[str] = []

    def start(store: object, name: str, **given: object) -> SimpleNamespace:
        recorded.append(name)
        return SimpleNamespace(finish=lambda values: None)

    monkeypatch.setattr(RunRecord, "start", start)
    monkeypatch.setattr(record, "store_of", lambda settings: None)
    monkeypatch.setattr(settings, "read_settings", lambda config: None)
    monkeypatch.setattr(dataset_cache, "dataset_of", lambda data, seed: Iris(split_seed=seed).prepare())
    configs = [
        {
            "seed": seed,
            "choices": {"data": "iris"},
            "metrics": {},
            "data": {"sampler": sampler, "batch_size": size, "fold": None},
        }
        for seed in (0, 1)
        for sampler in ("natural", "balanced")
        for size in (None, 16)
    ]
    reference_runs.record_references("sweep", reference_runs.distinct_data(configs))
    assert recorded == ["s0 · class prior", "s1 · class prior"]
