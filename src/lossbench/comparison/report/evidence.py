"""All that a report and its figures are made from: runs, leaderboard, epochs and what was said about single rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from lossbench.comparison.datasets import DATASET
from lossbench.comparison.leaderboard import Leaderboard
from lossbench.comparison.pairs import LABEL, finished, labelled, metric_column, param_text
from lossbench.comparison.population import SEED
from lossbench.comparison.report.budgets import Tuning
from lossbench.comparison.report.row_curves import Curves, Predictions, curves_of

# So many runs of an objective make a band; more would only take longer.
BAND = 30


@dataclass(frozen=True)
class Names:
    """What a dataset calls its classes and features."""

    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()

    def of_class(self, index: int) -> str:
        return self.classes[index] if index < len(self.classes) else f"class {index}"

    def of_feature(self, index: int) -> str:
        return self.features[index] if index < len(self.features) else f"feature {index}"


@dataclass
class Evidence:
    """What was recorded, read only where a figure asks for it.

    Parameters
    ----------
    runs
        As from `tracking.read.runs`.
    leaderboard
        Of those runs.
    history
        Returns the epochs of a run, by its id; None where it has none.
    predictions
        What was said about single rows.
    names
        By data.
    tuning
        How the objectives were tuned; None where they were not.
    """

    runs: pd.DataFrame
    leaderboard: Leaderboard
    history: Callable[[str], pd.DataFrame | None] = lambda _: None
    predictions: Predictions = field(default_factory=lambda: Predictions([]))
    names: Mapping[str, Names] = field(default_factory=dict)
    tuning: Tuning | None = None

    def __post_init__(self) -> None:
        self.frame = labelled(self.runs, self.leaderboard.by)
        self.jobs = finished(self.frame)
        self._curves: dict[str, Curves | None] = {}
        self._histories: dict[str, pd.DataFrame | None] = {}

    @property
    def table(self) -> pd.DataFrame:
        return self.leaderboard.table

    @property
    def metric(self) -> str:
        return self.leaderboard.metric

    @property
    def column(self) -> str:
        return metric_column(self.runs, self.metric)

    @property
    def split(self) -> Literal["val", "test"]:
        """The rows that are judged."""
        return "val" if self.metric.startswith("val/") else "test"

    @property
    def better(self) -> str:
        return self.leaderboard.better

    @property
    def baseline(self) -> str | None:
        return self.leaderboard.baseline

    @property
    def ranked(self) -> pd.DataFrame:
        """The rows of the leaderboard that have a rank, by objective."""
        return self.table[self.table["rank"].notna()].set_index("objective", drop=False)

    @property
    def data(self) -> list[str]:
        """Names of the datasets; one without a name where the runs do not say."""
        return sorted(map(str, self.jobs[DATASET].dropna().unique())) if DATASET in self.jobs else [""]

    def named(self, data: str) -> Names:
        return self.names.get(data, Names())

    def of(self, label: str, data: str) -> pd.DataFrame:
        """Return the finished runs of an objective on some data, by seed, at most `BAND` of them."""
        runs = self.jobs[self.jobs[LABEL] == label]
        if data and DATASET in runs:
            runs = runs[runs[DATASET] == data]
        return (runs.sort_values(SEED, kind="stable") if SEED in runs else runs).head(BAND)

    def mean(self, label: str, metric: str, data: str = "") -> float:
        """Return the mean of a metric over the finished runs of an objective; NaN where none has it."""
        runs = self.jobs[self.jobs[LABEL] == label]
        if data and DATASET in runs:
            runs = runs[runs[DATASET] == data]
        return float(runs[f"metrics.{metric}"].mean()) if f"metrics.{metric}" in runs else float("nan")

    def ranked_mean(self, label: str) -> float:
        """Return the mean by which an objective is ranked."""
        return float(dict(zip(self.table["objective"], self.table["mean"], strict=True))[label])

    def curves(self, label: str, data: str) -> list[Curves]:
        """Return the curves on the judged rows, of the runs that `of` returns."""
        of_runs = []
        for run in self.of(label, data)["run_id"]:
            if run not in self._curves:
                rows = self.predictions.of(run) if run in self.predictions else pd.DataFrame()
                self._curves[run] = curves_of(rows, self.split)
            curve = self._curves[run]
            of_runs += [curve] if curve is not None else []
        return of_runs

    def histories(self, label: str, data: str) -> list[pd.DataFrame]:
        """Return the epochs of the runs that `of` returns."""
        of_runs = []
        for run in self.of(label, data)["run_id"]:
            if run not in self._histories:
                self._histories[run] = self.history(run)
            table = self._histories[run]
            of_runs += [table] if table is not None and len(table) else []
        return of_runs

    def one_seed(self, labels: Sequence[str], data: str) -> tuple[str, dict[str, str]]:
        """Return the first seed under which most of the objectives recorded rows, and the run of each that did."""
        seeds: dict[str, dict[str, str]] = {}
        for label in labels:
            runs = self.of(label, data)
            for run, seed in zip(runs["run_id"], runs[SEED] if SEED in runs else [""] * len(runs), strict=True):
                if run in self.predictions:
                    seeds.setdefault(param_text(seed), {}).setdefault(label, run)
        if not seeds:
            return "", {}
        return max(seeds.items(), key=lambda item: len(item[1]))
