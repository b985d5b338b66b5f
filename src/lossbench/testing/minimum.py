"""The scores that minimise an expected loss."""

from __future__ import annotations

import torch
from torch import Tensor

from lossbench.objective.loss import Loss
from lossbench.objective.prediction import Prediction


def find_minimum(loss: Loss, eta: Tensor) -> Tensor:
    """Return the scores (1, n) at which the expected loss under the posterior eta is least."""
    labels = torch.arange(len(eta))

    def risk(scores: Tensor) -> Tensor:
        rows = scores.repeat_interleave(len(eta), dim=0)
        values = loss(Prediction(rows, loss.link), labels.repeat(len(scores)))
        return (values.reshape(len(scores), -1) * eta).sum(dim=-1)

    if len(eta) == 2:  # a grid, zoomed in on: needs no derivative
        middle, width = 0.0, 40.0
        while width > 1e-9:
            grid = torch.linspace(middle - width, middle + width, 201, dtype=torch.float64)
            middle = grid[risk(grid[:, None]).nan_to_num(nan=torch.inf).argmin()].item()
            width /= 20
        return torch.tensor([[middle]], dtype=torch.float64)
    scores = torch.zeros(1, len(eta), dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS(
        [scores], max_iter=500, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        search.zero_grad()
        value = risk(scores).sum()
        value.backward()
        return value

    search.step(closure)
    return scores.detach()
