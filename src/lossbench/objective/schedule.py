"""How strong a penalty is from epoch to epoch, relative to its strength."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Schedule = Literal["constant", "warm_up", "cosine"]
SCHEDULES = ("constant", "warm_up", "cosine")


def factor(schedule: Schedule, epoch: Tensor, until: Tensor) -> Tensor:
    """Return the factor, 0-dim in [0, 1], of an epoch counted from 0.

    ``constant`` is 1; ``warm_up`` is min(1, epoch / until): 0 in the first epoch, 1 from epoch ``until`` on;
    ``cosine`` is (1 + cos(pi min(1, epoch / until))) / 2: 1 in the first epoch, 0 from epoch ``until`` on.

    >>> [factor("warm_up", torch.tensor(epoch), torch.tensor(4)).item() for epoch in (0, 1, 4, 9)]
    [0.0, 0.25, 1.0, 1.0]
    >>> [round(factor("cosine", torch.tensor(epoch), torch.tensor(4)).item(), 4) for epoch in (0, 1, 2, 9)]
    [1.0, 0.8536, 0.5, 0.0]
    """
    passed = (epoch / until).clamp(max=1)
    if schedule == "warm_up":
        return passed
    if schedule == "cosine":
        return (1 + torch.cos(math.pi * passed)) / 2
    return torch.ones_like(passed)
