"""The built-in metrics of one split, for any number of replicates at once.

The same function serves an ordinary run at every epoch (one replicate) and the batched engine (hundreds),
so the two cannot differ. All replicates are sorted, counted and averaged together; there is no loop over
them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossbench.evaluation.catalogue import METRICS, names_for, names_from
from lossbench.evaluation.ranking import areas, sorted_keys

Floats = NDArray[np.float64]

BINS = 15
SMALLEST = float(np.finfo(np.float64).tiny)
BLOCK = 1 << 17  # cells computed at a time: the temporaries of 1 MiB then stay in the cache


def compute(target: ArrayLike, probs: ArrayLike, names: Collection[str] | None = None) -> dict[str, Floats]:
    """Return the metrics of R replicates on N rows of K classes.

    The decision is the most probable class; a tie goes to the lower index, so two classes decide "positive"
    where its probability is *above* .5. With K > 2, ``auroc``, ``average_precision`` and ``f1`` are
    unweighted means over one-vs-rest problems. Besides those:

    - ``balanced_accuracy``: the mean recall of the classes;
    - ``mcc``: Matthews' coefficient, Gorodkin's for K > 2; 0 where one class alone is predicted;
    - ``log_loss``: -mean log p[target], p no smaller than the smallest normal float64 (2.2e-308), so that a
      row costs 708.4 at most (scikit-learn cuts at the resolution, 2.2e-16);
    - ``brier``: two classes, mean (p[1] - target)^2; more, the *sum* over columns of squared errors,
      averaged over rows (so it ends at 2, not at 1);
    - ``ece``: mean over 15 bins of equal width of |observed - expected|, weighted by rows; for two classes
      of the positive class, for more of the decided one; bins are closed below, the last one on both sides;
    - ``auroc_micro`` (K > 2): one AUROC over all N K cells of the one-hot target;
    - ``recall``, where ``names`` asks for it: that of each class, (R, K), NaN for a class without rows.

    Parameters
    ----------
    target
        (N,) shared by all replicates or (R, N), class indices.
    probs
        (R, N, K), rows sum to one. A replicate with a NaN gets NaN for every metric.
    names
        What to compute, default all that `catalogue.names_for` lists.

    Returns
    -------
    dict of (R,) float64, ``recall`` (R, K)
        NaN where a metric is undefined; `explain_undefined` has the reason.

    Raises
    ------
    ValueError
        For shapes that do not fit, no rows, probabilities outside [0, 1], a target outside 0..K-1, unknown
        names.

    Examples
    --------
    >>> probs = [[[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]]]
    >>> values = compute([0, 0, 1, 1], probs, names=["accuracy", "auroc", "brier"])
    >>> {name: float(value[0].round(6)) for name, value in values.items()}
    {'accuracy': 0.75, 'auroc': 0.75, 'brier': 0.158125}
    """
    labels, p, nan = _checked(target, probs)
    n_classes = p.shape[2]
    wanted = names_for(n_classes) if names is None else tuple(names)
    for name in wanted:
        if name not in METRICS or METRICS[name].of == "training" or METRICS[name].least_classes > n_classes:
            names_of_task = ", ".join(names_for(n_classes))
            raise ValueError(f"a metric for {n_classes} classes is one of {names_of_task}, got {name!r}")
    replicates, n, _ = p.shape
    block = max(1, BLOCK // (n * n_classes))
    if replicates <= block:
        return _computed(labels, p, wanted, nan)
    parts = [
        _computed(labels if len(labels) == 1 else labels[at : at + block], p[at : at + block], wanted, nan)
        for at in range(0, replicates, block)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in wanted}


def explain_undefined(target: ArrayLike, n_classes: int, class_names: Sequence[str] | None = None) -> dict[str, str]:
    """Return the metrics that these rows leave undefined, whatever is predicted, each with its reason.

    Undefined depends on the target alone, so that for one split either every loss has a value or none has.

    >>> explain_undefined([0, 0, 0], 2, ("outer", "inner"))["auroc"]
    "no row of class 'inner'"
    >>> explain_undefined([1, 1], 2)
    {'balanced_accuracy': "no row of class '0'", 'auroc': "no row of class '0'", 'mcc': 'only one class'}
    """
    counts = np.bincount(np.asarray(target, dtype=np.int64), minlength=n_classes)
    titles = [str(k) for k in range(n_classes)] if class_names is None else list(class_names)
    absent = [k for k in range(n_classes) if counts[k] == 0]
    lacking = "no row of class " + ", ".join(repr(titles[k]) for k in absent) if absent else ""
    reasons = {
        "rows": "",
        "positives": lacking if n_classes > 2 or 1 in absent else "",
        "two classes": "only one class" if len(absent) >= n_classes - 1 else "",
        "every class": lacking,
    }
    return {name: reasons[each.needs] for name, each in METRICS.items() if reasons[each.needs]}


_DECISIONS = frozenset(names_from("decision"))
_RANKINGS = frozenset(names_from("ranking"))


def _checked(target: ArrayLike, probs: ArrayLike) -> tuple[NDArray[np.int64], Floats, bool]:
    """Return target (1, N) or (R, N) int64, probs (R, N, K) float64, and whether a NaN is among them."""
    p = np.asarray(probs, dtype=np.float64)
    labels = np.asarray(target)
    if p.ndim != 3 or p.shape[2] < 2 or p.size == 0:
        raise ValueError(f"metrics need probs (R, N, K) with R, N >= 1 and K >= 2, got {p.shape}")
    if labels.shape not in ((p.shape[1],), p.shape[:2]):
        raise ValueError(f"metrics need target (N,) or (R, N) for probs {p.shape}, got {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"metrics need integer class indices as target, got {labels.dtype}")
    if np.minimum.reduce(labels, axis=None) < 0 or np.maximum.reduce(labels, axis=None) >= p.shape[2]:
        raise ValueError(f"metrics need target in 0..{p.shape[2] - 1}, got {labels.min()}..{labels.max()}")
    low, high = np.minimum.reduce(p, axis=None), np.maximum.reduce(p, axis=None)
    nan = bool(np.isnan(low))
    if nan:  # answered by NaN, not by an error; fmin and fmax pass over it
        low, high = np.fmin.reduce(p, axis=None), np.fmax.reduce(p, axis=None)
    if low < 0 or high > 1 + 1e-9:
        raise ValueError(f"metrics need probabilities in [0, 1], got {low}..{high}")
    return np.atleast_2d(labels.astype(np.int64, copy=False)), p, nan


def _computed(labels: NDArray[np.int64], p: Floats, wanted: Collection[str], nan: bool) -> dict[str, Floats]:
    n_classes = p.shape[2]
    lost = np.asarray(np.isnan(p).any(axis=(1, 2))) if nan else None
    if lost is not None:  # any probabilities will do there, the answer is NaN
        p = np.where(lost[:, None, None], 1 / n_classes, p)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = _formulas(labels, p, wanted)
    if lost is not None:
        values = {
            name: np.where(lost[:, None] if value.ndim == 2 else lost, np.nan, value) for name, value in values.items()
        }
    return {name: values[name] for name in wanted}


def _formulas(labels: NDArray[np.int64], p: Floats, wanted: Collection[str]) -> dict[str, Floats]:
    """Return the wanted metrics, and those that cost nothing beside them."""
    n_classes = p.shape[2]
    columns = _columns(p)
    onehot = labels[:, None, :] == (np.arange(n_classes)[:, None] if n_classes > 2 else 1)
    values: dict[str, Floats] = {}
    if not _DECISIONS.isdisjoint(wanted):
        values |= _decisions(_confusion(labels, _decided(columns), n_classes))
    if not _RANKINGS.isdisjoint(wanted):
        values |= _rankings(columns, onehot, wanted)
    if "log_loss" in wanted:
        values["log_loss"] = _log_loss(labels, p)
    if "brier" in wanted:
        error = columns - onehot
        error *= error
        values["brier"] = np.add.reduce(error, axis=(1, 2)) / p.shape[1]
    if "ece" in wanted:
        values["ece"] = _ece(labels, columns, onehot)
    return values


def _columns(p: Floats) -> Floats:
    """Return probs class by class and contiguous, (R, K, N); of two classes the positive, (R, 1, N)."""
    return np.ascontiguousarray(p.transpose(0, 2, 1) if p.shape[2] > 2 else p[:, None, :, 1])


def _decided(columns: Floats) -> NDArray[np.int64]:
    """Return the decided class, (R, N); for few classes faster than argmax over the middle axis."""
    if columns.shape[1] == 1:
        return (columns[:, 0] > 0.5).astype(np.int64)
    decided = np.zeros((columns.shape[0], columns.shape[2]), dtype=np.int64)
    best = columns[:, 0]
    for k in range(1, columns.shape[1]):
        np.copyto(decided, k, where=columns[:, k] > best)
        best = np.maximum(best, columns[:, k])
    return decided


def _confusion(labels: NDArray[np.int64], decided: NDArray[np.int64], n_classes: int) -> NDArray[np.int64]:
    """Return (R, K, K) counts, target by row and decision by column."""
    replicates = decided.shape[0]
    cells = n_classes * n_classes
    code = labels * n_classes + decided
    if replicates > 1:
        code += np.arange(0, replicates * cells, cells)[:, None]
    counts = np.bincount(code.ravel(), minlength=replicates * cells)
    return counts.reshape(replicates, n_classes, n_classes)


def _decisions(confusion: NDArray[np.int64]) -> dict[str, Floats]:
    """Return what follows from the counts, as float64: whole numbers up to n^2, exact for n < 9e7."""
    counts = confusion.astype(np.float64)
    replicates, n_classes, _ = counts.shape
    right = counts.reshape(replicates, -1)[:, :: n_classes + 1]  # the diagonal
    actual = np.add.reduce(counts, axis=2)
    decided = np.add.reduce(counts, axis=1)
    hits = np.add.reduce(right, axis=1)
    n = np.add.reduce(actual[0])
    recalls = right / actual
    balanced = np.add.reduce(recalls, axis=1) / n_classes
    f1 = 2 * recalls / (1 + decided / actual)  # 2 right / (actual + decided), NaN for a class without rows
    spread = n * n - np.vecdot(actual, actual)
    decided_spread = n * n - np.vecdot(decided, decided)
    # With one class decided the numerator is 0 and the value shall be 0; with one class given it stays 0 / 0.
    scale = np.sqrt(spread * (decided_spread + (decided_spread == 0)))
    return {
        "accuracy": hits / n,
        "balanced_accuracy": balanced,
        "f1": f1[:, 1] if n_classes == 2 else np.add.reduce(f1, axis=1) / n_classes,
        "mcc": (n * hits - np.vecdot(actual, decided)) / scale,
        "recall": recalls,
    }


def _rankings(columns: Floats, onehot: NDArray[np.bool_], wanted: Collection[str]) -> dict[str, Floats]:
    replicates, n_columns, n = columns.shape
    keys = sorted_keys(columns, onehot)
    auroc, precision = areas(keys.reshape(replicates * n_columns, n), "average_precision" in wanted)
    values = {"auroc": _mean_of_columns(auroc, n_columns)}
    if precision is not None:
        values["average_precision"] = _mean_of_columns(precision, n_columns)
    if "auroc_micro" in wanted:
        cells = keys.reshape(replicates, n_columns * n)
        cells.sort(axis=1)
        values["auroc_micro"] = areas(cells, precision=False)[0]
    return values


def _mean_of_columns(values: Floats, n_columns: int) -> Floats:
    if n_columns == 1:
        return values
    return np.add.reduce(values.reshape(-1, n_columns), axis=1) / n_columns


def _log_loss(labels: NDArray[np.int64], p: Floats) -> Floats:
    replicates, n, n_classes = p.shape
    cell = labels + np.arange(0, n * n_classes, n_classes)
    if replicates > 1:
        cell = cell + np.arange(0, p.size, n * n_classes)[:, None]
    at_target = p.reshape(-1).take(cell)
    np.maximum(at_target, SMALLEST, out=at_target)
    np.log(at_target, out=at_target)
    return np.add.reduce(at_target, axis=1) / -n


def _ece(labels: NDArray[np.int64], columns: Floats, onehot: NDArray[np.bool_]) -> Floats:
    replicates, n_columns, n = columns.shape
    if n_columns == 1:
        expected, observed = columns[:, 0], np.broadcast_to(onehot[:, 0], (replicates, n))
    else:
        expected, observed = columns.max(axis=1), _decided(columns) == labels
    # The product is rounded to the side of the edge k / BINS on which it was: a test tries both neighbours of each.
    bins = (expected * BINS).astype(np.int64)
    np.minimum(bins, BINS - 1, out=bins)
    bins += np.arange(0, replicates * BINS, BINS)[:, None]
    gap = np.bincount(bins.ravel(), weights=(observed - expected).ravel(), minlength=replicates * BINS)
    return np.abs(gap).reshape(replicates, BINS).sum(axis=1) / n
