"""Refuse a table that does not fit into memory, before the kernel ends the process."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import pyarrow as pa

from lossbench.errors import DataError

_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def available() -> int | None:
    """Return the bytes that this process may still take: of the machine, and of its container; None where unknown."""
    limits = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        limits += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError):
        pass
    for limit, used in _GROUPS:
        try:
            limits.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # no such group, or no limit ("max")
            continue
    return min(limits, default=None)


def release() -> None:
    """Give freed memory back to the system: what held a table's text is needed for its features.

    glibc keeps small blocks that were freed, a fifth of a large table; other systems give them back by themselves.
    """
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def require_memory(needed: int, what: str, advice: str) -> None:
    """Refuse what cannot fit, and say how much it needs and how much is free.

    Raises
    ------
    DataError
        Where more is needed than there is.
    """
    free = available()
    if free is not None and needed > free:
        raise DataError(f"{what} needs about {_size(needed)} of memory, and {_size(free)} are free; {advice}")


def _size(number: int) -> str:
    """Return bytes as a person says them.

    >>> _size(1_500_000_000), _size(2_000_000)
    ('1.5 GB', '2.0 MB')
    """
    for unit, size in (("TB", 1e12), ("GB", 1e9)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number / 1e6:.1f} MB"
