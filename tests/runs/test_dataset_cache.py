"""What a process keeps of the data that it has drawn."""

from __future__ import annotations

import pickle
from collections import OrderedDict

import pytest

from lossbench.config.compose import compose
from lossbench.runs import dataset_cache


def test_as_much_is_kept_as_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: OrderedDict[str, object] = OrderedDict()
    monkeypatch.setattr(dataset_cache, "_drawn", kept)
    configs = [compose(["data=rings", f"seed={seed}"]) for seed in range(4)]
    first = dataset_cache.dataset(configs[0])
    assert dataset_cache.dataset(configs[0]) is first
    size = len(pickle.dumps([first.train, first.val, first.test]))
    monkeypatch.setattr(dataset_cache, "_KEPT", int(2.5 * size))
    second, third = dataset_cache.dataset(configs[1]), dataset_cache.dataset(configs[2])
    assert list(kept.values()) == [second, third]
    # What was used last stays.
    assert dataset_cache.dataset(configs[1]) is second
    fourth = dataset_cache.dataset(configs[3])
    assert list(kept.values()) == [second, fourth]
