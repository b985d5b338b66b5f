"""What every weighting obeys."""

from __future__ import annotations

import pytest
import torch
from torch.func import functional_call, vmap


def test_one_positive_weight_per_class(weighting_case):
    weighting = weighting_case.bound()
    weighting.at_epoch(int(weighting.start))
    weights = weighting.in_force
    assert weights.shape == (weighting_case.task.n_classes,)
    assert weights.dtype == torch.float64
    assert weights.isfinite().all()
    assert (weights > 0).all()
    torch.testing.assert_close(weighting(torch.tensor([1, 0, 1])), weights[[1, 0, 1]], rtol=0, atol=0)
    assert not weighting.neutral or (weights == 1).all()
    with pytest.raises(RuntimeError, match="bound"):
        weighting.bind(weighting_case.task)


def test_waits_for_its_start(weighting_case):
    weighting = weighting_case.bound()
    for epoch in range(5):
        weighting.at_epoch(epoch)
        in_force = epoch >= weighting.start
        expected = weighting.class_weights if in_force else torch.ones_like(weighting.class_weights)
        assert torch.equal(weighting.in_force, expected)


def test_stacked_equals_a_loop(weighting_case, copies):
    pair = [weighting_case.bound(), weighting_case.varied()]
    pair[1].at_epoch(7)
    parameters, buffers, base = copies(pair)
    target = torch.tensor([[0, 1, 1], [1, 0, 1]])
    stacked = vmap(lambda p, b, t: functional_call(base, (p, b), (t,)))(parameters, buffers, target)
    for i, weighting in enumerate(pair):
        assert torch.equal(stacked[i], weighting(target[i]))


def test_state_dict_round_trip(weighting_case):
    varied, fresh = weighting_case.varied(), weighting_case.bound()
    varied.at_epoch(4)
    fresh.load_state_dict(varied.state_dict())
    assert torch.equal(fresh.in_force, varied.in_force)
