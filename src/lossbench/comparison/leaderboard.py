"""The leaderboard: one row per objective, best first, with everything that failed counted in the open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from lossbench.comparison.cliques import ranks
from lossbench.comparison.conclusions import conclusions, protocol
from lossbench.comparison.datasets import DATASET, FAMILY, with_families
from lossbench.comparison.judging import COLUMNS, Judgement, References, judge
from lossbench.comparison.notes import describe_pairing, write_notes
from lossbench.comparison.pairs import DEFAULT_BASELINE, LABEL, baseline_of, finished, jobs_of, labelled, metric_column
from lossbench.comparison.rows import objective_rows, reference_rows, with_means, with_references
from lossbench.evaluation.catalogue import AddedMetric, Direction, direction_of, facts_of, rope_of


@dataclass(frozen=True, eq=False)  # tables have no truth value
class Leaderboard:
    """Objectives ranked by the mean of one metric, and how and against what they were judged.

    Parameters
    ----------
    table
        `rank` (missing for reference rows and for objectives without a value), `objective`, `role` (`objective` or
        `reference`), `mean` (the effect, see `effects.Effects`: the mean, where no run is missing), `half` (of the 95%
        interval of the mean alone), `sd` (over runs, n - 1), `n` (values), `best`, `undefined` (finished runs whose
        metric is NaN or missing), `failed`, `unfinished` (killed or still running), `seconds` (mean of a finished run:
        of training, as the metric `seconds` has it, else from its start to its end); `difference` (of the effects, to
        the baseline), `low`, `high` (its interval; all of them hold at once), `pairs`, `unmatched`, `p` (Bonferroni
        over the comparisons), `verdict` (see `words.Statement`), `small`, `withheld`; `may_be_best` and `regret` (see
        `best_set.BestSet`); `missing` (runs that others have), `worst`, `collapses`, `collapses_at_most` (see
        `collapse.Collapses`); `mean_rank` and `clique` over several datasets (objectives that share a letter are not
        separable; missing and empty else); then `shown`. Best first; objectives without a value last; reference rows
        that beat the best stand above it, all others at the end.
    metric, direction
        What ranks, and whether `max` or `min` of it is best.
    baseline
        The objective that the others are compared with; None where none has a value.
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


def build_leaderboard(
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
    """Rank objectives by one metric, and say which differences are more than chance.

    Parameters
    ----------
    runs
        As from `tracking.read.runs`: `run_id, objective, role, status, seconds, params.*, metrics.*`.
    metric
        `test/auroc`, `val/posterior/log_loss` ...
    by
        What is compared: `objective`, or params, `("loss", "weighting")`.
    baseline
        Label that the others are compared with; None takes the one that `pairs.baseline_of` finds.
    show
        Further metrics, whose means are added under their names; those that no run has are passed over.
    better
        `max` or `min`, for a metric of which nobody knows.
    rope
        Half-width of the region of equivalence in the metric's unit; None: see `region.find_region`.
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
    >>> board = build_leaderboard(frame, "test/auroc")
    >>> board.baseline, board.units
    ('cross_entropy', 'seeds')
    >>> board.table[["objective", "mean", "n", "failed", "difference", "pairs", "verdict"]].values.tolist()
    [['focal', 0.625, 2, 0, 0.25, 1, 'undecided'], ['cross_entropy', 0.375, 1, 1, 0.0, 1, 'baseline']]
    """
    way, usual = direction_of(metric, better, added), rope_of(metric, None, added)
    facts = facts_of(metric, added or {})
    # A region that stands in the YAML of a person's own metric is asked for as much as one on the command line.
    asked = facts.rope if rope is None and isinstance(facts, AddedMetric) else rope
    given = None if asked is None else rope_of(metric, asked, added)
    column = metric_column(runs, metric)
    frame = labelled(runs, by)
    labels = list(dict.fromkeys(jobs_of(frame)[LABEL]))
    base = baseline_of(labels, baseline)
    references = reference_rows(frame, column, way)
    judgement = judge(
        frame,
        column,
        by=by,
        baseline=base,
        higher_is_better=way == "max",
        rope=given,
        usual_rope=usual,
        references=_known(references),
    )
    table = _with_judgement(objective_rows(frame, column, way), judgement)
    several = judgement is not None and judgement.population.kind == "datasets"
    over = ranks(finished(frame), column, labels, way == "max") if several else None
    table["mean_rank"] = float("nan") if over is None else table["objective"].map(over.mean)
    table["clique"] = "" if over is None else table["objective"].map(over.letters()).fillna("")
    separated = [] if over is None else [f"ranks over {len(over.ranks)} datasets: {over.sentence()}"]
    shown = [name for name in show if name != metric and f"metrics.{name}" in runs.columns]
    whole = with_means(with_references(table, references, way), frame, shown)
    whole["verdict"] = whole["verdict"].astype(object).where(whole["verdict"].notna(), None)
    found_baseline = [_which_baseline(base)] if baseline is None and base not in (None, DEFAULT_BASELINE) else []
    return Leaderboard(
        whole,
        metric,
        way,
        None if judgement is None else judgement.baseline,
        given if judgement is None else judgement.region.half,
        by=tuple(by),
        paired_by=tuple(describe_pairing(frame, by)),
        units="seeds" if judgement is None else judgement.population.units,
        shown=tuple(shown),
        protocol=() if judgement is None else tuple(protocol(judgement, metric)),
        notes=(*found_baseline, *write_notes(frame, column, by, base, several), *separated),
        conclusions=tuple(conclusions(judgement, metric)),
        added=dict(added or {}),
        by_dataset=_by_dataset(runs, metric, by, baseline, better, rope, added),
    )


def _which_baseline(baseline: str | None) -> str:
    return f"compared with {baseline}, the nearest to the defaults; --baseline or compare.baseline names another"


def _known(references: pd.DataFrame) -> References:
    if references.empty:
        return References()
    means = references.set_index("objective")["mean"]
    return References(*(float(means.get(name, float("nan"))) for name in ("class prior", "Bayes rule")))


def _with_judgement(table: pd.DataFrame, judgement: Judgement | None) -> pd.DataFrame:
    """Return the rows in the order of the effects, with all that was judged."""
    judged = _NOTHING if judgement is None else judgement.table()
    order = [*judged.index, *(name for name in table["objective"] if name not in judged.index)]
    counts = table.drop(columns=["rank", "mean"]).set_index("objective").loc[order]
    whole = counts.join(judged).reset_index(names="objective")
    for name in ("pairs", "unmatched", "missing", "collapses"):
        whole[name] = whole[name].fillna(0).astype(int)
    for name in ("may_be_best", "small"):
        whole[name] = whole[name].eq(True)  # an objective without a value has no answer of its own
    whole["withheld"] = whole["withheld"].fillna("")
    first = ["rank", "objective", "role", "mean", "half"]
    return whole[[*first, *(name for name in whole if name not in first)]]


_NOTHING = pd.DataFrame({name: pd.Series(dtype="Int64" if name == "rank" else object) for name in ("rank", *COLUMNS)})


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
        boards[str(name)] = build_leaderboard(part, metric, by=by, baseline=base, better=better, rope=rope, added=added)
    return boards
