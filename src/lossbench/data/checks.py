"""What constructors check of their arguments, since Hydra checks neither type nor range."""

from __future__ import annotations

import math


def require(holds: bool, owner: str, rule: str, **values: object) -> None:
    """Raise a one-line ValueError that names the owner, the rule and the value, unless the rule holds.

    >>> require(2 >= 3, "Rings", "spread >= 3", spread=2)
    Traceback (most recent call last):
        ...
    ValueError: Rings needs spread >= 3, got spread=2
    """
    if not holds:
        shown = ", ".join(f"{name}={value!r}" for name, value in values.items())
        raise ValueError(f"{owner} needs {rule}, got {shown}")


def is_integer(value: object) -> bool:
    """Whether this is an integer; a bool is none, although Python thinks so."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether this is a finite number; a bool is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
