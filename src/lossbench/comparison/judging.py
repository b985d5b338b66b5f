"""What may be said about a metric: effects, words against the baseline, the set of the best, the cost of a choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student

from lossbench.comparison.best_set import BestSet, find_best
from lossbench.comparison.bounds import Bounds, PairedBounds
from lossbench.comparison.collapse import Collapses, find_collapses
from lossbench.comparison.dataset_agreement import disagreement
from lossbench.comparison.effects import Effects, estimate_effects
from lossbench.comparison.pairs import LABEL, finished, jobs_of, pairing, values
from lossbench.comparison.planning import seeds_for, visible_difference
from lossbench.comparison.population import SEED, Population, population
from lossbench.comparison.region import Region, find_region, one_row_moves
from lossbench.comparison.words import Statement, compare_with_baseline


@dataclass(frozen=True)
class References:
    """What needs no training is worth: the class prior and the Bayes rule; NaN for unknown."""

    prior: float = math.nan
    bayes: float = math.nan


@dataclass(frozen=True)
class Judgement:
    """What may be said about one metric.

    Parameters
    ----------
    population
        What the statements speak about, and the test.
    effects
        Of all objectives with a value.
    baseline
        That the words speak about; None where it has no value.
    region
        Of equivalence.
    statements
        By objective; empty where nothing may be judged.
    best
        The set of the best; None where nothing may be judged.
    collapses
        By objective.
    lost
        By objective how many of its runs have no value though they were started.
    paired
        Whether seeds pair the runs; else nothing is compared.
    spread
        Median standard deviation of the differences to the baseline; NaN where there are none.
    """

    population: Population
    effects: Effects
    higher_is_better: bool
    baseline: str | None
    region: Region
    statements: dict[str, Statement]
    best: BestSet | None
    collapses: dict[str, Collapses]
    lost: dict[str, int]
    paired: bool
    spread: float

    @property
    def order(self) -> list[str]:
        return [label for _, label in self.effects.ranking(self.higher_is_better)]

    @property
    def recommended(self) -> str | None:
        """The best of those without a missing run."""
        return next((label for label in self.order if self.effects.is_complete(label)), None)

    @property
    def comparisons(self) -> int:
        return len(self.effects.labels) - 1

    @property
    def n(self) -> tuple[int, int]:
        """Smallest and largest number of independent differences to the baseline."""
        others = [one.n for label, one in self.statements.items() if label != self.baseline]
        return (min(others), max(others)) if others else (0, 0)

    def table(self) -> pd.DataFrame:
        """Return one row per objective, best first, as the leaderboard shows it."""
        ranks = {label: rank for rank, label in self.effects.ranking(self.higher_is_better)}
        rows = [self._row(label) for label in self.order]
        table = pd.DataFrame(rows, index=self.order, columns=list(COLUMNS))
        ranked = pd.Series([ranks[label] for label in self.order], index=self.order, dtype="Int64")
        table.insert(0, "rank", ranked)
        return table

    def visible(self, n: int) -> float:
        """Return which difference n independent differences would find, by the spread seen."""
        ratio = 0.0 if self.population.test is None else self.population.test.ratio
        return visible_difference(self.spread, n, max(self.comparisons, 1), ratio=ratio)

    def seeds_to_see(self, difference: float) -> float:
        ratio = 0.0 if self.population.test is None else self.population.test.ratio
        return seeds_for(difference, self.spread, max(self.comparisons, 1), ratio=ratio)

    def disagreements(self) -> dict[str, str]:
        """Return by objective what a reader of its mean over datasets must know."""
        if self.population.kind != "datasets" or self.baseline is None:
            return {}
        others = [label for label in self.order if label != self.baseline]
        lines = {
            label: disagreement(self.effects, label, self.baseline, higher_is_better=self.higher_is_better)
            for label in others
        }
        return {label: line for label, line in lines.items() if line}

    def _row(self, label: str) -> dict[str, object]:
        effects, collapses = self.effects, self.collapses[label]
        one = self.statements.get(label)
        pairs = int((effects.there[:, effects.position[label]] & self._baseline_there()).sum())
        both = int(effects.there[:, effects.position[label]].sum()) + int(self._baseline_there().sum())
        return {
            "mean": effects.mean(label),
            "half": self._half(label),
            "difference": self._difference(label),
            "low": math.nan if one is None else one.low,
            "high": math.nan if one is None else one.high,
            "pairs": pairs,
            "unmatched": both - 2 * pairs if self.baseline is not None else 0,
            "p": math.nan if one is None else one.p,
            "verdict": None if one is None else one.word,
            "small": one is not None and one.small,
            "withheld": "" if one is None else one.withheld,
            "may_be_best": self.best is not None and label in self.best.members,
            "regret": math.nan if self.best is None else self.best.regret[label],
            "missing": len(effects.missing(label)),
            "worst": collapses.worst,
            "collapses": collapses.count,
            "collapses_at_most": collapses.share_at_most,
        }

    def _baseline_there(self) -> np.ndarray:
        if self.baseline is None:
            return np.zeros(len(self.effects.keys), dtype=bool)
        return self.effects.there[:, self.effects.position[self.baseline]]

    def _difference(self, label: str) -> float:
        if self.baseline is None or not self.paired:
            return math.nan
        return 0.0 if label == self.baseline else self.effects.pair(label, self.baseline).contrast

    def _half(self, label: str) -> float:
        """Return half the width of Student's 95% interval of an objective's mean over independent values.

        t sd sqrt(1/n + ratio), where the ratio is that of splits of one table, which share rows; NaN over several
        datasets, which are no sample of one thing, and where nothing is known to hold.
        """
        test = self.population.test
        if test is None or self.population.kind == "datasets":
            return math.nan
        there = self.effects.there[:, self.effects.position[label]]
        cells, units = self.effects.cells[there, self.effects.position[label]], self.effects.units[there]
        counts = np.bincount(units)
        own = (np.bincount(units, weights=cells) / np.maximum(counts, 1))[counts > 0]
        n = len(own)
        if n < 2:
            return math.nan
        return float(student.ppf(0.975, n - 1) * np.std(own, ddof=1) * math.sqrt(1 / n + test.ratio))


COLUMNS = (
    "mean", "half", "difference", "low", "high", "pairs", "unmatched", "p", "verdict", "small", "withheld",
    "may_be_best", "regret", "missing", "worst", "collapses", "collapses_at_most",
)  # fmt: skip


def judge(
    runs: pd.DataFrame,
    column: str,
    *,
    by: Sequence[str],
    baseline: str | None,
    higher_is_better: bool,
    rope: float | None = None,
    usual_rope: float | None = None,
    references: References | None = None,
    alpha: float = 0.05,
) -> Judgement | None:
    """Judge one metric; None where no objective has a value.

    Parameters
    ----------
    runs
        As from `pairs.labelled`.
    column
        The metric's.
    baseline
        Label that the others are compared with.
    rope
        Half-width of the region of equivalence that a person asked for; None: a share of what can be gained.
    usual_rope
        The metric's half-width where nothing is known of the problem; None for a metric without a region.
    references
        What the class prior and the Bayes rule are worth.
    """
    ended = finished(runs)
    ended = ended[ended[column].notna()]
    if ended.empty:
        return None
    about = population(ended, column.removeprefix("metrics."), by)
    effects = _effects(ended, column, by, about)
    base = baseline if baseline in effects.position else None
    region = _region(effects, base, higher_is_better, rope, usual_rope, references or References())
    lost = _lost(runs, column)
    collapses = {
        label: find_collapses(
            effects, label, higher_is_better=higher_is_better, region=region.half, failed=lost.get(label, 0)
        )
        for label in effects.labels
    }
    bounds, paired = None, SEED in pairing(ended, by)
    if about.test is not None and paired:
        bounds = PairedBounds(effects, about.test, higher_is_better)
    statements, best = _state(
        effects, bounds, base, higher_is_better, region, _doubts(ended, column, region, collapses), alpha
    )
    spread = math.nan
    if base is not None:
        gaps = [effects.pair(label, base).differences for label in effects.labels if label != base]
        spreads = [float(np.std(one, ddof=1)) for one in gaps if len(one) > 1]
        spread = float(np.median(spreads)) if spreads else math.nan
    return Judgement(about, effects, higher_is_better, base, region, statements, best, collapses, lost, paired, spread)


def _effects(ended: pd.DataFrame, column: str, by: Sequence[str], about: Population) -> Effects:
    means = values(ended, [column], by)[column]
    if SEED in pairing(ended, by):
        return estimate_effects(means, about.unit)
    # Without seeds a run has no partner, and each objective is the mean of its own.
    alone = means.groupby(level=LABEL).mean()
    index = pd.MultiIndex.from_arrays([alone.index, [0] * len(alone)], names=[LABEL, "all"])
    return estimate_effects(pd.Series(alone.to_numpy(), index=index), ())


def _state(
    effects: Effects,
    bounds: Bounds | None,
    baseline: str | None,
    higher_is_better: bool,
    region: Region,
    doubts: dict[str, str],
    alpha: float,
) -> tuple[dict[str, Statement], BestSet | None]:
    if bounds is None:
        return {}, None
    best = find_best(effects, bounds, higher_is_better=higher_is_better, alpha=alpha)
    if baseline is None:
        return {}, best
    statements = compare_with_baseline(
        effects,
        bounds,
        baseline,
        higher_is_better=higher_is_better,
        region=region.half,
        doubt=lambda label: doubts.get(label, ""),
        alpha=alpha,
    )
    return statements, best


def _region(
    effects: Effects,
    baseline: str | None,
    higher_is_better: bool,
    rope: float | None,
    usual_rope: float | None,
    references: References,
) -> Region:
    top = float(np.nanmax(effects.means) if higher_is_better else np.nanmin(effects.means))
    return find_region(
        given=rope,
        usual=usual_rope,
        prior=references.prior,
        bayes=references.bayes,
        top=top,
        baseline=math.nan if baseline is None else effects.mean(baseline),
        higher_is_better=higher_is_better,
    )


def _lost(runs: pd.DataFrame, column: str) -> dict[str, int]:
    """Return how many runs of each objective failed, or ended without a value."""
    jobs = jobs_of(runs)
    lost = jobs[(jobs["status"] == "FAILED") | ((jobs["status"] == "FINISHED") & jobs[column].isna())]
    return {str(label): int(n) for label, n in lost.groupby(LABEL).size().items()}


def _doubts(ended: pd.DataFrame, column: str, region: Region, collapses: dict[str, Collapses]) -> dict[str, str]:
    """Return by objective why it may not be called equivalent to another."""
    rows = f"rows_{column.removeprefix('metrics.').split('/', 1)[0]}"
    least = float(ended[rows].min()) if rows in ended else math.nan
    if region.half and not math.isnan(least) and one_row_moves(least) > region.half:
        return dict.fromkeys(collapses, f"one judged row of {least:.0f} moves the metric by more")
    return {label: f"{label} has a gross outlier" for label, one in collapses.items() if one.outliers}
