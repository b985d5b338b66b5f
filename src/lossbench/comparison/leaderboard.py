"""The leaderboard: one row per objective, best first, with everything that failed counted in the open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from lossbench.comparison.cliques import ranks
from lossbench.comparison.conclusions import conclusions, protocol
from lossbench.comparison.datasets import DATA, DATASET, FAMILY, with_families
from lossbench.comparison.judging import Judged, judged
from lossbench.comparison.pairs import LABEL, baseline_of, labelled, metric_column, pairing
from lossbench.comparison.population import SEED, SOURCE_SEED, SPLIT_SEED
from lossbench.evaluation.catalogue import AddedMetric, direction
from lossbench.evaluation.catalogue import rope as rope_of

# What training alone took. The runs of a stack start and end together, so that their own time says nothing of them.
TRAINED = "metrics.seconds"


def leaderboard(
    runs: pd.DataFrame,
    metric: str,
    *,
    by: Sequence[str] = ("objective",),
    baseline: str | None = None,
    show: Sequence[str] = (),
    better: str | None = None,
    rope: float | None = None,
    added: Mapping[str, AddedMetric] | None = None,
) -> pd.DataFrame:
    """Rank objectives by the mean of one metric, and say which differences are more than chance.

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
        `max` or `min`, for a metric of which nobody knows.
    rope
        Half-width of the region of practical equivalence in the metric's unit; None takes that of `catalogue.METRICS`.
    added
        What is known of metrics of the user's own, by name.

    Returns
    -------
    DataFrame
        `rank` (missing for reference rows and for objectives without a value), `objective`, `role` (`objective` or
        `reference`), `mean` (of several datasets, that of their means), `half` (of its 95% interval), `sd` (over runs,
        n - 1), `n` (values that the mean is made of), `best`, `undefined` (finished runs whose metric is NaN or
        missing), `failed`, `unfinished` (killed or still running), `seconds` (mean of a finished run: of training, as
        the metric `seconds` has it, else from its start to its end); `difference` (mean paired difference to the
        baseline), `low`, `high`, `pairs`, `unmatched`, `p`, `p_equivalent`, `verdict`, `won`, `p_best` and companions
        as in `judging.Judged`; `mean_rank` and `clique` over several datasets (objectives that share a letter are not
        separable, see `ranks.Ranks`; missing and empty else); then `show`. Best first; objectives without a value last;
        reference rows that beat the best stand above it, all others at the end. `attrs` holds `metric`, `direction`,
        `baseline`, `rope`, `paired_by`, `units` (what the independent differences are), `shown` (names of the further
        metrics), `protocol` (how it was judged), `notes` (what a reader must know) and `conclusions` (the answer in
        plain words), lists of sentences.

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
    >>> table[["objective", "mean", "n", "failed", "difference", "pairs", "verdict"]].values.tolist()
    [['focal', 0.625, 2, 0, 0.25, 1, 'not separable'], ['cross_entropy', 0.5, 1, 1, 0.0, 1, None]]
    """
    way, region = direction(metric, better, added), rope_of(metric, rope, added)
    column = metric_column(runs, metric)
    frame = labelled(runs, by)
    is_job = frame["role"] == "run"
    labels = list(dict.fromkeys(frame.loc[is_job, LABEL]))
    base = baseline_of(labels, baseline)

    table = pd.DataFrame([_row(frame[is_job & (frame[LABEL] == label)], column, way) for label in labels])
    table.insert(0, "objective", labels)
    table.insert(1, "role", "objective")
    table = _ranked(table, way)
    found = judged(
        frame,
        column,
        by=by,
        baseline=base,
        ranking=table.loc[table["mean"].notna(), "objective"].tolist(),
        rope=region,
        higher_is_better=way == "max",
    )
    table = table.join(found.table, on="objective")
    table[["pairs", "unmatched"]] = table[["pairs", "unmatched"]].fillna(0).astype(int)
    table["won"] = table["won"].eq(True)  # an objective without a value has no answer of its own
    jobs = frame[is_job & (frame["status"] == "FINISHED")]
    placed = ranks(jobs, column, labels, way == "max") if found.population.kind == "datasets" else None
    table["mean_rank"] = float("nan") if placed is None else table["objective"].map(placed.mean)
    table["clique"] = "" if placed is None else table["objective"].map(placed.letters()).fillna("")
    whole = _with_references(table, _references(frame[~is_job], column, way), way)
    shown = [name for name in show if name != metric and f"metrics.{name}" in runs.columns]
    means = frame[frame["status"] == "FINISHED"].groupby(LABEL)[[f"metrics.{name}" for name in shown]].mean()
    for name in shown:
        whole[name] = whole["objective"].map(means[f"metrics.{name}"])
    whole["verdict"] = whole["verdict"].astype(object).where(whole["verdict"].notna(), None)
    whole.attrs.update(
        metric=metric,
        direction=way,
        baseline=base,
        paired_by=_paired_by(frame, by),
        shown=shown,
        units=found.population.units,
        rope=region,
        added=dict(added or {}),
    )
    whole.attrs["notes"] = _notes(frame, column, by, base, found)
    if placed is not None:
        whole.attrs["notes"].append(f"ranks over {len(placed.ranks)} {found.population.units}: {placed.sentence()}")
    whole.attrs["protocol"] = protocol(found, base, region)
    whole.attrs["conclusions"] = conclusions(whole, found)
    return whole


def _row(jobs: pd.DataFrame, column: str, way: str) -> dict[str, float]:
    finished = jobs[jobs["status"] == "FINISHED"]
    trained = finished[TRAINED] if TRAINED in jobs else finished["seconds"]
    metric = finished[column].dropna()
    failed = int((jobs["status"] == "FAILED").sum())
    several = FAMILY in jobs and finished[FAMILY].nunique() > 1
    return {
        # A family of datasets with more runs than the others counts as much as they do.
        "mean": finished.groupby(FAMILY)[column].mean().mean() if several else metric.mean(),
        "sd": metric.std(),
        "n": len(metric),
        "best": metric.max() if way == "max" else metric.min(),
        "undefined": len(finished) - len(metric),
        "failed": failed,
        "unfinished": len(jobs) - len(finished) - failed,
        "seconds": trained.fillna(finished["seconds"]).mean(),
    }


def _references(rows: pd.DataFrame, column: str, way: str) -> pd.DataFrame:
    # A reference has no axis of its own (the Bayes rule has no loss), whatever is compared: its objective
    # names it. One that is known on some of the datasets alone has no mean beside those over all of them.
    everywhere = rows[DATASET].nunique() if DATASET in rows else 0
    groups = [
        (label, _row(part, column, way))
        for label, part in rows.groupby("objective", sort=False)
        if not everywhere or part[DATASET].nunique() in (0, everywhere)
    ]
    return pd.DataFrame([{"objective": label, "role": "reference", **row} for label, row in groups])


def _ranked(table: pd.DataFrame, way: str) -> pd.DataFrame:
    ascending = way == "min"
    # By label within a tie, so that the order does not depend on the order of the runs.
    ranked = table.sort_values("objective").sort_values("mean", ascending=ascending, kind="stable", na_position="last")
    # Equal means share a rank.
    ranked.insert(0, "rank", ranked["mean"].rank(method="min", ascending=ascending).astype("Int64"))
    return ranked.reset_index(drop=True)


def _with_references(ranked: pd.DataFrame, references: pd.DataFrame, way: str) -> pd.DataFrame:
    if references.empty:
        return ranked
    ascending = way == "min"
    references = references.sort_values("mean", ascending=ascending, kind="stable")
    # Only what holds for a row that is neither ranked nor compared.
    empty = {"pairs": 0, "unmatched": 0, "won": False, "verdict": None, "clique": ""}
    for name in ranked.columns.difference(references.columns, sort=False):
        references[name] = pd.Series(empty.get(name, float("nan")), index=references.index, dtype=ranked[name].dtype)
    references = references[ranked.columns]
    best = ranked["mean"].iloc[0] if len(ranked) else float("nan")
    above = references["mean"] < best if ascending else references["mean"] > best
    parts = [part for part in (references[above], ranked, references[~above]) if len(part)]
    return pd.concat(parts, ignore_index=True)


def _notes(frame: pd.DataFrame, column: str, by: Sequence[str], base: str | None, found: Judged) -> list[str]:
    keys = pairing(frame, by)
    if SEED not in keys:
        return ["the runs carry no param seed: nothing can be paired"] if base is not None else []
    notes = []
    jobs = frame[(frame["role"] == "run") & (frame["status"] == "FINISHED")]
    several = jobs.groupby([LABEL, *keys], dropna=False).size()
    several = several[several > 1]
    if len(several) and base is not None:
        where = f"one objective under the same {', '.join(_paired_by(frame, by))}"
        notes.append(f"{len(several)} pairs hold several runs of {where}: averaged before pairing")
    if found.population.kind == "datasets":
        seen = jobs[jobs[column].notna()].groupby(LABEL)[DATASET].nunique()
        notes += [
            f"{label} has values on {count} of {seen.max()} datasets alone: its mean is over those"
            for label, count in seen.items()
            if count < seen.max()
        ]
    return notes


def _paired_by(frame: pd.DataFrame, by: Sequence[str]) -> list[str]:
    """Return what pairs the runs as a person would say it: the seed, and what else has more than one value."""
    # References carry the seed alone of what describes the data.
    frame = frame[frame["role"] == "run"]
    keys = [key for key in pairing(frame, by) if key != FAMILY]
    # What tells two datasets apart goes without saying where the data are named.
    groups = frame.groupby(DATASET) if DATASET in frame else frame.groupby(lambda _: 0)
    varies = {key for key in keys if groups[key].nunique(dropna=False).max() > 1}
    keys = [key for key in keys if key == SEED or key in varies or (key == DATA and frame[key].nunique() > 1)]
    # The seeds of source and split are the run's own unless they were fixed apart.
    own = [key for key in (SOURCE_SEED, SPLIT_SEED) if key in keys and SEED in keys]
    follow = {key for key in own if (frame[key] == frame[SEED])[frame[key].notna()].all()}
    return [key.removeprefix("params.") for key in keys if key not in follow]


def per_dataset(
    runs: pd.DataFrame,
    metric: str,
    *,
    by: Sequence[str] = ("objective",),
    baseline: str | None = None,
    better: str | None = None,
    rope: float | None = None,
    added: Mapping[str, AddedMetric] | None = None,
) -> dict[str, pd.DataFrame]:
    """Return a leaderboard for each dataset by its name, as if it were the only one; none for one dataset.

    Each is judged by the test of its own population, corrected for its own comparisons alone: what a single dataset
    says, of which several say something by chance.

    Parameters
    ----------
    runs, metric, by, baseline, better, rope, added
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
        found[str(name)] = leaderboard(part, metric, by=by, baseline=base, better=better, rope=rope, added=added)
    return found
