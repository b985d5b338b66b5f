"""What an objective's own run in MLflow shows: its runs' means, spreads and paired differences."""

from __future__ import annotations

import pandas as pd

from lossbench.comparison.pairs import LABEL, baseline_of, differences, finished, jobs_of, labelled, values


def summarize(runs: pd.DataFrame, baseline: str | None = None) -> dict[str, dict[str, float]]:
    """Return the metrics of each objective's run, by label.

    Parameters
    ----------
    runs
        As from `tracking.read.runs`.
    baseline
        Label that the others are compared with; None takes `cross_entropy` where it takes part.

    Returns
    -------
    dict
        For each objective: the mean of each metric under the key that its runs use, `sd/<metric>` (from two
        values on), `difference/<metric>` (mean paired difference; 0 for the baseline itself), `n` (finished
        runs), `failed` where there are any, and `missing/<metric>` where fewer than n runs have a value.

    Examples
    --------
    >>> frame = pd.DataFrame({
    ...     "objective": ["a", "a", "b"], "role": "run", "status": "FINISHED", "params.seed": [0, 1, 1],
    ...     "metrics.test/f1": [.5, .75, 1.]})
    >>> summarize(frame, baseline="a")["b"]
    {'test/f1': 1.0, 'difference/test/f1': 0.25, 'n': 1.0}
    """
    frame = labelled(jobs_of(runs))
    base = baseline_of(list(dict.fromkeys(frame[LABEL])), baseline)
    columns = [name for name in frame.columns if name.startswith("metrics.")]
    grouped = finished(frame).groupby("objective")[columns]
    means, spreads, counts, n = grouped.mean(), grouped.std(), grouped.count(), grouped.size()
    gaps = pd.DataFrame() if base is None else _gaps(frame, columns, base)
    failed = frame[frame["status"] == "FAILED"].groupby("objective").size()

    result: dict[str, dict[str, float]] = {}
    for label in dict.fromkeys(frame["objective"]):
        runs_of = int(n.get(label, 0))
        metrics: dict[str, float] = {}
        if runs_of:
            short = {column: column.removeprefix("metrics.") for column in columns}
            metrics |= _defined(means.loc[label], short, "")
            metrics |= _defined(spreads.loc[label], short, "sd/")
            if label in gaps.index:
                metrics |= _defined(gaps.loc[label], short, "difference/")
            some = counts.loc[label]
            metrics |= {f"missing/{short[c]}": float(runs_of - k) for c, k in some.items() if 0 < k < runs_of}
        metrics["n"] = float(runs_of)
        if failed.get(label, 0):
            metrics["failed"] = float(failed[label])
        result[str(label)] = metrics
    return result


def _gaps(frame: pd.DataFrame, columns: list[str], base: str) -> pd.DataFrame:
    """Return the mean differences of each objective to the baseline on the same data, which may have a name of its own.

    On several data, `focal · iris` is compared as `focal`, with `cross_entropy · iris` as `cross_entropy`.
    """
    at_baseline = frame[frame[LABEL] == base]
    means = {}
    for name, part in frame.groupby("objective", sort=False):
        both = pd.concat([part.assign(**{LABEL: "this"}), at_baseline.assign(**{LABEL: "base"})])
        of_both = differences(values(both, columns), "base")
        if "this" in of_both.index.get_level_values(LABEL):
            means[name] = of_both[of_both.index.get_level_values(LABEL) == "this"].mean()
    return pd.DataFrame(means).T


def _defined(row: pd.Series, short: dict[str, str], prefix: str) -> dict[str, float]:
    return {f"{prefix}{short[str(column)]}": float(value) for column, value in row.dropna().items()}
