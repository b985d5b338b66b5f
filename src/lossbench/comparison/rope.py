"""The region of practical equivalence: differences too small to matter, in each metric's own unit."""

from __future__ import annotations

import math

from lossbench.errors import UserError

# Half a point of a share of rows or of pairs of rows; a whole point where a metric is steeper in the few positives
# (it moves by more than half a point when one row of a hundred changes sides); 5 thousandths of a nat or of a squared
# error. A metric in the units of a loss has none.
ROPE: dict[str, float] = {
    "accuracy": 0.005,
    "auroc": 0.005,
    "auroc_micro": 0.005,
    "balanced_accuracy": 0.01,
    "average_precision": 0.01,
    "f1": 0.01,
    "mcc": 0.01,
    "recall": 0.01,
    "log_loss": 0.005,
    "brier": 0.005,
    "ece": 0.005,
}


def rope(metric: str, given: float | None = None) -> float | None:
    """Return the half-width of the region of practical equivalence, in the metric's own unit.

    Parameters
    ----------
    metric
        A key as MLflow shows it.
    given
        What the user says; it wins. 0: only differences that are zero throughout are equivalent.

    Returns
    -------
    float or None
        None for a metric without a default, a loss or one of the user's own.

    Raises
    ------
    UserError
        For a half-width that is no finite number >= 0.

    Examples
    --------
    >>> rope("test/auroc"), rope("val/tuned/f1"), rope("test/auroc", 0.001), rope("test/seconds")
    (0.005, 0.01, 0.001, None)
    """
    if given is not None:
        if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < math.inf:
            raise UserError(f"compare.rope is null or a number >= 0, got {given!r}")
        return float(given)
    return next((ROPE[part] for part in metric.split("/") if part in ROPE), None)
