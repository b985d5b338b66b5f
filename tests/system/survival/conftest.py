"""Commands that can be killed: each in a process of its own, forked from a server that has imported everything."""

from __future__ import annotations

import multiprocessing
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from lossbench.processes.workers import context
from lossbench.tracking.store.open import open_store

# What the process does: text, since the server that it is forked from cannot import a test's own functions.
COMMAND = """
import os, signal, sys
from lossbench.cli.main import dispatch
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # which the server of workers holds back
os.setsid()
os.chdir(folder)
with open(output, "a") as file:
    os.dup2(file.fileno(), 1)
    os.dup2(file.fileno(), 2)
sys.argv = ["lossbench", *arguments]
sys.exit(dispatch(arguments))
"""


def runs(process: int, what: bytes) -> bool:
    """Whether that is in a process's command line; one that is gone runs nothing."""
    try:
        return what in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


class Killable:
    """A store and commands over it."""

    TINY = (
        "trainer.max_epochs=2",
        "data.test_rows=200",
        "data.negatives=150",
        "data.positives=30",
        "tracking.predictions=20",
    )

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.mlruns = folder / "mlruns"
        self.output = folder / "output.txt"
        self.store = open_store(self.mlruns)

    def start(self, *arguments: str) -> BaseProcess:
        given = [*arguments, f"paths.mlruns={self.mlruns}"]
        names = {"arguments": given, "folder": str(self.folder), "output": str(self.output)}
        process: BaseProcess = context().Process(target=exec, args=(COMMAND, names))
        process.start()
        return process

    def run(self, *arguments: str) -> int:
        process = self.start(*arguments)
        process.join()
        assert process.exitcode is not None
        return process.exitcode

    def ended(self) -> int:
        """Return how many runs are recorded as FINISHED."""
        with closing(sqlite3.connect(f"file:{self.mlruns / 'mlflow.db'}?mode=ro", uri=True, timeout=20)) as database:
            return int(database.execute("SELECT COUNT(*) FROM runs WHERE status = 'FINISHED'").fetchone()[0])

    @property
    def said(self) -> str:
        return self.output.read_text()

    @staticmethod
    def workers_of(command: int) -> list[int]:
        """Return the processes that train for a command: its children, and those that its own server forked for it.

        Neither that server nor a resource tracker: what has started goes on without them.
        """
        parents: dict[int, int] = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal():
                with suppress(OSError):
                    parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        children = [child for child, parent in parents.items() if parent == command]
        servers = [child for child in children if runs(child, b"forkserver")]
        forked = [child for child, parent in parents.items() if parent in servers]
        return forked + [child for child in children if child not in servers and not runs(child, b"resource_tracker")]

    @staticmethod
    def wait(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                return False
            time.sleep(0.01)
        return True


@pytest.fixture
def killable(tmp_path: Path) -> Iterator[Callable[[str], Killable]]:
    """Make places for commands, and leave none of them running."""
    yield lambda name: Killable(tmp_path / name)
    for child in multiprocessing.active_children():
        child.kill()
        child.join()
