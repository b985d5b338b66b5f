"""What every weighting obeys."""

from __future__ import annotations

import torch
from torch.func import functional_call, vmap

from lossbench.testing.cases import Case, stack
from lossbench.testing.checks import check, check_close, check_finite, check_refuses


def one_positive_weight_per_class(case: Case) -> None:
    weighting = case.bound()
    weighting.at_epoch(int(weighting.start))
    weights = weighting.in_force
    check(weights.shape == (case.task.n_classes,), f"weights of shape {tuple(weights.shape)}, one per class")
    check(weights.dtype == torch.float64, f"weights are {weights.dtype}, expected torch.float64")
    check_finite(weights, "weights")
    check((weights > 0).all(), f"weights > 0, got {weights.tolist()}")
    check_close(weighting(torch.tensor([1, 0, 1])), weights[[1, 0, 1]], "weights of rows of the classes 1, 0, 1")
    check(not weighting.neutral or (weights == 1).all(), f"neutral=True, and the weights are {weights.tolist()}")
    check_refuses(lambda: weighting.bind(case.task), RuntimeError, "bound", "bound twice")


def waits_for_its_start(case: Case) -> None:
    weighting = case.bound()
    for epoch in range(5):
        weighting.at_epoch(epoch)
        in_force = epoch >= weighting.start
        expected = weighting.class_weights if in_force else torch.ones_like(weighting.class_weights)
        check_close(weighting.in_force, expected, f"start={weighting.start:g}, weights of epoch {epoch}")


def stacked_equals_a_loop(case: Case) -> None:
    pair = [case.bound(), case.varied()]
    pair[1].at_epoch(7)
    parameters, buffers, base = stack(pair)
    target = torch.tensor([[0, 1, 1], [1, 0, 1]])
    stacked = vmap(lambda p, b, t: functional_call(base, (p, b), (t,)))(parameters, buffers, target)
    for i, weighting in enumerate(pair):
        check_close(stacked[i], weighting(target[i]), f"weights of replicate {i}")


def state_dict_round_trip(case: Case) -> None:
    varied, fresh = case.varied(), case.bound()
    varied.at_epoch(4)
    fresh.load_state_dict(varied.state_dict())
    check_close(fresh.in_force, varied.in_force, "weights after loading another's state")
