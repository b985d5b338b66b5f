"""The statistics of a leaderboard: from matched runs to verdicts, the set that won and what more seeds would do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import t as student

from lossbench.comparison import companions
from lossbench.comparison.matched import Matched
from lossbench.comparison.pairs import LABEL, pairing, values
from lossbench.comparison.population import SEED, Population, population
from lossbench.comparison.statistics import Judgement, all_pairs, judge, winners


@dataclass(frozen=True)
class Judged:
    """What the statistics say about one metric.

    Parameters
    ----------
    table
        By label: ``half`` (of the 95% interval of the mean), ``difference``, ``low``, ``high`` (the test's own 95%
        interval), ``pairs``, ``unmatched``, ``p``,
        ``p_equivalent`` (both Holm), ``verdict``, ``won``, ``p_best`` (Holm over all pairs) and the companions ``iqm``,
        ``improves``, ``bca_low``, ``bca_high``.
    population
        What the verdicts speak about, and the test.
    n
        Smallest and largest number of independent differences to the baseline (without one: to the best).
    comparisons, all_pairs
        How many were corrected for, against the baseline and for what won.
    best, second
        The two best means among objectives with a value.
    first_two
        Range of how many seeds might separate them; None where they are separated, or there is none.
    """

    table: pd.DataFrame
    population: Population
    n: tuple[int, int]
    comparisons: int
    all_pairs: int
    best: str | None
    second: str | None
    first_two: tuple[float, float] | None


def judged(
    runs: pd.DataFrame,
    column: str,
    *,
    by: Sequence[str],
    baseline: str | None,
    ranking: Sequence[str],
    rope: float | None,
    higher_is_better: bool,
) -> Judged:
    """Judge one metric.

    Parameters
    ----------
    runs
        As from `pairs.labelled`.
    column
        The metric's.
    ranking
        Labels that have a value, best first.
    rope
        Half-width of the region of practical equivalence; None for none.
    """
    jobs = runs[(runs["role"] == "run") & (runs["status"] == "FINISHED") & runs[column].notna()]
    about = population(jobs, column.removeprefix("metrics."), by)
    means = values(jobs, [column], by)[column]
    # Without seeds a run has no partner.
    pairable = SEED in pairing(jobs, by)
    matched = Matched(means if pairable else means.groupby(level=LABEL).mean(), about.unit if pairable else ())
    base = baseline if baseline in ranking else None
    against = {} if base is None else {label: matched.differences(label, base) for label in ranking}
    compared = {label: gaps for label, gaps in against.items() if label != base}
    counts = {} if base is None else {label: matched.counts(label, base) for label in ranking}

    table = pd.DataFrame(index=list(ranking))
    table["half"] = [_half(means, label, about) if pairable else math.nan for label in ranking]
    table["pairs"] = [counts.get(label, (0, 0))[0] for label in ranking]
    table["unmatched"] = [counts.get(label, (0, 0))[1] for label in ranking]
    found = _judgements(compared, about, rope, higher_is_better)
    if base is not None and counts[base][0]:
        found[base] = replace(_NOTHING, difference=0.0)
    for name in ("difference", "p", "p_equivalent", "verdict"):
        table[name] = [getattr(found.get(label, _NOTHING), name) for label in ranking]
    _add_intervals(table, compared, about)

    pairs = {pair: matched.differences(*pair) for pair in all_pairs(ranking)}
    best, second = ([*ranking, None, None])[:2]
    won = winners(pairs, best, about.test) if best is not None and about.test is not None else {}
    table["won"] = [label in won for label in ranking]
    table["p_best"] = [won.get(label, math.nan) for label in ranking]
    _add_companions(table, jobs, column, compared, higher_is_better)

    decisive = compared.values() if compared else [gaps for pair, gaps in pairs.items() if best in pair]
    sizes = [len(gaps) for gaps in decisive] or [0]
    first_two = None
    if about.test is not None and second in won and best is not None:
        first_two = companions.seeds_to_separate(pairs[best, str(second)], about.test, len(pairs))
    return Judged(table, about, (min(sizes), max(sizes)), len(compared), len(pairs), best, second, first_two)


_NOTHING = Judgement(math.nan, 0, math.nan, math.nan, None)


def _judgements(
    compared: dict[str, np.ndarray], about: Population, rope: float | None, higher_is_better: bool
) -> dict[str, Judgement]:
    if about.test is not None:
        return judge(compared, about.test, rope=rope, higher_is_better=higher_is_better)
    return {
        label: Judgement(float(np.mean(gaps)) if len(gaps) else math.nan, len(gaps), *_UNTESTED)
        for label, gaps in compared.items()
    }


_UNTESTED = (math.nan, math.nan, None)


def _half(means: pd.Series, label: str, about: Population) -> float:
    """Return half the width of Student's 95% interval of an objective's mean over independent values.

    t sd sqrt(1/n + ratio), where the ratio is that of splits of one table, which share rows; NaN over several datasets,
    which are no sample of one thing, and where nothing is known to hold.
    """
    if about.test is None or about.kind == "datasets":
        return math.nan
    values = means.xs(label, level=LABEL).dropna()
    if about.unit:
        values = values.groupby(level=list(about.unit)).mean()
    n = len(values)
    return float(student.ppf(0.975, n - 1) * values.std() * math.sqrt(1 / n + about.test.ratio)) if n > 1 else math.nan


def _add_intervals(table: pd.DataFrame, compared: dict[str, np.ndarray], about: Population) -> None:
    """Add the deciding test's own intervals; missing where there are too few differences for one."""
    none = (math.nan, math.nan)
    intervals = {} if about.test is None else {label: about.test.interval(gaps) for label, gaps in compared.items()}
    finite = {label: ends for label, ends in intervals.items() if np.isfinite(ends).all()}
    table["low"] = [finite.get(label, none)[0] for label in table.index]
    table["high"] = [finite.get(label, none)[1] for label in table.index]


def _add_companions(
    table: pd.DataFrame, jobs: pd.DataFrame, column: str, compared: dict[str, np.ndarray], higher_is_better: bool
) -> None:
    groups = {label: part[column].to_numpy(dtype=float) for label, part in jobs.groupby(LABEL)}
    none = np.zeros(0)
    table["iqm"] = [companions.interquartile_mean(groups.get(label, none)) for label in table.index]
    table["improves"] = [
        companions.probability_of_improvement(compared.get(label, none), higher_is_better) for label in table.index
    ]
    intervals = [companions.bca(compared.get(label, none)) for label in table.index]
    table["bca_low"] = [low for low, _ in intervals]
    table["bca_high"] = [high for _, high in intervals]
