"""The rows of a leaderboard: what the runs of each objective and each reference come to, best first."""

from __future__ import annotations

import pandas as pd

from lossbench.comparison.datasets import DATASET, FAMILY
from lossbench.comparison.pairs import LABEL, jobs_of

# What training alone took. The runs of a stack start and end together, so that their own time says nothing of them.
TRAINED = "metrics.seconds"


def objective_rows(runs: pd.DataFrame, column: str, direction: str) -> pd.DataFrame:
    """Return one row per objective, by the mean of a metric; objectives without a value are last and have no rank.

    Parameters
    ----------
    runs
        As from `pairs.labelled`.
    """
    jobs = jobs_of(runs)
    labels = list(dict.fromkeys(jobs[LABEL]))
    table = pd.DataFrame([_row(jobs[jobs[LABEL] == label], column, direction) for label in labels])
    table.insert(0, "objective", labels)
    table.insert(1, "role", "objective")
    ascending = direction == "min"
    # By label within a tie, so that the order does not depend on the order of the runs.
    ranked = table.sort_values("objective").sort_values("mean", ascending=ascending, kind="stable", na_position="last")
    # Equal means share a rank.
    ranked.insert(0, "rank", ranked["mean"].rank(method="min", ascending=ascending).astype("Int64"))
    return ranked.reset_index(drop=True)


def reference_rows(runs: pd.DataFrame, column: str, direction: str) -> pd.DataFrame:
    """Return one row per reference.

    A reference has no axis of its own (the Bayes rule has no loss), whatever is compared: its objective names it. One
    that is known on some of the datasets alone has no mean beside those over all of them.
    """
    references = runs[runs["role"] != "run"]
    everywhere = references[DATASET].nunique() if DATASET in references else 0
    rows = [
        {"objective": name, "role": "reference", **_row(part, column, direction)}
        for name, part in references.groupby("objective", sort=False)
        if not everywhere or part[DATASET].nunique() in (0, everywhere)
    ]
    return pd.DataFrame(rows)


def _row(runs: pd.DataFrame, column: str, direction: str) -> dict[str, float]:
    ended = runs[runs["status"] == "FINISHED"]
    trained = ended[TRAINED] if TRAINED in runs else ended["seconds"]
    metric = ended[column].dropna()
    failed = int((runs["status"] == "FAILED").sum())
    several = FAMILY in runs and ended[FAMILY].nunique() > 1
    return {
        # A family of datasets with more runs than the others counts as much as they do.
        "mean": ended.groupby(FAMILY)[column].mean().mean() if several else metric.mean(),
        "sd": metric.std(),
        "n": len(metric),
        "best": metric.max() if direction == "max" else metric.min(),
        "undefined": len(ended) - len(metric),
        "failed": failed,
        "unfinished": len(runs) - len(ended) - failed,
        "seconds": trained.fillna(ended["seconds"]).mean(),
    }


def with_references(ranked: pd.DataFrame, references: pd.DataFrame, direction: str) -> pd.DataFrame:
    """Return the objectives with the references that beat the best above it, and all others at the end."""
    if references.empty:
        return ranked
    ascending = direction == "min"
    references = references.sort_values("mean", ascending=ascending, kind="stable")
    # Only what holds for a row that is neither ranked nor compared.
    empty = {
        "pairs": 0, "unmatched": 0, "missing": 0, "collapses": 0, "may_be_best": False, "small": False,
        "verdict": None, "withheld": "", "clique": "",
    }  # fmt: skip
    for name in ranked.columns.difference(references.columns, sort=False):
        references[name] = pd.Series(empty.get(name, float("nan")), index=references.index, dtype=ranked[name].dtype)
    references = references[ranked.columns]
    best = ranked["mean"].iloc[0] if len(ranked) else float("nan")
    above = references["mean"] < best if ascending else references["mean"] > best
    parts = [part for part in (references[above], ranked, references[~above]) if len(part)]
    return pd.concat(parts, ignore_index=True)


def with_means(table: pd.DataFrame, runs: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """Return the rows with the means of further metrics, under their names."""
    columns = [f"metrics.{name}" for name in metrics]
    means = runs[runs["status"] == "FINISHED"].groupby(LABEL)[columns].mean()
    return table.assign(**{name: table["objective"].map(means[f"metrics.{name}"]) for name in metrics})
