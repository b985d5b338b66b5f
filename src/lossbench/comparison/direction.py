"""Which way each metric is better."""

from __future__ import annotations

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
