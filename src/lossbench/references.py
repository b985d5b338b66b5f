"""Rows that nothing trained: the Bayes rule, where it is known, and the class prior, on the same test draws."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from lossbench import experiment, preparation
from lossbench.data.dataset import Dataset
from lossbench.evaluation import metrics
from lossbench.tracking.run import RunRecord
from lossbench.tracking.store import Store

BAYES, CLASS_PRIOR = "Bayes rule", "class prior"


def reference_metrics(dataset: Dataset, added: Any = None) -> dict[str, dict[str, float]]:
    """Return the metrics of every reference that a dataset has, by its name; ``added`` are a person's own.

    The class prior says the training split's class frequencies for every row: the floor. The Bayes rule says the true
    posterior: no training can beat it but by luck of the draw.
    """
    result: dict[str, dict[str, float]] = {}
    for split, rows in (("val", dataset.val), ("test", dataset.test)):
        if rows is None:
            continue
        says = {CLASS_PRIOR: np.tile(dataset.task.priors, (len(rows), 1))}
        if dataset.bayes is not None:
            says[BAYES] = dataset.bayes(dataset.raw(rows))
        for name, probs in says.items():
            values = {key: float(value[0]) for key, value in metrics.compute(rows.y, probs[None]).items()}
            if added is not None:
                from lossbench.evaluation.collection import measure  # torchmetrics takes seconds to import

                values |= measure(added, rows.y, probs, dataset.task)
            result.setdefault(name, {}).update({f"{split}/{key}": value for key, value in values.items()})
    return result


def record_references(store: Store, sweep: str, configs: Iterable[Mapping[str, Any]]) -> None:
    """Record the references of every distinct data and seed of a sweep, as untrained children of it."""
    distinct = {json.dumps(_judged_on(config), sort_keys=True, default=str): config for config in configs}
    for config in distinct.values():
        fold = config["data"].get("fold")
        dataset, added = experiment.draw(config), preparation.added_metrics(config)
        own = preparation.collection({"metrics": added}, dataset.task) if added else None
        for name, values in reference_metrics(dataset, own).items():
            record = RunRecord.start(
                store,
                f"s{config['seed']}{'' if fold is None else f' f{fold}'} · {name}",
                role="reference",
                params={
                    "data": config["choices"].get("data"),
                    "seed": config["seed"],
                    **({} if fold is None else {"fold": fold}),
                },
                parent=sweep,
                sweep=sweep,
                objective=name,
            )
            record.finish(values)


def _judged_on(config: Mapping[str, Any]) -> list[Any]:
    """Return what decides the rows that references are judged on; how training batches them does not."""
    data = {key: value for key, value in config["data"].items() if key not in ("batch_size", "sampler")}
    return [data, config["seed"]]
