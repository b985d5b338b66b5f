"""Rows that nothing trained: the Bayes rule, where it is known, and the class prior, on the same test draws."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lossbench.data.dataset import Dataset

BAYES, CLASS_PRIOR = "Bayes rule", "class prior"


def reference_metrics(dataset: Dataset, added: Any = None) -> dict[str, dict[str, float]]:
    """Return the metrics of every reference that a dataset has, by its name; ``added`` are a person's own.

    The class prior says the training split's class frequencies for every row: the floor. The Bayes rule says the true
    posterior: no training can beat it but by luck of the draw.
    """
    from lossbench.evaluation import metrics

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


def distinct_data(configs: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return one config for every distinct data and seed."""
    return list({json.dumps(_judged_on(config), sort_keys=True, default=str): config for config in configs}.values())


def record_references(sweep: str, configs: Sequence[Mapping[str, Any]]) -> None:
    """Record the references of the data of each of these configs, as untrained children of a sweep."""
    # Late: who says which data are distinct does without torch.
    from lossbench import draws, preparation, recording
    from lossbench.tracking.run import RunRecord

    store = recording.store_of(configs[0])
    for config in configs:
        fold = config["data"].get("fold")
        dataset, added = draws.dataset(config), preparation.added_metrics(config)
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
                hold=True,
            )
            record.finish(values)


def _judged_on(config: Mapping[str, Any]) -> list[Any]:
    """Return what decides the rows that references are judged on; how training batches them does not."""
    data = {key: value for key, value in config["data"].items() if key not in ("batch_size", "sampler")}
    return [data, config["seed"]]
