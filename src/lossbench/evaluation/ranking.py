"""Area under the ROC curve and average precision of many score vectors at once, exact with ties.

One sort does all of it. A float64 in [0, 1] has the same order as its bits read as an integer, and its two
highest bits are zero, so the bits shifted left by one leave room for the label: sorting these *keys* sorts
values and labels together, without an argsort and without gathering. Equal values then stand side by side,
negatives first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Keys = NDArray[np.int64]


def sorted_keys(probs: Floats, label: NDArray[np.bool_]) -> Keys:
    """Return the keys of values and labels, sorted along the last axis.

    Parameters
    ----------
    probs
        (..., N) float64 in [0, 1], contiguous.
    label
        (..., N) bool, broadcast against ``probs``; True marks the positive rows.
    """
    keys = probs.view(np.int64) << 1  # the sign bit of -0.0 leaves here
    keys |= label
    keys.sort(axis=-1)
    return keys


def areas(keys: Keys, precision: bool = True) -> tuple[Floats, Floats | None]:
    """Return AUROC and average precision of each row of sorted keys, NaN where they are undefined.

    AUROC = P(positive above negative) + P(tie) / 2 (Mann-Whitney); average precision = mean over the
    positives of the precision among all rows that score at least as high. Only the positives are visited
    after the sort, which is what makes rare positives cheap.

    Parameters
    ----------
    keys
        (M, N) from `sorted_keys`.
    precision
        False leaves out average precision and returns None for it.

    Returns
    -------
    tuple of (M,), (M,)
        AUROC (NaN unless both labels occur) and average precision (NaN without a positive).

    References
    ----------
    https://scikit-learn.org/stable/modules/model_evaluation.html#receiver-operating-characteristic-roc

    Examples
    --------
    >>> probs = np.array([[0.1, 0.4, 0.35, 0.8]])
    >>> areas(sorted_keys(probs, np.array([False, False, True, True])))
    (array([0.75]), array([0.83333333]))
    """
    m, n = keys.shape
    flat = ((keys & 1) != 0).ravel().nonzero()[0]
    row, position = np.divmod(flat, n)  # position: rows that stand below this positive, tied negatives included
    positives = np.bincount(row, minlength=m)
    first = (positives.cumsum() - positives)[row]
    rank = np.arange(flat.size) - first  # positives that stand below this positive, tied ones included
    beaten = position - rank
    start, below = position, rank  # the same two counts without ties
    same = (keys[:, 1:] ^ keys[:, :-1]) < 2
    if same.any():
        begin = np.zeros((m, n), dtype=np.int64)
        np.multiply(np.arange(1, n), ~same, out=begin[:, 1:])
        np.maximum.accumulate(begin, axis=1, out=begin)
        start = begin.ravel()[flat]
        leads = np.ones(flat.size, dtype=bool)  # the first positive of each group of equal values
        group = flat - position + start
        np.not_equal(group[1:], group[:-1], out=leads[1:])
        below = np.maximum.accumulate(leads * np.arange(flat.size)) - first
        beaten = 0.5 * (beaten + start - below)  # tied negatives count half
    with np.errstate(invalid="ignore"):
        auroc = np.bincount(row, beaten, m) / (positives * (n - positives))
        if not precision:
            return auroc, None
        return auroc, np.bincount(row, (positives[row] - below) / (n - start), m) / positives
