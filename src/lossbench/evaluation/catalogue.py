"""All metrics, one row each: which way it is better, what it is computed from, how much matters, where it is shown."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from lossbench.errors import UserError

Direction = Literal["max", "min"]
Basis = Literal["decision", "ranking", "probability", "training"]
Need = Literal["rows", "positives", "two classes", "every class"]


@dataclass(frozen=True)
class MetricFacts:
    """What is known of one metric.

    Its formula stands in `evaluation.metrics`, and its twin of torchmetrics in `conf/metrics/default.yaml`.

    Parameters
    ----------
    name
        Behind the split in a key: `test/<name>`.
    better
        Which way.
    of
        What it is computed from: the decided class, the order of the rows, or probabilities, and then it is computed
        of the posterior too. `training`: nothing is evaluated, the run itself measured it.
    rope
        Half-width of the region of practical equivalence; None where the unit is that of a loss.
    needs
        What the rows have to hold for it to be defined; with more than two classes, every class has its positives.
    least_classes
        With how many classes it begins to say something of its own.
    per_epoch
        Whether it is computed after every epoch, and so can select one.
    per_class
        Whether it is one value per class, under `<name>/<class>`, and computed at the end alone.
    tuned
        Its place among the metrics that a threshold is tuned for; the first decides unless told otherwise.
    shown
        By view (`""`, `tuned/`, `posterior/`) its place beside the judged metric: a terminal shows as many as fit.
    """

    name: str
    better: Direction
    of: Basis
    rope: float | None = None
    needs: Need = "rows"
    least_classes: int = 2
    per_epoch: bool = True
    per_class: bool = False
    tuned: int | None = None
    shown: Mapping[str, int] = field(default_factory=dict)


# The order of a run's metrics. A region of half a point of a share of rows or of pairs of rows; of a whole point where
# a metric is steeper in the few positives (it moves by more than half a point when one row of a hundred changes sides);
# of 5 thousandths of a nat or of a squared error.
METRICS: Mapping[str, MetricFacts] = {
    each.name: each
    for each in (
        MetricFacts("accuracy", "max", "decision", rope=0.005, tuned=4, shown={"": 3}),
        MetricFacts("balanced_accuracy", "max", "decision", rope=0.01, needs="every class", tuned=3),
        MetricFacts("auroc", "max", "ranking", rope=0.005, needs="every class", shown={"": 1}),
        MetricFacts("average_precision", "max", "ranking", rope=0.01, needs="positives", shown={"": 2}),
        MetricFacts("f1", "max", "decision", rope=0.01, needs="positives", tuned=1, shown={"": 5, "tuned/": 6}),
        MetricFacts("mcc", "max", "decision", rope=0.01, needs="two classes", tuned=2),
        MetricFacts("log_loss", "min", "probability", rope=0.005, shown={"": 4, "posterior/": 7}),
        MetricFacts("brier", "min", "probability", rope=0.005),
        # It costs as much as a few of the others together, and selects no epoch.
        MetricFacts("ece", "min", "probability", rope=0.005, per_epoch=False, shown={"": 8}),
        MetricFacts("auroc_micro", "max", "ranking", rope=0.005, least_classes=3),
        MetricFacts("recall", "max", "decision", rope=0.01, per_class=True),
        MetricFacts("loss", "min", "training"),
        MetricFacts("objective", "min", "training"),
        MetricFacts("seconds", "min", "training"),
    )
}


def _in_order(numbered: Iterable[tuple[int, str]]) -> tuple[str, ...]:
    return tuple(name for _, name in sorted(numbered))


TUNED = _in_order((each.tuned, each.name) for each in METRICS.values() if each.tuned is not None)
BESIDE = _in_order((position, view + each.name) for each in METRICS.values() for view, position in each.shown.items())


def names_for(n_classes: int | None = None, *, per_epoch: bool = False) -> tuple[str, ...]:
    """Return the metrics that are one number per split, of a task or of any; with `per_epoch` those of every epoch."""
    return tuple(
        name
        for name, each in METRICS.items()
        if each.of != "training" and not each.per_class
        if n_classes is None or n_classes >= each.least_classes
        if each.per_epoch or not per_epoch
    )


def names_from(basis: Basis) -> tuple[str, ...]:
    """Return the metrics that are computed from decisions, rankings, probabilities or the training.

    >>> names_from("probability")
    ('log_loss', 'brier', 'ece')
    """
    return tuple(name for name, each in METRICS.items() if each.of == basis)


@dataclass(frozen=True)
class AddedMetric:
    """What is known of a metric of the user's own: which way is better, None where nobody says, and its region."""

    better: Direction | None = None
    rope: float | None = None


