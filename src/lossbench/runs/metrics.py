"""The final evaluation's torchmetrics: those that lossbench ships, and a person's own among a config's."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from lossbench.config.build import blame, build_component
from lossbench.config.compose import conf_dir
from lossbench.task import Task

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


def build_metrics(nodes: Mapping[str, Any], task: Task) -> MetricCollection:
    """Build the torchmetrics of a config's ``metrics`` section for a task."""
    from lossbench.evaluation.collection import build as build_collection  # torchmetrics takes seconds to import

    with blame("metrics"):
        return build_collection(build_component(nodes, "metrics"), task)


def build_added_metrics(nodes: Mapping[str, Any], task: Task) -> MetricCollection | None:
    """Build those metrics alone that a person added to the shipped ones; None without any."""
    added = added_metrics(nodes)
    return build_metrics(added, task) if added else None


def added_metrics(nodes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configs of metrics that are not as lossbench ships them."""
    shipped = shipped_metrics()
    return {name: node for name, node in nodes.items() if shipped.get(name) != node}


def direction_of(nodes: Mapping[str, Any], metric: str, task: Task) -> str | None:
    """Return ``max`` or ``min`` as the metric itself says by ``higher_is_better``; None where it does not."""
    metrics = build_metrics(nodes, task)
    for name in sorted(set(metric.split("/")) & set(nodes)):
        better = metrics[name].higher_is_better if name in metrics else None
        if better is not None:
            return "max" if better else "min"
    return None


@functools.cache
def shipped_metrics() -> dict[Any, Any]:
    """Return the configs of the metrics that lossbench ships, by their names."""
    shipped = OmegaConf.to_container(OmegaConf.load(conf_dir() / "metrics" / "default.yaml"))
    assert isinstance(shipped, dict)
    return shipped
