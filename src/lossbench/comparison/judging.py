"""The statistics of a leaderboard: from matched runs to verdicts, the set that won and what more seeds would do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import bootstrap, chi2, norm, trim_mean
from scipy.stats import t as student

from lossbench.comparison.pairs import LABEL, Matched, finished, pairing, values
from lossbench.comparison.population import SEED, Population, population
from lossbench.comparison.verdicts import ALPHA, Judgement, PairedTest, all_pairs, judge, seeds_needed, winners


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
    jobs = finished(runs)
    jobs = jobs[jobs[column].notna()]
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
        first_two = seeds_to_separate(pairs[best, str(second)], about.test, len(pairs))
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
    table["iqm"] = [interquartile_mean(groups.get(label, none)) for label in table.index]
    table["improves"] = [
        probability_of_improvement(compared.get(label, none), higher_is_better) for label in table.index
    ]
    intervals = [bca(compared.get(label, none)) for label in table.index]
    table["bca_low"] = [low for low, _ in intervals]
    table["bca_high"] = [high for _, high in intervals]


# Below, the BCa interval covers less than it says (.89 instead of .95 with 10).
BCA_FROM = 20


def bca(differences: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the BCa bootstrap interval of the mean of n >= 20 differences, by scipy; NaN where there is none."""
    if len(differences) < BCA_FROM or np.ptp(differences) == 0:
        return math.nan, math.nan
    found = bootstrap((differences,), np.mean, confidence_level=level, method="BCa", rng=np.random.default_rng(0))
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def interquartile_mean(values: np.ndarray) -> float:
    """Return the mean without the lowest and the highest quarter; NaN for none.

    >>> interquartile_mean(np.array([0.0, 1.0, 2.0, 30.0]))
    1.5
    """
    return float(trim_mean(values, 0.25)) if len(values) else math.nan


def probability_of_improvement(differences: np.ndarray, higher_is_better: bool = True) -> float:
    """Return the share of paired differences in which the objective is the better one, ties as half; NaN for none.

    >>> probability_of_improvement(np.array([0.1, 0.2, 0.0, -0.1]))
    0.625
    """
    if not len(differences):
        return math.nan
    signs = np.sign(differences) if higher_is_better else -np.sign(differences)
    return float(np.mean((signs + 1) / 2))


def seeds_to_separate(
    differences: np.ndarray, test: PairedTest, comparisons: int, *, power: float = 0.8, alpha: float = ALPHA
) -> tuple[float, float]:
    """Return a range of how many differences might separate two objectives, if the mean seen is the true one.

        n = 1 / ((mean / (z sd))^2 - ratio),  z = Phi^-1(1 - alpha / (2 comparisons)) + Phi^-1(power)

    for the ends of the 80% interval of the standard deviation; never below `statistics.seeds_needed`. Planning only: a
    mean that looks like this by chance makes it meaningless. Infinite where no number of splits of one table would do.

    Examples
    --------
    >>> from lossbench.comparison.sign_flip import SignFlip
    >>> seeds_to_separate(np.array([0.0, 0.01, 0.02, 0.03]), SignFlip(), 1)
    (6, 30)
    """
    n = len(differences)
    mean = float(np.mean(differences)) if n else 0.0
    if n < 2 or mean == 0:
        return math.inf, math.inf
    sd = float(np.std(differences, ddof=1))
    ends = (sd * math.sqrt((n - 1) / chi2.ppf(share, n - 1)) for share in (0.9, 0.1))
    z = float(norm.ppf(1 - alpha / (2 * comparisons)) + norm.ppf(power))
    low, high = (_needed(abs(mean) / z, end, test.ratio) for end in ends)
    least = seeds_needed(comparisons, alpha)
    return max(low, least), max(high, least)


def _needed(step: float, sd: float, ratio: float) -> float:
    information = (step / sd) ** 2 - ratio if sd > 0 else math.inf
    return math.ceil(1 / information) if information > 0 else math.inf
