"""The final evaluation's torchmetrics: those that lossbench ships, and a person's own among a config's."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from lossbench.config.build import blame, build_component
from lossbench.config.compose import conf_dir
from lossbench.errors import UserError
from lossbench.evaluation.catalogue import FACTS, METRICS, AddedMetric, checked_direction, checked_rope, without_facts
from lossbench.task import Task

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


def build_metrics(nodes: Mapping[str, Any], task: Task) -> MetricCollection:
    """Build the torchmetrics of a config's ``metrics`` section for a task."""
    from lossbench.evaluation.collection import build as build_collection  # torchmetrics takes seconds to import

    for name, node in nodes.items():
        if isinstance(node, Mapping):
            _written_facts(name, node)
    with blame("metrics"):
        return build_collection(build_component(without_facts(nodes), "metrics"), task)


def build_added_metrics(nodes: Mapping[str, Any], task: Task) -> MetricCollection | None:
    """Build those metrics alone that a person added to the shipped ones; None without any."""
    added = added_metrics(nodes)
    return build_metrics(added, task) if added else None


def added_metrics(nodes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configs of metrics that are not as lossbench ships them."""
    shipped = shipped_metrics()
    return {name: node for name, node in nodes.items() if shipped.get(name) != node}


def added_facts(nodes: Mapping[str, Any], task: Task) -> dict[str, AddedMetric]:
    """Return what is known of a config's added metrics: what their YAML says, else their own ``higher_is_better``."""
    added = {name: node for name, node in added_metrics(nodes).items() if name not in METRICS}
    if not added:
        return {}
    built = build_metrics(added, task)
    facts = {name: _written_facts(name, node) for name, node in added.items()}
    for name, written in facts.items():
        higher = built[name].higher_is_better if name in built else None
        if written.better is None and higher is not None:
            facts[name] = replace(written, better="max" if higher else "min")
    return facts


def _written_facts(name: str, node: Mapping[str, Any]) -> AddedMetric:
    """Return what the YAML of an added metric says of it beside its arguments."""
    written = {key: node[key] for key in FACTS if node.get(key) is not None}
    if written and name in METRICS:
        key = next(iter(written))
        raise UserError(f"metrics.{name}.{key} is for metrics of your own, and {name} is built in: "
                        f"say compare.{'direction' if key == 'better' else key}={written[key]}")  # fmt: skip
    better, rope = written.get("better"), written.get("rope")
    return AddedMetric(
        None if better is None else checked_direction(f"metrics.{name}.better", better),
        None if rope is None else checked_rope(f"metrics.{name}.rope", rope),
    )


@functools.cache
def shipped_metrics() -> dict[Any, Any]:
    """Return the configs of the metrics that lossbench ships, by their names."""
    shipped = OmegaConf.to_container(OmegaConf.load(conf_dir() / "metrics" / "default.yaml"))
    assert isinstance(shipped, dict)
    return shipped
