"""The leaderboard: one row per objective, best first, with everything that failed counted in the open."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lossbench.comparison.direction import direction
from lossbench.comparison.pairs import (
    LABEL,
    baseline_of,
    differences,
    labelled,
    metric_column,
    pairing,
    values,
)


def leaderboard(
    runs: pd.DataFrame,
    metric: str,
    *,
    by: Sequence[str] = ("objective",),
    baseline: str | None = None,
    show: Sequence[str] = (),
    better: str | None = None,
) -> pd.DataFrame:
    """Rank objectives by the mean of one metric.

    Parameters
    ----------
    runs
        As from `tracking.read.runs`: `run_id, objective, role, status, seconds, params.*, metrics.*`.
    metric
        `test/auroc`, `val/posterior/log_loss` ...
    by
        What is compared: `objective`, or params, `("loss", "weighting")`.
    baseline
        Label that the others are compared with; None takes `cross_entropy` where it takes part.
    show
        Further metrics, whose means are added under their names; those that no run has are passed over.
    better
        `max` or `min`, for a metric of the user's own.

    Returns
    -------
    DataFrame
        `rank` (missing for reference rows and for objectives without a value), `objective`, `role`
        (`objective` or `reference`), `mean`, `sd` (over runs, n - 1), `n` (values that the mean is made of),
        `best`, `undefined` (finished runs whose metric is NaN or missing), `failed`, `unfinished` (killed or
        still running), `seconds` (mean of a finished run), `difference` (mean paired difference to the
        baseline: same data, seed and fold), `pairs` (how many), then `show`. Best first; objectives without a
        value last; reference rows that beat the best stand above it, all others at the end. `attrs` holds
        `metric`, `direction`, `baseline`, `paired_by` and `notes`, sentences on what a reader must know.

    Raises
    ------
    UserError
        For an unknown metric, param or baseline.

    Examples
    --------
    >>> frame = pd.DataFrame({
    ...     "run_id": list("pqrs"), "objective": ["focal", "focal", "cross_entropy", "cross_entropy"],
    ...     "role": "run", "status": ["FINISHED", "FINISHED", "FINISHED", "FAILED"], "seconds": 1.,
    ...     "params.seed": [0, 1, 0, 1], "metrics.test/auroc": [.75, .5, .5, float("nan")]})
    >>> table = leaderboard(frame, "test/auroc")
    >>> table[["objective", "mean", "n", "failed", "difference", "pairs"]].values.tolist()
    [['focal', 0.625, 2, 0, 0.25, 1], ['cross_entropy', 0.5, 1, 1, 0.0, 1]]
    """
    way = direction(metric, better)
    column = metric_column(runs, metric)
    frame = labelled(runs, by)
    is_job = frame["role"] == "run"
    labels = list(dict.fromkeys(frame.loc[is_job, LABEL]))
    base = baseline_of(labels, baseline)

    table = pd.DataFrame([_row(frame[is_job & (frame[LABEL] == label)], column, way) for label in labels])
    table.insert(0, "objective", labels)
    table.insert(1, "role", "objective")
    paired = _paired(frame, column, by, base)
    table["difference"] = [paired.get(label, (float("nan"), 0))[0] for label in labels]
    table["pairs"] = [paired.get(label, (float("nan"), 0))[1] for label in labels]

    references = _references(frame[~is_job], column, way)
    whole = _ordered(table, references, way)
    shown = [name for name in show if name != metric and f"metrics.{name}" in runs.columns]
    means = frame[frame["status"] == "FINISHED"].groupby(LABEL)[[f"metrics.{name}" for name in shown]].mean()
    for name in shown:
        whole[name] = whole["objective"].map(means[f"metrics.{name}"])
    whole.attrs.update(
        metric=metric,
        direction=way,
        baseline=base,
        paired_by=_names(pairing(frame, by)),
        notes=_notes(frame, by, base),
    )
    return whole


def _row(jobs: pd.DataFrame, column: str, way: str) -> dict[str, float]:
    finished = jobs[jobs["status"] == "FINISHED"]
    metric = finished[column].dropna()
    failed = int((jobs["status"] == "FAILED").sum())
    return {
        "mean": metric.mean(),
        "sd": metric.std(),
        "n": len(metric),
        "best": metric.max() if way == "max" else metric.min(),
        "undefined": len(finished) - len(metric),
        "failed": failed,
        "unfinished": len(jobs) - len(finished) - failed,
        "seconds": finished["seconds"].mean(),
    }


def _paired(frame: pd.DataFrame, column: str, by: Sequence[str], base: str | None) -> dict[str, tuple[float, int]]:
    if base is None:
        return {}
    pairs = differences(values(frame, [column], by), base)[column].dropna().groupby(level=LABEL)
    return {str(label): (float(part.mean()), len(part)) for label, part in pairs}


def _references(rows: pd.DataFrame, column: str, way: str) -> pd.DataFrame:
    # A reference has no axis of its own (the Bayes rule has no loss), whatever is compared: its objective
    # names it.
    groups = [(label, _row(part, column, way)) for label, part in rows.groupby("objective", sort=False)]
    return pd.DataFrame(
        [
            {"objective": label, "role": "reference", **row, "difference": float("nan"), "pairs": 0}
            for label, row in groups
        ]
    )


def _ordered(table: pd.DataFrame, references: pd.DataFrame, way: str) -> pd.DataFrame:
    ascending = way == "min"
    # By label within a tie, so that the order does not depend on the order of the runs.
    ranked = table.sort_values("objective").sort_values("mean", ascending=ascending, kind="stable", na_position="last")
    # Equal means share a rank.
    ranked.insert(0, "rank", ranked["mean"].rank(method="min", ascending=ascending).astype("Int64"))
    if references.empty:
        return ranked.reset_index(drop=True)
    references = references.sort_values("mean", ascending=ascending, kind="stable")
    references.insert(0, "rank", pd.Series(pd.NA, index=references.index, dtype="Int64"))
    best = ranked["mean"].iloc[0] if len(ranked) else float("nan")
    above = references["mean"] < best if ascending else references["mean"] > best
    parts = [part for part in (references[above], ranked, references[~above]) if len(part)]
    return pd.concat(parts, ignore_index=True)


def _notes(frame: pd.DataFrame, by: Sequence[str], base: str | None) -> list[str]:
    keys = pairing(frame, by)
    if base is None:
        return []
    if "params.seed" not in keys:
        return ["the runs carry no param seed: nothing can be paired"]
    jobs = frame[(frame["role"] == "run") & (frame["status"] == "FINISHED")]
    several = jobs.groupby([LABEL, *keys], dropna=False).size()
    several = several[several > 1]
    if several.empty:
        return []
    where = f"one objective under the same {', '.join(_names(keys))}"
    return [f"{len(several)} pairs hold several runs of {where}: averaged before pairing"]


def _names(columns: Sequence[str]) -> list[str]:
    return [column.removeprefix("params.") for column in columns]