# Keys that a YAML under `conf/metrics` may hold beside its metric's arguments.
FACTS = ("better", "rope")


def to_text(added: Mapping[str, AddedMetric]) -> str:
    """Return the facts of added metrics as a sweep records them.

    >>> to_text({"kappa": AddedMetric("max", 0.02)})
    '{"kappa": {"better": "max", "rope": 0.02}}'
    """
    return json.dumps({name: asdict(each) for name, each in added.items()})


def from_text(text: str) -> dict[str, AddedMetric]:
    """Return what `to_text` was given."""
    return {name: AddedMetric(**facts) for name, facts in json.loads(text).items()}


def without_facts(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nodes of `conf/metrics` as they are instantiated, without `better` and `rope`."""
    return {
        name: {key: value for key, value in node.items() if key not in FACTS} if isinstance(node, Mapping) else node
        for name, node in metrics.items()
    }


def facts_of(metric: str, added: Mapping[str, AddedMetric]) -> MetricFacts | AddedMetric | None:
    """Return what is known of a metric, whatever the split, the view or the class in its key."""
    return next((facts for part in metric.split("/") if (facts := METRICS.get(part) or added.get(part))), None)


def direction_of(metric: str, override: str | None = None, added: Mapping[str, AddedMetric] | None = None) -> Direction:
    """Return `max` or `min`, whatever the split (`test/`), the view (`tuned/`) or the class (`recall/a`).

    Parameters
    ----------
    metric
        A key as MLflow shows it.
    override
        What the user says, for metrics of their own; it wins.
    added
        Metrics of the user's own, by name.

    Raises
    ------
    UserError
        For a metric that is not known and a direction that is neither.

    Examples
    --------
    >>> direction_of("test/auroc"), direction_of("val/posterior/log_loss"), direction_of("test/recall/iris/setosa")
    ('max', 'min', 'max')
    """
    if override is not None:
        return checked_direction("compare.direction", override)
    facts = facts_of(metric, added or {})
    if facts is not None and facts.better is not None:
        return facts.better
    raise UserError(
        f"whether more of {metric!r} is better is not known (known: {', '.join([*METRICS, *(added or {})])}): "
        "say so with compare.direction=max or min"
    )


def checked_direction(key: str, value: object) -> Direction:
    """Return `max` or `min`, or raise a UserError that names the key."""
    if value not in ("max", "min"):
        raise UserError(f"{key} is max or min, got {value!r}")
    return "max" if value == "max" else "min"


def rope_of(metric: str, override: float | None = None, added: Mapping[str, AddedMetric] | None = None) -> float | None:
    """Return the half-width of the region of practical equivalence, in the metric's own unit.

    Parameters
    ----------
    metric
        A key as MLflow shows it.
    override
        What the user says; it wins. 0: only differences that are zero throughout are equivalent.
    added
        Metrics of the user's own, by name.

    Returns
    -------
    float or None
        None for a metric without a region: a loss, or one of the user's own that has none.

    Raises
    ------
    UserError
        For a half-width that is no finite number >= 0.

    Examples
    --------
    >>> rope_of("test/auroc"), rope_of("val/tuned/f1"), rope_of("test/auroc", 0.001), rope_of("test/seconds")
    (0.005, 0.01, 0.001, None)
    """
    if override is not None:
        return checked_rope("compare.rope", override)
    facts = facts_of(metric, added or {})
    return None if facts is None else facts.rope


def checked_rope(key: str, value: object) -> float:
    """Return a half-width as a float, or raise a UserError that names the key."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise UserError(f"{key} is null or a number >= 0, got {value!r}")
    return float(value)
