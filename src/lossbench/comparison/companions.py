"""Figures beside the verdict, which never decide: a bootstrap interval, a robust mean, how often, how many seeds."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import bootstrap, chi2, norm, trim_mean

from lossbench.comparison.statistics import ALPHA, PairedTest, seeds_needed

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
