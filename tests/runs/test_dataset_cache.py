"""What a process keeps of the data that it has drawn."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from typing import Any

import pytest

from lossbench.config.compose import compose
from lossbench.data.dataset import Dataset
from lossbench.runs import dataset_cache


def cached(config: dict[str, Any]) -> Dataset:
    return dataset_cache.dataset_of(config["data"], config["seed"])


def test_as_much_is_kept_as_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: OrderedDict[str, object] = OrderedDict()
    monkeypatch.setattr(dataset_cache, "_prepared", kept)
    configs = [compose(["data=rings", f"seed={seed}"]) for seed in range(4)]
    first = cached(configs[0])
    assert cached(configs[0]) is first
    size = len(pickle.dumps([first.train, first.val, first.test]))
    monkeypatch.setattr(dataset_cache, "_KEPT", int(2.5 * size))
    second, third = cached(configs[1]), cached(configs[2])
    assert list(kept.values()) == [second, third]
    # What was used last stays.
    assert cached(configs[1]) is second
    fourth = cached(configs[3])
    assert list(kept.values()) == [second, fourth]
