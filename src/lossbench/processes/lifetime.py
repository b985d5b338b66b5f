"""How a process of ours lives and ends: with the command that started it, by Ctrl-C wherever that arrives."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from _thread import interrupt_main
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import wait
from threading import Timer, main_thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_TERMINATED = 143
_LOOK_SECONDS = 0.2
_watched: int | None = None


def die_with_parent() -> None:
    """End this worker process at once when its parent is gone, even where that was killed; safe to call again.

    Its runs keep the status RUNNING, and the command that continues the sweep sees that their process is gone.
    """
    global _watched
    if _watched == os.getpid():
        return
    _watched = os.getpid()
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True, name="die-with-parent").start()


def is_joblib_worker() -> bool:
    """Whether this process is one of joblib's workers."""
    return "loky" in type(multiprocessing.current_process()).__module__


def _watch(parent: int) -> None:
    main = multiprocessing.parent_process()
    if main is not None and not is_joblib_worker():
        # The command itself, though a server of processes may stand in between.
        wait([main.sentinel])
    else:
        # joblib's workers are children of the command, and have no handle on it that can be waited for.
        while os.getppid() == parent:
            time.sleep(_LOOK_SECONDS)
    os._exit(_TERMINATED)


def collect_rarely() -> None:
    """Let Python collect garbage after every 10,000 new objects instead of every 700.

    Imports make half a million objects that stay: searching them took a quarter of their time. MLflow holds some
    five thousand while it writes a run.
    """
    gc.set_threshold(10_000)


# By then the callback has returned, most likely; else it is tried again.
_SOON_SECONDS = 0.02


def raise_on_ctrl_c() -> None:
    """Raise KeyboardInterrupt on Ctrl-C, wherever it arrives; a process that ignores Ctrl-C goes on doing so."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    raise_again()


def raise_again() -> None:
    """Raise a KeyboardInterrupt that Python drops (in a callback, say) a moment later, instead of printing it."""
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
