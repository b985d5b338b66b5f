"""Which process writes a run, so that another can tell whether it still lives."""

from __future__ import annotations

import os
import socket
import subprocess
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path
from typing import Self

_PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process that no other can be taken for: ids are used again, after a restart of the machine too.

    Parameters
    ----------
    host
        The machine's name.
    boot
        What the machine calls the time since it was started, empty where it has no name for it.
    space
        Where the id counts: containers of one machine number their processes apart.
    id
        The process id.
    started
        When it started, in the machine's own clock, which no change of the date moves.
    """

    host: str
    boot: str
    space: str
    id: int
    started: str

    @classmethod
    def current(cls) -> Process:
        """Return this process."""
        return _process(os.getpid())

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Read what :meth:`__str__` wrote; None for anything else.

        >>> Process.parse("here b s 12 345").id, Process.parse("no process")
        (12, None)
        """
        parts = (text or "").split(" ")
        if len(parts) != 5 or not parts[3].isdecimal():
            return None
        return cls(parts[0], parts[1], parts[2], int(parts[3]), parts[4])

    def __str__(self) -> str:
        return " ".join(str(value).replace(" ", "_") for value in astuple(self))

    @property
    def alive(self) -> bool | None:
        """Whether it still runs; None where that cannot be known from here: on another machine or in a container."""
        here = _process(os.getpid())
        if self.host != here.host:
            return None
        if self.boot != here.boot:
            return False
        if self.space != here.space:
            return None
        return _started(self.id) == self.started


@cache
def _process(pid: int) -> Process:
    # By its id, since a forked child would find its parent's in a cache without.
    boot = _read(_PROC / "sys" / "kernel" / "random" / "boot_id")
    try:
        space = os.readlink(_PROC / "self" / "ns" / "pid")
    except OSError:
        space = ""
    host = socket.gethostname().replace(" ", "_") or "unknown"
    return Process(host, boot or "-", space or "-", pid, _started(pid) or "-")


def _started(pid: int) -> str | None:
    """Return when a process started; None where there is none, or one that has ended and is not yet collected."""
    if _PROC.is_dir() and (_PROC / "self" / "stat").exists():
        # The name, in brackets, may hold anything; behind it come the state and, 19 places on, the start in ticks.
        fields = _read(_PROC / str(pid) / "stat").rpartition(")")[2].split()
        return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else None
    said = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return said.stdout.strip().replace(" ", "_") or None


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
