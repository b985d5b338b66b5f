"""Workers end with the command that started them: one that outlived it would go on training and recording."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from multiprocessing.connection import wait

_TERMINATED = 143
_LOOK_SECONDS = 0.2
_watched: int | None = None


def end_with_parent() -> None:
    """Have this worker process end at once when its parent is gone, killed with no time to say so; safe to call again.

    Its runs keep the status RUNNING, and the command that continues the sweep sees that their process is gone.
    """
    global _watched
    if _watched == os.getpid():
        return
    _watched = os.getpid()
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True, name="end-with-parent").start()


def joblibs_own() -> bool:
    """Whether this process is one of joblib's workers."""
    return "loky" in type(multiprocessing.current_process()).__module__


def _watch(parent: int) -> None:
    main = multiprocessing.parent_process()
    if main is not None and not joblibs_own():
        # The command itself, though a server of processes may stand in between.
        wait([main.sentinel])
    else:
        # joblib's workers are children of the command, and have no handle on it that can be waited for.
        while os.getppid() == parent:
            time.sleep(_LOOK_SECONDS)
    os._exit(_TERMINATED)
