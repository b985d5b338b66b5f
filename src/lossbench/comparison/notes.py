"""What a reader of a leaderboard must know of how its runs were paired."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lossbench.comparison.datasets import DATA, DATASET, FAMILY
from lossbench.comparison.pairs import LABEL, finished, jobs_of, pairing
from lossbench.comparison.population import SEED, SOURCE_SEED, SPLIT_SEED


def write_notes(frame: pd.DataFrame, column: str, by: Sequence[str], base: str | None, several_data: bool) -> list[str]:
    """Return what is unusual about the pairs: none at all, several runs in one, values on some datasets alone.

    Parameters
    ----------
    frame
        As from `pairs.labelled`.
    """
    keys = pairing(frame, by)
    if SEED not in keys:
        return ["the runs carry no param seed: nothing can be paired"] if base is not None else []
    lines = []
    jobs = finished(frame)
    several = jobs.groupby([LABEL, *keys], dropna=False).size()
    several = several[several > 1]
    if len(several) and base is not None:
        where = f"one objective under the same {', '.join(describe_pairing(frame, by))}"
        lines.append(f"{len(several)} pairs hold several runs of {where}: averaged before pairing")
    if several_data:
        seen = jobs[jobs[column].notna()].groupby(LABEL)[DATASET].nunique()
        lines += [
            f"{label} has values on {count} of {seen.max()} datasets alone: the rest is estimated from the others"
            for label, count in seen.items()
            if count < seen.max()
        ]
    return lines


def describe_pairing(frame: pd.DataFrame, by: Sequence[str]) -> list[str]:
    """Return what pairs the runs as a person would say it: the seed, and what else has more than one value."""
    # References carry the seed alone of what describes the data.
    frame = jobs_of(frame)
    keys = [key for key in pairing(frame, by) if key != FAMILY]
    # What tells two datasets apart goes without saying where the data are named.
    groups = frame.groupby(DATASET) if DATASET in frame else frame.groupby(lambda _: 0)
    varies = {key for key in keys if groups[key].nunique(dropna=False).max() > 1}
    keys = [key for key in keys if key == SEED or key in varies or (key == DATA and frame[key].nunique() > 1)]
    # The seeds of source and split are the run's own unless they were fixed apart.
    seeds_of_data = [key for key in (SOURCE_SEED, SPLIT_SEED) if key in keys and SEED in keys]
    follow = {key for key in seeds_of_data if (frame[key] == frame[SEED])[frame[key].notna()].all()}
    return [key.removeprefix("params.") for key in keys if key not in follow]
