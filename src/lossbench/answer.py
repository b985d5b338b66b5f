"""What the recorded runs of a sweep say: read once from MLflow, ranked, shown; a sweep ends with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from rich.console import Console

from lossbench.comparison import render
from lossbench.comparison.leaderboard import leaderboard
from lossbench.tracking import links, read
from lossbench.tracking.store import Store

# Shown beside the judged metric where the terminal is wide enough.
BESIDE = ("average_precision", "log_loss", "accuracy", "tuned/f1")


@dataclass(frozen=True)
class Answer:
    """A leaderboard with all that belongs beside it.

    Parameters
    ----------
    runs
        One row per job or reference, as :func:`lossbench.tracking.read.runs` returns them.
    table
        The leaderboard.
    failures
        Jobs that did not finish.
    left_out
        (overrides, reason) of jobs whose components cannot serve the task or each other.
    """

    runs: pd.DataFrame
    table: pd.DataFrame
    failures: pd.DataFrame
    left_out: Sequence[tuple[str, str]]

    @property
    def metric(self) -> str:
        return str(self.table.attrs["metric"])

    @property
    def markdown(self) -> str:
        return render.to_markdown(self.table, failures=self.failures, left_out=self.left_out)

    def show(self, console: Console) -> None:
        render.show(self.table, failures=self.failures, left_out=self.left_out, console=console)


def answer(
    store: Store,
    sweep: str,
    *,
    metric: str | None = None,
    baseline: str | None = None,
    by: Sequence[str] = ("objective",),
    better: str | None = None,
) -> Answer | None:
    """Read a sweep's runs and rank its objectives; None where it has no run yet.

    Parameters
    ----------
    sweep
        The run id of the sweep.
    metric, baseline
        None: what the sweep was told; and the metric on validation, with a note, where no run has a test split.
    by
        What is compared: ``objective`` or names of params.
    better
        ``max`` or ``min`` for a metric of the user's own.
    """
    tags = store.client.get_run(sweep).data.tags
    runs = read.runs(store, sweep)
    if runs.empty:
        return None
    judged, note = _judged(runs, metric or tags.get("lossbench.metric", "test/auroc"), given=metric is not None)
    beside = [f"{judged.split('/', 1)[0]}/{name}" for name in BESIDE]
    table = leaderboard(
        runs, judged, by=by, baseline=baseline or tags.get("lossbench.baseline"), show=beside, better=better
    )
    table.attrs["notes"] += note
    return Answer(runs, table, read.failures(runs), read.left_out(store, sweep))


def _judged(runs: pd.DataFrame, metric: str, given: bool) -> tuple[str, list[str]]:
    column = f"metrics.{metric}"
    split, _, name = metric.partition("/")
    on_val = f"val/{name}"
    if given or split != "test" or (column in runs and runs[column].notna().any()):
        return metric, []
    if f"metrics.{on_val}" not in runs:
        return metric, []
    return on_val, [f"there is no test split: {on_val} is shown, which also selected the epochs"]


def chart_link(store: Store, sweep: str, found: Answer) -> str:
    """Return the link that opens MLflow's chart view of the sweep's objectives, best first."""
    return links.chart(store, sweep, found.metric, found.table.attrs["direction"])
