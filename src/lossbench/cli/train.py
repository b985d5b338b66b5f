"""Without a verb: one run, shown as it goes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from lossbench.cli import terminal
from lossbench.runs.execute import run_planned
from lossbench.runs.prepare import plan_run
from lossbench.runs.record import store_of
from lossbench.runs.validate import check_around
from lossbench.sweep.resume import deliver_waiting
from lossbench.sweep.settings import SweepSettings
from lossbench.tracking.store.outbox import outbox_of
from lossbench.tracking.unfinished import repair


def train(config: Mapping[str, Any]) -> float:
    """Run one job with its config, model, live bar and final table on the terminal; return its score."""
    console = Console()
    sweep = SweepSettings.read(config)
    run = plan_run(config)
    check_around(run.settings, run.job.dataset.task)
    if sweep.dry_run:
        console.print("1 job, new: nothing is wrong with it, and it was not trained", highlight=False)
        return math.nan
    store = store_of(run.settings)
    deliver_waiting(store, console)
    repair(store)
    terminal.show_start(console, config, run.job.network)
    result = run_planned(run, live=console.is_terminal)
    terminal.show_end(console, result)
    outbox_of(store).deliver_patiently()
    return result.score
