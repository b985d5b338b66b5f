"""Ctrl-C that is not lost: Python drops and prints a KeyboardInterrupt inside the callback of a weak reference."""

from __future__ import annotations

import signal
import sys
from _thread import interrupt_main
from collections.abc import Callable
from functools import partial
from threading import Timer, main_thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

# By then the callback has returned, most likely; else it is tried again.
_SOON_SECONDS = 0.02


def heed() -> None:
    """Raise KeyboardInterrupt on Ctrl-C, wherever it arrives; a process told to ignore Ctrl-C does."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    raise_again()


def raise_again() -> None:
    """Have a KeyboardInterrupt that was dropped raised a moment later, instead of printed with its traceback."""
    hook = sys.unraisablehook
    if not (isinstance(hook, partial) and hook.func is _unraisable):
        sys.unraisablehook = partial(_unraisable, hook)


def _unraisable(print_it: Callable[[UnraisableHookArgs], object], dropped: UnraisableHookArgs) -> None:
    if not issubclass(dropped.exc_type, KeyboardInterrupt):
        print_it(dropped)
        return
    soon = Timer(_SOON_SECONDS, _interrupt_main)
    soon.daemon = True
    soon.start()


def _interrupt_main() -> None:
    main = main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        # A true signal, which wakes a thread that waits for a lock or sleeps.
        signal.pthread_kill(main, signal.SIGINT)
    else:
        interrupt_main()
