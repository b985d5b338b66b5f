"""What the server of worker processes imports first: it ends with its command, and its other imports take less time."""

import ctypes
import signal
import sys

from lossbench.garbage import look_seldom

_PR_SET_PDEATHSIG = 1  # man 2 prctl


def _end_with_command() -> None:
    """Be killed as the command ends: it may have refused its arguments, and who reads its output waits for us too."""
    # Imported by anyone else, this module binds nobody to their parent.
    if sys.platform == "linux" and sys.orig_argv[-1].startswith("from multiprocessing.forkserver"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


_end_with_command()
look_seldom()
