"""Record the runs that nothing trained: the Bayes rule, where it is known, and the class prior, on the same rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def distinct_data(configs: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return one config for every distinct data and seed."""
    return list({json.dumps(_key_of_data(config), sort_keys=True, default=str): config for config in configs}.values())


def record_references(sweep: str, configs: Sequence[Mapping[str, Any]]) -> None:
    """Record the references of the data of each of these configs, as untrained children of a sweep."""
    from lossbench.evaluation.references import measure_references

    # Late: who says which data are distinct does without torch.
    from lossbench.runs import dataset_cache
    from lossbench.runs.metrics import build_added_metrics
    from lossbench.runs.record import store_of
    from lossbench.runs.settings import read_settings
    from lossbench.tracking.run import RunRecord
    from lossbench.tracking.schema import Role

    store = store_of(read_settings(configs[0]))
    for config in configs:
        fold = config["data"].get("fold")
        dataset = dataset_cache.dataset_of(config["data"], config["seed"])
        added = build_added_metrics(config["metrics"], dataset.task)
        for name, values in measure_references(dataset, added).items():
            record = RunRecord.start(
                store,
                f"s{config['seed']}{'' if fold is None else f' f{fold}'} · {name}",
                role=Role.REFERENCE,
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


def _key_of_data(config: Mapping[str, Any]) -> list[Any]:
    """Return what decides the rows that references are judged on; how training batches them does not."""
    data = {key: value for key, value in config["data"].items() if key not in ("batch_size", "sampler")}
    return [data, config["seed"]]
