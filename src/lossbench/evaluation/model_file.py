"""A trained model as one file of tensors and plain containers, which loading never executes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lossbench.data.dataset import Dataset
from lossbench.evaluation.evaluation import Evaluation

FORMAT = 2


def dump(
    config: Mapping[str, Any],
    dataset: Dataset,
    network: nn.Module,
    objective: nn.Module,
    evaluation: Evaluation,
    selected_epoch: int,
) -> bytes:
    """Return the file's bytes: network, loss, preprocessing, posterior or calibrator, thresholds."""
    task = dataset.task
    content = {
        "format": FORMAT,
        "config": dict(config),
        "selected_epoch": selected_epoch,
        "network": network.state_dict(),
        "objective": objective.state_dict(),
        "task": {
            "n_features": task.n_features,
            "class_names": list(task.class_names),
            "class_counts": list(task.class_counts),
        },
        "preprocessing": dataset.preprocessing.state,
        "posterior": {
            "kind": evaluation.posterior_kind,
            "state": {key: torch.as_tensor(value) for key, value in evaluation.posterior_state.items()},
        },
        "thresholds": dict(evaluation.thresholds),
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def load(path: str | Path) -> dict[str, Any]:
    """Return what :func:`dump` wrote; nothing in the file is executed.

    Raises
    ------
    ValueError
        For a file of another format.
    """
    content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path} is no model of format {FORMAT} that lossbench wrote")
    return content
