"""The leaderboards of a comparison over several datasets, one for each."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lossbench.comparison.families import DATASET, FAMILY, with_families
from lossbench.comparison.leaderboard import leaderboard
from lossbench.comparison.pairs import LABEL, labelled


def per_dataset(
    runs: pd.DataFrame,
    metric: str,
    *,
    by: Sequence[str] = ("objective",),
    baseline: str | None = None,
    better: str | None = None,
    rope: float | None = None,
) -> dict[str, pd.DataFrame]:
    """Return a leaderboard for each dataset by its name, as if it were the only one; none for one dataset.

    Each is judged by the test of its own population, corrected for its own comparisons alone: what a single dataset
    says, of which several say something by chance.

    Parameters
    ----------
    runs, metric, by, baseline, better, rope
        As in `leaderboard`. A dataset on which the baseline did not run has none.
    """
    placed = with_families(runs)
    if DATASET not in placed or placed.loc[placed["role"] == "run", DATASET].nunique() < 2:
        return {}
    found = {}
    for name, part in placed.groupby(DATASET, sort=True):
        # What only runs on other data have says nothing here.
        part = part.drop(columns=[DATASET, FAMILY]).dropna(axis="columns", how="all")
        told = [column for column in map(str, runs) if not column.startswith(("params.", "metrics."))]
        part = part.reindex(columns=[*told, *(column for column in part if column not in told)])
        jobs = part[part["role"] == "run"]
        if f"metrics.{metric}" not in part or jobs.empty:
            continue
        known = set(labelled(jobs, by)[LABEL])
        base = baseline if baseline in known else None
        found[str(name)] = leaderboard(part, metric, by=by, baseline=base, better=better, rope=rope)
    return found
