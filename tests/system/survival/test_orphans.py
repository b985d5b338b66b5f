"""A worker ends with the command that started it, however that ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

POOL = """
import sys, time
from concurrent.futures import ProcessPoolExecutor
from lossbench.processes.workers import _set_up_worker, context
if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, mp_context=context(), initializer=_set_up_worker)
    print(pool.submit(__import__("os").getpid).result(), flush=True)
    time.sleep(60)
"""
LOKY = """
import time
from joblib import Parallel, delayed
from lossbench.processes.lifetime import die_with_parent, is_joblib_worker
def work():
    import os
    assert is_joblib_worker()
    die_with_parent()
    return os.getpid()
if __name__ == "__main__":
    print(Parallel(n_jobs=2)(delayed(work)() for _ in range(1))[0], flush=True)
    time.sleep(60)
"""


def alive(process: int) -> bool:
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize("program", [POOL, pytest.param(LOKY, marks=pytest.mark.slow)], ids=["pool", "joblib"])
def test_a_worker_ends_when_its_command_is_killed(program: str, tmp_path: Path) -> None:
    file = tmp_path / "command.py"
    file.write_text(program)
    with subprocess.Popen([sys.executable, str(file)], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        worker = int(command.stdout.readline())
        assert alive(worker)
        os.kill(command.pid, signal.SIGKILL)
    until = time.monotonic() + 30
    while alive(worker) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(worker)
