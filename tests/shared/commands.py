"""The console command, run in the tests' own process, where imports cost nothing; and settings that train in no time.

pytest puts this folder on the path (pyproject.toml), since test modules cannot import each other.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import NamedTuple
from unittest.mock import patch

from lossbench.cli.main import dispatch

TINY = ("trainer.max_epochs=2", "data.test_rows=200", "data.negatives=150", "data.positives=30")


class Ended(NamedTuple):
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str


Command = Callable[..., Ended]


def run_command(*arguments: str) -> int:
    """Run the console command in this process and return its exit status; argv and signal handlers are put back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with patch.object(sys, "argv", ["lossbench", *arguments]):
            return dispatch(arguments)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
