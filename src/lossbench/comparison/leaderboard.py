"""The leaderboard: one row per objective, best first, with everything that failed counted in the open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from lossbench.comparison.cliques import ranks
from lossbench.comparison.conclusions import conclusions, protocol
from lossbench.comparison.datasets import DATASET, FAMILY, with_families
from lossbench.comparison.judging import Judged, judged
from lossbench.comparison.notes import notes, paired_by
from lossbench.comparison.pairs import LABEL, baseline_of, finished, jobs_of, labelled, metric_column
from lossbench.comparison.rows import objective_rows, reference_rows, with_means, with_references
from lossbench.evaluation.catalogue import AddedMetric, Direction, direction
from lossbench.evaluation.catalogue import rope as rope_of


@dataclass(frozen=True, eq=False)  # tables have no truth value
class Leaderboard:
    """Objectives ranked by the mean of one metric, and how and against what they were judged.

    Parameters
    ----------
    table
        `rank` (missing for reference rows and for objectives without a value), `objective`, `role` (`objective` or
        `reference`), `mean` (of several datasets, that of their means), `half` (of its 95% interval), `sd` (over runs,
        n - 1), `n` (values that the mean is made of), `best`, `undefined` (finished runs whose metric is NaN or
        missing), `failed`, `unfinished` (killed or still running), `seconds` (mean of a finished run: of training, as
        the metric `seconds` has it, else from its start to its end); `difference` (mean paired difference to the
        baseline), `low`, `high`, `pairs`, `unmatched`, `p`, `p_equivalent`, `verdict`, `won`, `p_best` and companions
        as in `judging.Judged`; `mean_rank` and `clique` over several datasets (objectives that share a letter are not
        separable; missing and empty else); then `shown`. Best first; objectives without a value last; reference rows
        that beat the best stand above it, all others at the end.
    metric, direction
        What ranks, and whether `max` or `min` of it is best.
    baseline
        The objective that the others are compared with; None where there is none.
    rope
        Half-width of the region of practical equivalence; None where the metric has none.
    by
        What is compared: `objective`, or params.
    paired_by
        What pairs the runs, as a person would say it.
    units
        What the independent differences are: seeds, datasets.
    shown
        Names of the further metrics in the table.
    added
        What is known of metrics of the user's own.
    protocol
        Sentences: how it was judged.
    notes
        Sentences: what a reader must know.
    conclusions
        Sentences: the answer.
    by_dataset
        The leaderboard of each dataset alone, where there are several.
    """

    table: pd.DataFrame
    metric: str
    direction: Direction
    baseline: str | None
    rope: float | None
    by: tuple[str, ...]
    paired_by: tuple[str, ...]
    units: str
    shown: tuple[str, ...]
    protocol: tuple[str, ...]
    notes: tuple[str, ...]
    conclusions: tuple[str, ...]
    added: Mapping[str, AddedMetric] = field(default_factory=dict)
    by_dataset: Mapping[str, Leaderboard] = field(default_factory=dict)

    @property
    def better(self) -> str:
        return "higher" if self.direction == "max" else "lower"


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
) -> Leaderboard:
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
    >>> board = leaderboard(frame, "test/auroc")
    >>> board.baseline, board.units
    ('cross_entropy', 'seeds')
    >>> board.table[["objective", "mean", "n", "failed", "difference", "pairs", "verdict"]].values.tolist()
    [['focal', 0.625, 2, 0, 0.25, 1, 'not separable'], ['cross_entropy', 0.5, 1, 1, 0.0, 1, None]]
    """
    way, region = direction(metric, better, added), rope_of(metric, rope, added)
    column = metric_column(runs, metric)
    frame = labelled(runs, by)
    labels = list(dict.fromkeys(jobs_of(frame)[LABEL]))
    base = baseline_of(labels, baseline)
    table = objective_rows(frame, column, way)
    verdicts = judged(
        frame,
        column,
        by=by,
        baseline=base,
        ranking=table.loc[table["mean"].notna(), "objective"].tolist(),
        rope=region,
        higher_is_better=way == "max",
    )
    table = _with_verdicts(table, verdicts)
    several = verdicts.population.kind == "datasets"
    over = ranks(finished(frame), column, labels, way == "max") if several else None
    table["mean_rank"] = float("nan") if over is None else table["objective"].map(over.mean)
    table["clique"] = "" if over is None else table["objective"].map(over.letters()).fillna("")
    separated = [] if over is None else [f"ranks over {len(over.ranks)} {verdicts.population.units}: {over.sentence()}"]
    shown = [name for name in show if name != metric and f"metrics.{name}" in runs.columns]
    whole = with_means(with_references(table, reference_rows(frame, column, way), way), frame, shown)
    whole["verdict"] = whole["verdict"].astype(object).where(whole["verdict"].notna(), None)
    return Leaderboard(
        whole,
        metric,
        way,
        base,
        region,
        by=tuple(by),
        paired_by=tuple(paired_by(frame, by)),
        units=verdicts.population.units,
        shown=tuple(shown),
        protocol=tuple(protocol(verdicts, base, region)),
        notes=(*notes(frame, column, by, base, verdicts.population), *separated),
        conclusions=tuple(conclusions(whole, verdicts, metric, base)),
        added=dict(added or {}),
        by_dataset=_by_dataset(runs, metric, by, baseline, better, rope, added),
    )


def _with_verdicts(table: pd.DataFrame, verdicts: Judged) -> pd.DataFrame:
    table = table.join(verdicts.table, on="objective")
    table[["pairs", "unmatched"]] = table[["pairs", "unmatched"]].fillna(0).astype(int)
    table["won"] = table["won"].eq(True)  # an objective without a value has no answer of its own
    return table


def _by_dataset(
    runs: pd.DataFrame,
    metric: str,
    by: Sequence[str],
    baseline: str | None,
    better: str | None,
    rope: float | None,
    added: Mapping[str, AddedMetric] | None,
) -> dict[str, Leaderboard]:
    """Return a leaderboard for each dataset by its name, as if it were the only one; none for one dataset.

    Each is judged by the test of its own population, corrected for its own comparisons alone: what a single dataset
    says, of which several say something by chance. A dataset on which the baseline did not run has none.
    """
    named = with_families(runs)
    if DATASET not in named or jobs_of(named)[DATASET].nunique() < 2:
        return {}
    boards = {}
    for name, part in named.groupby(DATASET, sort=True):
        # What only runs on other data have says nothing here.
        part = part.drop(columns=[DATASET, FAMILY]).dropna(axis="columns", how="all")
        always = [column for column in map(str, runs) if not column.startswith(("params.", "metrics."))]
        part = part.reindex(columns=[*always, *(column for column in part if column not in always)])
        jobs = jobs_of(part)
        if f"metrics.{metric}" not in part or jobs.empty:
            continue
        base = baseline if baseline in set(labelled(jobs, by)[LABEL]) else None
        boards[str(name)] = leaderboard(part, metric, by=by, baseline=base, better=better, rope=rope, added=added)
    return boards
