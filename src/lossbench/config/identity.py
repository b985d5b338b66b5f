"""What identifies the job that a config describes, and the parameters that a person compares."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# What a job writes or shows, and what its sweep writes into its config, does not change what it computes.
NOT_IDENTITY = ("paths", "tracking", "job", "traceback", "compare", "choices", "ckpt_path", "export", "sweep")


# One objective's runs differ in these alone.
REPLICATE_KEYS = ("seed", "data.fold", "data.source_seed", "data.split_seed")


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, leaf value); an empty mapping and a list are leaves.

    >>> list(flatten({"loss": {"gamma": 2}, "seed": 0}))
    [('loss.gamma', 2), ('seed', 0)]
    """
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{name}.")
        else:
            yield name, value


def identity(config: Mapping[str, Any], without: Iterable[str] = ()) -> dict[str, Any]:
    """Return the flat part of a config that determines the result, without some dotted keys."""
    dropped = set(without)
    return {
        key: value for key, value in flatten(config) if key.split(".", 1)[0] not in NOT_IDENTITY and key not in dropped
    }


def fingerprint(config: Mapping[str, Any], without: Iterable[str] = ()) -> str:
    """Return the hash that identifies a job; two configs with one fingerprint compute the same."""
    text = json.dumps(identity(config, without), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def objective_fingerprint(config: Mapping[str, Any]) -> str:
    """Return the hash of all that varies apart from seed and fold."""
    return fingerprint(config, REPLICATE_KEYS)


def parameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the short, flat parameters that a person compares: the choices' names and their settings."""
    choices = config["choices"]
    named = {
        group: choices[group]
        for group in (
            "data",
            "model",
            "loss",
            "weighting",
            "regularizer",
            "optimizer",
            "scheduler",
            "trainer",
        )
        if group in choices
    }
    settings = {
        key: value
        for group in (
            "data",
            "model",
            "loss",
            "weighting",
            "regularizer",
            "optimizer",
            "scheduler",
            "training",
        )
        for key, value in flatten({group: config.get(group) or {}})
        if not key.endswith(("_target_", "_partial_")) and value != {} and key != "data.fold"
    }
    fold = config["data"].get("fold")
    return {
        **named,
        **settings,
        "seed": config["seed"],
        **({} if fold is None else {"fold": fold}),
        "epochs": config["trainer"]["max_epochs"],
        "select.metric": config["select"]["metric"],
    }
