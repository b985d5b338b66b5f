"""Hyperparameters: checked for type and range by name, then kept as float64 tensors.

Hydra checks no types, so constructors do. The tensors become buffers that bear the constructor argument's
name: runs whose buffers differ can be stacked and trained as one, and a float64 .3 is not off by 1e-8.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

import torch
from torch import Tensor


def number(
    owner: str,
    name: str,
    value: Any,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> Tensor:
    """Return a checked hyperparameter as a 0-dim float64 tensor.

    Raises
    ------
    ValueError
        When ``value`` is no finite number (a bool is none) or outside the range; the line names owner, rule
        and value.

    Examples
    --------
    >>> number("Focal", "gamma", 2, at_least=0)
    tensor(2., dtype=torch.float64)
    >>> number("Focal", "gamma", -1.0, at_least=0)
    Traceback (most recent call last):
    ValueError: Focal needs gamma >= 0, got gamma=-1.0
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError(f"{owner} needs {name} to be a finite number, got {name}={value!r}")
    inside = (
        (at_least is None or value >= at_least)
        and (above is None or value > above)
        and (at_most is None or value <= at_most)
        and (below is None or value < below)
    )
    if not inside:
        lower = f"{at_least} <= " if at_least is not None else f"{above} < " if above is not None else ""
        upper = f" <= {at_most}" if at_most is not None else f" < {below}" if below is not None else ""
        if not upper:  # read from the name outwards: gamma >= 0
            lower, upper = "", f" >= {at_least}" if at_least is not None else f" > {above}"
        raise ValueError(f"{owner} needs {lower}{name}{upper}, got {name}={value!r}")
    return torch.tensor(float(value), dtype=torch.float64)


def vector(owner: str, name: str, values: Any, *, above: float | None = None) -> Tensor:
    """Return one checked number per class as a float64 tensor (K,).

    >>> vector("Explicit", "vector", [1, 30], above=0)
    tensor([ 1., 30.], dtype=torch.float64)
    """
    if isinstance(values, str) or not isinstance(values, Sequence) or len(values) < 2:
        raise ValueError(f"{owner} needs {name} to be a list of one number per class, got {name}={values!r}")
    return torch.stack([number(owner, f"{name}[{i}]", value, above=above) for i, value in enumerate(values)])


def choice(owner: str, name: str, value: Any, choices: Sequence[str]) -> Any:
    """Return ``value`` if it is one of ``choices``.

    >>> choice("Balanced", "by", "rows", ("weights", "count"))
    Traceback (most recent call last):
    ValueError: Balanced needs by to be one of weights, count, got by='rows'
    """
    if value not in choices:
        raise ValueError(f"{owner} needs {name} to be one of {', '.join(choices)}, got {name}={value!r}")
    return value


def switch(owner: str, name: str, value: Any) -> bool:
    """Return ``value`` if it is true or false.

    >>> switch("L1", "proximal", "yes")
    Traceback (most recent call last):
    ValueError: L1 needs proximal to be true or false, got proximal='yes'
    """
    if not isinstance(value, bool):
        raise ValueError(f"{owner} needs {name} to be true or false, got {name}={value!r}")
    return value
