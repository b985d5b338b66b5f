"""The numbers that a run computes with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from lossbench.errors import UserError

PRECISIONS = {"32-true": torch.float32, "64-true": torch.float64}


def dtype_of(trainer: Mapping[str, Any]) -> torch.dtype:
    """Return the dtype that a trainer config asks for.

    Raises
    ------
    UserError
        For a precision other than full 32 or 64 bits.
    """
    precision = str(trainer.get("precision", "32-true"))
    if precision not in PRECISIONS:
        raise UserError(f"trainer.precision is one of {', '.join(PRECISIONS)}, got {precision!r}")
    return PRECISIONS[precision]
