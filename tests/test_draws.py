"""What a process keeps of the data that it has drawn."""

from __future__ import annotations

import pickle
from collections import OrderedDict

import pytest

from lossbench import draws
from lossbench.experiment import compose


def test_as_much_is_kept_as_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: OrderedDict[str, object] = OrderedDict()
    monkeypatch.setattr(draws, "_drawn", kept)
    configs = [compose(["data=rings", f"seed={seed}"]) for seed in range(4)]
    first = draws.dataset(configs[0])
    assert draws.dataset(configs[0]) is first
    size = len(pickle.dumps([first.train, first.val, first.test]))
    monkeypatch.setattr(draws, "_KEPT", int(2.5 * size))
    second, third = draws.dataset(configs[1]), draws.dataset(configs[2])
    assert list(kept.values()) == [second, third]
    # What was used last stays.
    assert draws.dataset(configs[1]) is second
    fourth = draws.dataset(configs[3])
    assert list(kept.values()) == [second, fourth]
