"""Where the mean over datasets and most of the datasets say different things, the datasets that do it are named."""

from __future__ import annotations

import numpy as np

from lossbench.comparison.effects import Effects


def disagreement(effects: Effects, label: str, baseline: str, *, higher_is_better: bool) -> str:
    """Return what a reader of the mean must know; empty where mean and median have one sign.

    Examples
    --------
    >>> import pandas as pd
    >>> from lossbench.comparison.effects import estimate_effects
    >>> index = pd.MultiIndex.from_product([["focal", "mse"], ["iris", "wine", "rings", "digits"]],
    ...                                    names=["label", "dataset"])
    >>> values = pd.Series([0.9, 0.9, 0.9, 0.5, 0.8, 0.8, 0.8, 0.9], index=index)
    >>> disagreement(estimate_effects(values, ["dataset"]), "focal", "mse", higher_is_better=True)
    'better than mse on 3 of 4, much worse on digits'
    """
    pair = effects.pair(label, baseline)
    gains = pair.differences if higher_is_better else -pair.differences
    if not len(gains) or np.sign(gains.mean()) * np.sign(np.median(gains)) >= 0:
        return ""
    side = np.sign(np.median(gains))
    # The fewest datasets without which the mean would be on the side of most.
    order = np.argsort(gains * side, kind="stable")
    left = gains[order]
    fewest = next(k for k in range(1, len(left) + 1) if k == len(left) or side * left[k:].mean() > 0)
    names = ", ".join(effects.unit_names[unit] for unit in pair.units[order[:fewest]])
    word, other = ("better", "worse") if side > 0 else ("worse", "better")
    count = int((np.sign(gains) == side).sum())
    return f"{word} than {baseline} on {count} of {len(gains)}, much {other} on {names}"
