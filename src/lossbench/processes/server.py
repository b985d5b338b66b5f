"""What the server of worker processes imports first, so that it ends with its command and imports the rest faster."""

import ctypes
import signal
import sys

from lossbench.processes.lifetime import collect_rarely

_PR_SET_PDEATHSIG = 1  # man 2 prctl


def _end_with_command() -> None:
    """Have the kernel kill this server when the command that started it ends; who reads their output waits for both."""
    # Imported by anyone else, this module binds nobody to their parent.
    if sys.platform == "linux" and sys.orig_argv[-1].startswith("from multiprocessing.forkserver"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


_end_with_command()
collect_rarely()
