"""Loss x weighting sweeps as a grid: each pair trains or is refused by name."""

from __future__ import annotations

import pytest
import torch

from lossbench.errors import CannotServe
from lossbench.objective.objective import Objective
from lossbench.objective.regularizer import Step


def test_every_pair_serves_or_is_refused(loss_case, weighting_cases):
    for weighting_case in weighting_cases:
        if weighting_case.task != loss_case.task:
            continue
        loss, weighting = loss_case.build(), weighting_case.build()
        if not weighting.neutral and (not loss.pointwise or loss.has_class_weight):
            with pytest.raises(CannotServe, match=loss.name):
                Objective(loss, weighting, {}, loss_case.task)
            continue
        objective = Objective(loss, weighting, {}, loss_case.task)
        objective.at_epoch(9)
        scores = loss_case.scores().requires_grad_()
        step = Step({}, scores, None, loss_case.predict(loss, scores), loss_case.target())
        terms = objective(step)
        assert list(terms) == ["loss", "objective"]
        assert terms["objective"].shape == ()
        assert torch.equal(terms["loss"], terms["objective"])
        terms["objective"].backward()
        assert scores.grad.isfinite().all()
