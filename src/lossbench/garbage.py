"""How often Python looks for cycles of garbage: seldom, in the processes that are lossbench's own."""

from __future__ import annotations

import gc


def look_seldom() -> None:
    """Have Python look after every 10,000 new objects instead of every 700.

    Imports make half a million objects that stay: looking among them took a quarter of their time. MLflow holds some
    five thousand while it writes a run.
    """
    gc.set_threshold(10_000)
