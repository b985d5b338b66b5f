"""The final evaluation as a torchmetrics MetricCollection, which is where users add metrics of their own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from lossbench.errors import CannotServe
from lossbench.evaluation import metrics as builtin
from lossbench.task import Task


def build(metrics: Mapping[str, Metric | Callable[..., Metric]], task: Task) -> MetricCollection:
    """Return the collection for a task from what ``conf/metrics`` instantiates to.

    Each entry is a metric, or a class or partial that builds one; ``task`` (``binary``, ``multiclass``) and
    ``num_classes`` are passed to those whose signature has them. The collection is tried on a few
    random rows, so that a broken metric fails here and not after training. A metric that raises `CannotServe` is left
    out.

    Raises
    ------
    ValueError
        For an entry that is no torchmetrics Metric or cannot compute the task, and for one with the name of a built-in
        metric but another value, or a name that torch's modules reserve.

    Examples
    --------
    >>> from torchmetrics import Specificity
    >>> task = Task(n_features=2, class_names=("outer", "inner"), class_counts=(60, 20))
    >>> collection = build({"specificity": Specificity}, task)
    >>> measure(collection, [0, 0, 1], [[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]], task)
    {'specificity': 0.5}
    """
    built: dict[str, Metric] = {}
    with _double_precision():
        for name, metric in metrics.items():
            try:
                built[name] = _build_one(name, metric, task)
            except CannotServe:
                continue
        # torchmetrics lets metrics share a state where the *first* update made their states equal, which is wrong if a
        # later split does not (accuracy at two thresholds).
        collection = MetricCollection(dict(built), compute_groups=False)
        collection.set_dtype(torch.float64)  # counts too: torchmetrics would divide them in float32
    _try(collection, task)
    return collection


def measure(collection: MetricCollection, target: ArrayLike, probs: ArrayLike, task: Task) -> dict[str, float]:
    """Return the collection's values on one split.

    Metrics receive by name what their ``update`` takes: ``preds`` (the positive probability (N,) of two
    classes, (N, K) of more, as torchmetrics' tasks expect), ``probs`` (N, K), ``target`` (N,).
    Probabilities are float64, clamped to [0, 1], since torchmetrics takes anything outside for a logit.

    A value per class becomes ``<name>/<class name>``, a dict ``<name>/<key>``. A built-in metric that is
    undefined for the target is NaN (torchmetrics would return 0, and warn).

    Raises
    ------
    ValueError
        For a value that is neither a number, nor one per class, nor a dict of numbers.
    """
    labels = torch.from_numpy(np.asarray(target, dtype=np.int64).copy())  # torch refuses some views
    columns = torch.from_numpy(np.asarray(probs, dtype=np.float64).copy()).clamp(0, 1)
    preds = columns[:, 1] if task.binary else columns
    undefined = builtin.explain_undefined(np.asarray(target), task.n_classes)
    values: dict[str, float] = {}
    with _double_precision():
        collection.reset()
        collection.update(preds=preds, probs=columns, target=labels)
        for name, metric in collection.items(copy_state=False):
            value = float("nan") if name in undefined else metric.compute()
            values |= _flat(name, value, task)
        collection.reset()
    return values


def _build_one(name: str, metric: object, task: Task) -> Metric:
    if hasattr(MetricCollection, name):
        raise ValueError(f"metric {name!r} needs another name: torch.nn.Module has a {name!r} of its own")
    if isinstance(metric, Metric):
        return metric
    if not callable(metric):
        raise ValueError(f"metric {name!r} needs a torchmetrics Metric, or what makes one, got {metric!r}")
    offered = {"task": "binary" if task.binary else "multiclass", "num_classes": task.n_classes}
    bound = metric.keywords if isinstance(metric, partial) else {}
    taken = inspect.signature(metric).parameters
    built = metric(**{key: value for key, value in offered.items() if key in taken and key not in bound})
    if not isinstance(built, Metric):
        raise ValueError(f"metric {name!r} needs a torchmetrics Metric, got {type(built).__name__}")
    return built


def _try(collection: MetricCollection, task: Task) -> None:
    draw = np.random.default_rng(0)
    target = np.repeat(np.arange(task.n_classes), 5 + 3 * np.arange(task.n_classes))
    probs = draw.dirichlet(np.ones(task.n_classes), size=len(target))
    ours = builtin.compute(target, probs[None])
    try:
        values = measure(collection, target, probs, task)
    except Exception as error:
        raise ValueError(
            f"conf/metrics cannot compute {task.n_classes} classes: {' '.join(str(error).split())}"
        ) from error
    for name in ours.keys() & values.keys():
        if not np.isclose(values[name], ours[name][0], rtol=0, atol=1e-6):
            raise ValueError(
                f"metric {name!r} needs another name: it says {values[name]:.6g} where the built-in one "
                f"of that name says {ours[name][0]:.6g}"
            )


def _flat(name: str, value: object, task: Task) -> dict[str, float]:
    if isinstance(value, Mapping):
        return {key: entry for k, v in value.items() for key, entry in _flat(f"{name}/{k}", v, task).items()}
    if isinstance(value, Tensor) and value.shape == (task.n_classes,):
        return {f"{name}/{k}": float(v) for k, v in zip(task.class_names, value, strict=True)}
    if isinstance(value, Tensor) and value.numel() != 1:
        raise ValueError(f"metric {name!r} needs a number or one per class, got shape {tuple(value.shape)}")
    return {name: float(value)}  # type: ignore[arg-type]


@contextmanager
def _double_precision() -> Iterator[None]:
    """Divide integers in float64: torchmetrics' curves do it in torch's default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
