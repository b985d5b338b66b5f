"""Ctrl-C that is not lost: Python drops a KeyboardInterrupt that arrives inside a weak reference's callback."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn

_asked = False


def heed() -> None:
    """Raise KeyboardInterrupt on Ctrl-C, and remember it for :func:`check`; a process told to ignore Ctrl-C does."""
    global _asked
    _asked = False
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _interrupt)


def check() -> None:
    """Raise the KeyboardInterrupt that was dropped, if one was; called between the jobs of a sweep."""
    if _asked:
        raise KeyboardInterrupt


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    global _asked
    _asked = True
    raise KeyboardInterrupt
