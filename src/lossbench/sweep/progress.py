"""One bar for a whole sweep, whatever process its jobs run in."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

FILE = "finished"


def tick(sweep_dir: str | Path) -> None:
    """Say that one job has ended: a byte appended to a file, which is atomic and needs no channel to workers.

    A disk that is full, or gone, costs the bar a job, and never the job its end.
    """
    with suppress(OSError):
        descriptor = os.open(Path(sweep_dir) / FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, b".")
        finally:
            os.close(descriptor)


@contextmanager
def overall_bar(console: Console, sweep_dir: str | Path, total: int, what: str = "jobs") -> Iterator[None]:
    """Show how many jobs have ended, with rate and time left, while the block runs; nothing where no one looks."""
    if not console.is_terminal:
        yield
        return
    file = Path(sweep_dir) / FILE
    before = file.stat().st_size if file.exists() else 0
    done = threading.Event()
    bar = Progress(
        TextColumn(what),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    task = bar.add_task("", total=total, rate="")

    def watch() -> None:
        while not done.wait(0.2):
            ended = file.stat().st_size - before if file.exists() else 0
            elapsed = bar.tasks[0].elapsed or 1.0
            bar.update(task, completed=ended, rate=f"{ended / elapsed:.1f} runs/s")

    with bar:
        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
