"""Decides whether a setting is better than the default, and not only the luckiest of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lossbench.comparison.sign_flip import SignFlip
from lossbench.comparison.verdicts import ALPHA, holm
from lossbench.sweep.tuning.study import EndedTrial


@dataclass(frozen=True)
class Confirmed:
    """A trial's score on further seeds.

    Parameters
    ----------
    number
        Of the trial; 0 is the default setting.
    value
        Mean over the further seeds; None where one of them failed.
    p
        Of the one-sided sign-flip test against the default, Holm over the others; None for the default, and without it.
    """

    number: int
    value: float | None
    p: float | None


def pick_candidates(ranked: Sequence[EndedTrial], most: int) -> list[EndedTrial]:
    """Return the trials to score again: the default, where it finished, and the best of the others."""
    default = [trial for trial in ranked if trial.number == 0]
    return [*default, *[trial for trial in ranked if trial.number != 0][:most]]


def confirm(scores: Mapping[int, Sequence[float]], higher_is_better: bool) -> list[Confirmed]:
    """Compare settings with the default on seeds that did not choose them.

    Parameters
    ----------
    scores
        By the trial's number its score under each of the further seeds, the same seeds for all; empty where it failed.

    Examples
    --------
    >>> one, other = confirm({0: [0.5] * 8, 3: [0.625] * 8}, higher_is_better=True)
    >>> one, other.value, other.p
    (Confirmed(number=0, value=0.5, p=None), 0.625, 0.00390625)
    """
    sign = 1.0 if higher_is_better else -1.0
    default = scores.get(0) or None
    p: dict[int, float] = {}
    if default is not None:
        gains = {
            number: sign * (np.asarray(values) - np.asarray(default))
            for number, values in scores.items()
            if number != 0 and values
        }
        p = dict(zip(gains, holm([SignFlip().greater(gain) for gain in gains.values()]), strict=True))
    return [
        Confirmed(number, float(np.mean(values)) if values else None, p.get(number))
        for number, values in scores.items()
    ]


def choose(confirmed: Sequence[Confirmed], higher_is_better: bool) -> int | None:
    """Return the number of the trial to keep; None where none has a score.

    The best on the further seeds of those that beat the default there (p <= .05), and the default where none does: the
    best of many trials on a few seeds is in part the luckiest, and on average worse than it looks. Without a default
    score, simply the best.
    """
    sign = -1.0 if higher_is_better else 1.0
    scored = [(sign * each.value, each) for each in confirmed if each.value is not None]
    if any(each.number == 0 for _, each in scored):
        scored = [
            (value, each) for value, each in scored if each.number == 0 or (each.p is not None and each.p <= ALPHA)
        ]
    return min(scored, key=lambda pair: (pair[0], pair[1].number))[1].number if scored else None
