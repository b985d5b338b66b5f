"""A trained model as one file of tensors and plain containers, which loading never executes."""

from __future__ import annotations

import io
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import torch
from torch import nn

from lossbench.errors import UserError

if TYPE_CHECKING:
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


def load(source: str | Path | BinaryIO, name: str = "") -> dict[str, Any]:
    """Return what :func:`dump` wrote; nothing in the file is executed.

    Parameters
    ----------
    source
        A path, or an open file.
    name
        What messages call it; its path, unless given.

    Raises
    ------
    UserError
        For a file that holds anything but tensors and plain containers, or that is no model of this format.
    """
    name = name or str(source)
    try:
        with warnings.catch_warnings():
            # About the protocol of a pickle that is refused a moment later.
            warnings.simplefilter("ignore")
            content = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        name_in_file = re.search(r"GLOBAL (\S+)", str(error))
        what = f"names {name_in_file[1]!r}" if name_in_file else "holds more than tensors and plain containers"
        raise UserError(f"{name} is refused: it {what}, and loading a model never runs code") from error
    except OSError as error:
        raise UserError(f"{name} cannot be read: {error.strerror or error}") from error
    except (RuntimeError, EOFError, ValueError, LookupError, AttributeError) as error:
        raise UserError(f"{name} is no model file, or a broken one") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{name} is no model of format {FORMAT}, which this release of lossbench reads")
    return content
