"""The datasets that a process has prepared: the objectives of a sweep are trained on the same ones."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from lossbench.data.dataset import Dataset

# Bytes that are kept; what was used longest ago goes first, and a larger dataset is kept alone.
_KEPT = 256 << 20
_prepared: OrderedDict[str, Dataset] = OrderedDict()


def dataset_of(data: Mapping[str, Any], seed: int) -> Dataset:
    """Return what a ``data`` section draws, drawn once for all objectives of a seed."""
    key = json.dumps({"data": data, "seed": seed}, sort_keys=True, default=str)
    if key not in _prepared:
        from lossbench.runs.prepare import prepare_data

        dataset = prepare_data(data)
        while _prepared and sum(map(_bytes, (dataset, *_prepared.values()))) > _KEPT:
            _prepared.popitem(last=False)
        _prepared[key] = dataset
    _prepared.move_to_end(key)
    return _prepared[key]


def _bytes(dataset: Dataset) -> int:
    splits = [rows for rows in (dataset.train, dataset.val, dataset.test) if rows is not None]
    return sum(array.nbytes for rows in splits for array in vars(rows).values() if array is not None)
