"""What is known of each metric: which way it is better, and how large a difference matters."""

from __future__ import annotations

import math
from typing import Literal

from lossbench.errors import UserError

Direction = Literal["max", "min"]


DIRECTION: dict[str, Direction] = {
    "accuracy": "max",
    "balanced_accuracy": "max",
    "auroc": "max",
    "auroc_micro": "max",
    "average_precision": "max",
    "f1": "max",
    "mcc": "max",
    "recall": "max",
    "log_loss": "min",
    "brier": "min",
    "ece": "min",
    "loss": "min",
    "objective": "min",
    "seconds": "min",
}


def direction(metric: str, given: str | None = None) -> Direction:
    """Return `max` or `min`, whatever the split (`test/`), the view (`tuned/`) or the class (`recall/a`).

    Parameters
    ----------
    metric
        A key as MLflow shows it.
    given
        What the user says, for metrics of their own; it wins.

    Raises
    ------
    UserError
        For a metric that is not known and a direction that is neither.

    Examples
    --------
    >>> direction("test/auroc"), direction("val/posterior/log_loss"), direction("test/recall/iris/setosa")
    ('max', 'min', 'max')
    """
    if given is not None:
        if given not in ("max", "min"):
            raise UserError(f"a direction is max or min, got {given!r}")
        return "max" if given == "max" else "min"
    for part in metric.split("/"):
        if part in DIRECTION:
            return DIRECTION[part]
    raise UserError(
        f"whether more of {metric!r} is better is not known (known: {', '.join(DIRECTION)}): "
        "say so with compare.direction=max or min"
    )


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
