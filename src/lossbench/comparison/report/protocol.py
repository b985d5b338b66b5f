"""How a comparison was made, read from what its runs recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from lossbench.comparison.datasets import DATASET
from lossbench.comparison.pairs import jobs_of, param_text
from lossbench.comparison.population import FOLD, SEED
from lossbench.comparison.report.evidence import Evidence


def describe_protocol(evidence: Evidence) -> list[tuple[str, str]]:
    """Return (what, how it was) of the comparison's protocol, as the runs recorded it."""
    jobs = jobs_of(evidence.frame)
    finished = f"{len(jobs)}, of which {len(evidence.jobs)} finished"
    entries = [("runs", finished if len(jobs) > len(evidence.jobs) else str(len(jobs)))]
    entries += [(f"data {data}" if data else "data", _data(evidence, data)) for data in evidence.data]
    if SEED in jobs:
        seeds = sorted(jobs[SEED].dropna().unique())
        entries.append(("seeds", f"{len(seeds)}: {_span(seeds)}; under one seed every objective sees the same data, "
                                 "split, initial weights and batch order"))  # fmt: skip
    if FOLD in jobs and jobs[FOLD].notna().any():
        entries.append(("folds", _span(sorted(jobs[FOLD].dropna().unique()))))
    selected, epochs = _values(jobs, "params.select.metric"), _values(jobs, "params.epochs") or "unknown"
    last = selected in ("", "None")
    chosen = f"the last of {epochs}" if last else f"the best of up to {epochs} by {selected}, never by a test figure"
    entries.append(("epoch", chosen))
    entries.append(("judged", f"{evidence.metric}, {evidence.better} is better; every other metric is exploratory"))
    entries += [("verdicts", line) for line in evidence.leaderboard.protocol]
    return entries


def _data(evidence: Evidence, data: str) -> str:
    jobs = evidence.jobs[evidence.jobs[DATASET] == data] if data and DATASET in evidence.jobs else evidence.jobs
    rows = [
        f"{_span(sorted(jobs[f'rows_{split}'].dropna().unique()))} {split}"
        for split in ("train", "val", "test")
        if f"rows_{split}" in jobs and jobs[f"rows_{split}"].notna().any()
    ]
    names = evidence.named(data)
    parts = [f"rows: {', '.join(rows)}"] if rows else []
    parts += [f"classes: {_listed(names.classes)}"] if names.classes else []
    parts += [f"features: {_listed(names.features)}"] if names.features else []
    return "; ".join(parts) or "not recorded"


def _listed(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _span(values: Sequence[Any]) -> str:
    """Return values as a person would list them.

    >>> _span([0.0, 1.0, 2.0]), _span([0, 7]), _span([4])
    ('0 to 2', '0, 7', '4')
    """
    texts = [f"{value:,.0f}" if isinstance(value, int | float) and value == int(value) else str(value)
             for value in values]  # fmt: skip
    return ", ".join(texts) if len(texts) < 3 else f"{texts[0]} to {texts[-1]}"


def _values(jobs: pd.DataFrame, column: str) -> str:
    return ", ".join(map(param_text, jobs[column].dropna().unique())) if column in jobs else ""


def shared_settings(evidence: Evidence) -> list[tuple[str, str]]:
    """Return the params that all runs share, those of the seeds apart."""
    jobs = jobs_of(evidence.frame)
    shared = []
    for column in jobs.columns[jobs.columns.str.startswith("params.") & (jobs.columns != SEED)]:
        values = jobs[column].unique()
        if len(values) == 1 and values[0] == values[0]:
            shared.append((str(column).removeprefix("params."), param_text(values[0])))
    return shared
