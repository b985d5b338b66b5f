"""What the server of worker processes imports first: it will end with its command, and its other imports are faster."""

import ctypes
import signal
import sys

from lossbench.processes.lifetime import collect_rarely

_PR_SET_PDEATHSIG = 1  # man 2 prctl


def _end_with_command() -> None:
    """Have the kernel kill this server when the command that started it ends; a pipe on its output would wait."""
    # Imported by anyone else, this module binds nobody to their parent.
    if sys.platform == "linux" and sys.orig_argv[-1].startswith("from multiprocessing.forkserver"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


_end_with_command()
collect_rarely()
