"""What the recorded runs of a sweep say: read once from MLflow, ranked, shown; a sweep ends with it."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from lossbench.comparison.leaderboard import Leaderboard, build_leaderboard
from lossbench.comparison.pairs import LABEL, jobs_of, keys_of_added, labelled
from lossbench.comparison.report import render
from lossbench.comparison.report.budgets import Tuning, join_tunings, with_budgets
from lossbench.evaluation.catalogue import BESIDE, from_text
from lossbench.tracking import read, ui
from lossbench.tracking.artifacts import read_artifact
from lossbench.tracking.schema import JUDGED_BY, Artifact, Tag
from lossbench.tracking.search import read_run
from lossbench.tracking.store.open import Store

_SAME_TABLE = (
    "tuning saw other splits of the same table, whose training and validation rows may be judged here: every objective "
    "gains by that alike, and is a little flattered beside one that was not tuned"
)


@dataclass(frozen=True)
class Answer:
    """A leaderboard with all that belongs beside it.

    Parameters
    ----------
    runs
        One row per job or reference, as :func:`lossbench.tracking.read.runs` returns them.
    leaderboard
        Of those runs.
    failures
        Jobs that did not finish.
    left_out
        (overrides, reason) of jobs whose components cannot serve the task or each other.
    report
        Where the report lies, once it is written.
    tuning
        How the objectives were tuned; None where they were not.
    """

    runs: pd.DataFrame
    leaderboard: Leaderboard
    failures: pd.DataFrame
    left_out: Sequence[tuple[str, str]]
    report: Path | None = None
    tuning: Tuning | None = None

    @property
    def table(self) -> pd.DataFrame:
        return self.leaderboard.table

    @property
    def markdown(self) -> str:
        return render.to_markdown(self.leaderboard, **self._beside)

    def show(self, console: Console) -> None:
        render.show(self.leaderboard, **self._beside, console=console)

    @property
    def _beside(self) -> dict[str, Any]:
        return {
            "failures": self.failures,
            "left_out": self.left_out,
            "settings": [] if self.tuning is None else self.tuning.settings,
        }


def answer(
    store: Store,
    *sweeps: str,
    filter: str | None = None,
    metric: str | None = None,
    baseline: str | None = None,
    by: Sequence[str] = ("objective",),
    better: str | None = None,
    rope: float | None = None,
) -> Answer | None:
    """Read the runs of sweeps, or any others, and judge their objectives; None where there is none but references.

    Parameters
    ----------
    *sweeps
        Run ids of sweeps, compared as one; without any, every run that the filter matches.
    filter
        MLflow's own, such as ``params.loss = 'focal'``; it need not match runs of lossbench's alone.
    metric, baseline, better, rope
        None: what the first sweep was told, direction and region for the metric that it was told to judge by; where
        no run has a test split, the metric on validation, with a note.
    by
        What is compared: ``objective`` or names of params.
    """
    tags_of_sweeps = [read_run(store, sweep).tags for sweep in sweeps]
    tags = tags_of_sweeps[0] if sweeps else {}
    added = {
        name: facts for each in tags_of_sweeps for name, facts in from_text(each.get(Tag.ADDED_METRICS, "{}")).items()
    }
    found = [read.runs(store, sweep, filter=filter) for sweep in sweeps or (None,)]
    runs = pd.concat([part for part in found if len(part)], ignore_index=True) if any(map(len, found)) else found[0]
    if jobs_of(runs).empty:
        return None
    told = tags.get(Tag.METRIC, JUDGED_BY)
    judged, note = _judged(runs, metric or told, given=metric is not None)
    split = judged.split("/", 1)[0]
    beside = [*(f"{split}/{name}" for name in BESIDE), *keys_of_added(runs, split, added)]
    # What a sweep was told of its own metric holds for no other.
    of_told = tags if judged.split("/", 1)[-1] == told.split("/", 1)[-1] else {}
    region = of_told.get(Tag.ROPE)
    board = build_leaderboard(
        runs,
        judged,
        by=by,
        baseline=baseline or _baseline(runs, tags, by),
        show=beside,
        better=better or of_told.get(Tag.DIRECTION),
        rope=float(region) if rope is None and region is not None else rope,
        added=added,
    )
    board = replace(board, notes=(*board.notes, *note))
    left_out = [entry for sweep in sweeps for entry in read.left_out(store, sweep)]
    tunings = [_tuning(store, sweep) for sweep in sweeps]
    tuning = join_tunings([each for each in tunings if each is not None])
    if tuning is not None:
        jobs = labelled(jobs_of(runs), by)
        board = with_budgets(board, tuning, dict(zip(jobs["objective"], jobs[LABEL], strict=True)))
        if (jobs["seeds"] == "splits").any():
            board = replace(board, notes=(*board.notes, _SAME_TABLE))
    return Answer(runs, board, read.failures(runs), left_out, tuning=tuning)


def _tuning(store: Store, sweep: str) -> Tuning | None:
    uri = read_run(store, sweep).artifact_uri
    document, trials = (read_artifact(store, sweep, uri, name) for name in (Artifact.TUNING, Artifact.TRIALS))
    if document is None or trials is None:
        return None
    return Tuning.read(json.loads(document), pd.read_csv(io.BytesIO(trials)))


def _baseline(runs: pd.DataFrame, tags: Mapping[str, str], by: Sequence[str]) -> str | None:
    """Return the baseline that a sweep was told, unless another comparison has no such label."""
    told = tags.get(Tag.BASELINE)
    return told if told in set(labelled(jobs_of(runs), by)[LABEL]) else None


def _judged(runs: pd.DataFrame, metric: str, given: bool) -> tuple[str, list[str]]:
    column = f"metrics.{metric}"
    split, _, name = metric.partition("/")
    on_val = f"val/{name}"
    if given or split != "test" or (column in runs and runs[column].notna().any()):
        return metric, []
    if f"metrics.{on_val}" not in runs:
        return metric, []
    return on_val, [f"there is no test split: {on_val} is shown, on the rows that epochs are selected on"]


def chart_link(store: Store, sweep: str, found: Answer) -> str:
    """Return the link that opens MLflow's chart view of the sweep's objectives, best first."""
    return ui.chart_url(store, sweep, found.leaderboard.metric, found.leaderboard.direction)
