"""Without a verb: one run, shown as it goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from lossbench import terminal
from lossbench.experiment import execute, prepare


def train(config: Mapping[str, Any]) -> float:
    """Run one job with its config, model, live bar and final table on the terminal; return its score."""
    console = Console()
    job = prepare(config)
    terminal.show_start(console, config, job.network)
    result = execute(job, dict(config), live=console.is_terminal)
    terminal.show_end(console, result)
    return result.score
