"""The datasets that a process has drawn: the objectives of a sweep are trained on the same ones."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from lossbench.data.dataset import Dataset

# Bytes that are kept; what was used longest ago goes first, and a larger dataset is kept alone.
_KEPT = 256 << 20
_drawn: OrderedDict[str, Dataset] = OrderedDict()


def dataset(config: Mapping[str, Any]) -> Dataset:
    """Draw a config's data, or find what another objective of this seed has drawn."""
    key = json.dumps({"data": config["data"], "seed": config["seed"]}, sort_keys=True, default=str)
    if key not in _drawn:
        from lossbench.runs.prepare import draw

        found = draw(config)
        while _drawn and sum(map(_bytes, (found, *_drawn.values()))) > _KEPT:
            _drawn.popitem(last=False)
        _drawn[key] = found
    _drawn.move_to_end(key)
    return _drawn[key]


def _bytes(drawn: Dataset) -> int:
    splits = [rows for rows in (drawn.train, drawn.val, drawn.test) if rows is not None]
    return sum(array.nbytes for rows in splits for array in vars(rows).values() if array is not None)
