"""The final evaluation of a trained network, through its link, by its posterior and at tuned thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from lossbench.evaluation import calibration, metrics, thresholds
from lossbench.evaluation.catalogue import names_for, names_from
from lossbench.objective.loss import Loss
from lossbench.objective.posterior import class_posterior
from lossbench.task import Task

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """The final evaluation of one trained network, in numpy arrays and plain Python.

    Attributes
    ----------
    metrics
        ``<split>/<metric>`` through the loss's link, ``<split>/recall/<class name>``,
        ``<split>/posterior/{log_loss,brier,ece}``, and for two classes ``<split>/tuned/<metric>``, each at
        the threshold on the posterior that is best for it on validation. NaN where undefined.
    undefined
        The reason, for every key of ``metrics`` that is NaN.
    thresholds
        By metric; empty for more than two classes, NaN where validation cannot tune it.
    posterior_kind
        ``gradient``, ``isotonic`` or ``platt``: a calibrator where the loss claims no posterior from its gradient,
        or where validation rows show that a calibrator predicts better (`calibration.fit_if_better`).
    posterior_state
        What turns scores into posteriors again: ``class_weights`` and ``sampling_rates``, where given, or the
        calibrator's arrays (`calibration.from_state`).
    scores, probs, posteriors
        By split: raw scores (N, 1) or (N, K); the link's probabilities and the posterior, (N, K).
    """

    metrics: dict[str, float]
    undefined: dict[str, str]
    thresholds: dict[str, float]
    posterior_kind: str
    posterior_state: dict[str, Floats]
    scores: dict[str, Floats]
    probs: dict[str, Floats]
    posteriors: dict[str, Floats]


def evaluate(
    scores: Mapping[str, ArrayLike],
    targets: Mapping[str, ArrayLike],
    loss: Loss,
    task: Task,
    class_weights: ArrayLike | Tensor | None = None,
    sampling_rates: ArrayLike | Tensor | None = None,
    collection: MetricCollection | None = None,
) -> Evaluation:
    """Evaluate the scores of every split.

    Parameters
    ----------
    scores
        Raw scores by split, (N, 1) for two classes or (N, K). ``val`` has to be among them: it fits
        calibrator and thresholds.
    targets
        (N,) class indices of the same splits.
    loss
        Bound to ``task``; it has the link, and says whether its gradient gives the posterior.
    class_weights, sampling_rates
        Of the selected epoch, (K,), as `lossbench.objective.posterior.recover_posterior` takes them. A calibrator
        needs neither: it is fitted on rows as they come.
    collection
        From `lossbench.evaluation.collection.build`. Its values are added to the built-in ones and stand
        for those of the same name; without it the built-in ones are computed by numpy alone (equal to
        1e-8).

    Raises
    ------
    ValueError
        Without ``val``, for splits that differ, a wrong shape, or scores that are not finite.
    """
    if "val" not in scores or scores.keys() != targets.keys():
        raise ValueError(
            f"an evaluation needs scores and targets of the same splits, val among them, "
            f"got {sorted(scores)} and {sorted(targets)}"
        )
    raw = {split: _checked(split, rows, targets[split], task) for split, rows in scores.items()}
    labels = {split: np.asarray(target, dtype=np.int64) for split, target in targets.items()}
    device = next((tensor.device for tensor in (*loss.parameters(), *loss.buffers())), torch.device("cpu"))
    with torch.no_grad():
        probs = {s: _array(loss.link.probs(torch.as_tensor(rows, device=device))) for s, rows in raw.items()}
    kind, state, posteriors = _posteriors(raw, labels["val"], loss, device, class_weights, sampling_rates)

    values: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for split, target in labels.items():
        of_split, reasons_of_split = evaluate_rows(target, probs[split], posteriors[split], task, collection)
        values |= {f"{split}/{name}": value for name, value in of_split.items()}
        reasons |= {f"{split}/{name}": reason for name, reason in reasons_of_split.items()}

    tuned: dict[str, float] = {}
    if task.binary:
        tuned = thresholds.tune(labels["val"], posteriors["val"][:, 1])
        untuned = metrics.explain_undefined(labels["val"], task.n_classes, task.class_names)
        for split, target in labels.items():
            of_split, reasons_of_split = evaluate_at_thresholds(tuned, target, posteriors[split], task, untuned)
            values |= {f"{split}/{name}": value for name, value in of_split.items()}
            reasons |= {f"{split}/{name}": reason for name, reason in reasons_of_split.items()}
    return Evaluation(values, reasons, tuned, kind, state, raw, probs, posteriors)


def evaluate_rows(
    target: NDArray[np.int64],
    probs: Floats,
    posteriors: Floats,
    task: Task,
    collection: MetricCollection | None = None,
) -> tuple[dict[str, float], dict[str, str]]:
    """Return every metric of some rows, ``recall/<class>`` and ``posterior/<metric>`` too, and why any is NaN."""
    computed = metrics.compute(target, probs[None], (*names_for(task.n_classes), "recall"))
    recalls = computed.pop("recall")[0]
    values = {name: float(value[0]) for name, value in computed.items()}
    values |= {f"recall/{k}": float(v) for k, v in zip(task.class_names, recalls, strict=True)}
    if collection is not None:
        from lossbench.evaluation.collection import measure  # torchmetrics takes seconds to import

        values |= measure(collection, target, probs, task)
    of_posterior = metrics.compute(target, posteriors[None], names_from("probability"))
    values |= {f"posterior/{name}": float(value[0]) for name, value in of_posterior.items()}
    undefined = [name for name, value in values.items() if np.isnan(value)]
    if not undefined:
        return values, {}
    reasons = metrics.explain_undefined(target, task.n_classes, task.class_names)
    reasons |= {f"recall/{k}": "no row of this class" for k in task.class_names}
    return values, {name: reasons.get(name, "the metric returned NaN") for name in undefined}


def evaluate_at_thresholds(
    tuned: Mapping[str, float],
    target: NDArray[np.int64],
    posteriors: Floats,
    task: Task,
    untuned: Mapping[str, str] | None = None,
) -> tuple[dict[str, float], dict[str, str]]:
    """Return ``tuned/<metric>`` of some rows at each metric's own threshold, and why any is NaN.

    Parameters
    ----------
    tuned
        Thresholds by metric, NaN where validation could not tune it.
    untuned
        Why it could not, by metric.
    """
    if not tuned:
        return {}, {}
    values = {f"tuned/{name}": value for name, value in thresholds.score_at(target, posteriors[:, 1], tuned).items()}
    reasons: dict[str, str] = {}
    for metric, threshold in tuned.items():
        if np.isnan(threshold):
            why = (untuned or {}).get(metric, f"{metric} is undefined")
            reasons[f"tuned/{metric}"] = f"{why} in val, which tunes it"
        elif np.isnan(values[f"tuned/{metric}"]):
            reasons[f"tuned/{metric}"] = metrics.explain_undefined(target, task.n_classes, task.class_names)[metric]
    return values, reasons


def _posteriors(
    raw: Mapping[str, Floats],
    val_target: NDArray[np.int64],
    loss: Loss,
    device: torch.device,
    class_weights: ArrayLike | Tensor | None,
    sampling_rates: ArrayLike | Tensor | None,
) -> tuple[str, dict[str, Floats], dict[str, Floats]]:
    """Return the posterior of every split, its kind and its state.

    A posterior from the gradient holds at the loss's minimum, and a run may end far from it (the epoch that ranks best
    is taken). It is used unless a calibrator predicts validation rows better that it was not fitted on.
    """
    if loss.posterior == "gradient":
        factors = {
            name: torch.as_tensor(factor, dtype=torch.float64, device=device)
            for name, factor in (("class_weights", class_weights), ("sampling_rates", sampling_rates))
            if factor is not None
        }

        def of_gradient(rows: Floats) -> Floats:
            return _array(class_posterior(loss, torch.as_tensor(rows, device=device), **factors))

        of_val = of_gradient(raw["val"])
        fitted = calibration.fit_if_better(raw["val"], val_target, of_val)
        if fitted is None:
            state = {name: _array(factor) for name, factor in factors.items()}
            return "gradient", state, {s: of_val if s == "val" else of_gradient(rows) for s, rows in raw.items()}
    else:
        fitted = calibration.fit(calibration.choose(raw["val"], val_target), raw["val"], val_target)
    return fitted.kind, calibration.state_of(fitted), {split: fitted.probs(rows) for split, rows in raw.items()}


def _checked(split: str, scores: ArrayLike, target: ArrayLike, task: Task) -> Floats:
    rows = np.asarray(scores, dtype=np.float64).copy()  # torch refuses some views
    if rows.ndim != 2 or rows.shape[1] != task.n_scores or np.shape(target) != rows.shape[:1] or not len(rows):
        raise ValueError(
            f"split {split!r} needs scores (N, {task.n_scores}) and target (N,) with N >= 1, "
            f"got {rows.shape} and {np.shape(target)}"
        )
    if not np.isfinite(rows).all():
        raise ValueError(f"split {split!r} needs finite scores, got {int((~np.isfinite(rows)).sum())} that are not")
    return rows


def _array(tensor: Tensor) -> Floats:
    return tensor.detach().cpu().numpy().astype(np.float64, copy=False)
