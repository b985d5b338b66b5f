"""The search space of an objective: the documents of its components, and a person's changes to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from lossbench.config.identity import flatten
from lossbench.errors import UserError
from lossbench.sweep.tuning.domain import KEYS, Domain

# A group's document is search/<group>.yaml, with a key for each of its components.
GROUPS = ("loss", "weighting", "regularizer", "model", "optimizer", "scheduler", "training", "data")

Documents = Callable[[str], Mapping[str, Any]]


def read_space(
    config: Mapping[str, Any], documents: Documents, changes: Mapping[str, Any], fixed: Sequence[str]
) -> list[Domain]:
    """Return what is tuned in an objective, in the order of its groups.

    Parameters
    ----------
    config
        One of its composed configs.
    documents
        Returns the document at a path such as ``search/loss``; empty where there is none.
    changes
        ``tuning.space``: by dotted key what a document says otherwise, or null for what is not to be tuned. A change of
        a key that this config lacks is another objective's.
    fixed
        Dotted keys that are not tuned, since a person has set or swept them.

    Raises
    ------
    UserError
        For a document that is none, a key that the config lacks, or an objective in which nothing is left to tune.
    """
    keys = dict(flatten(config)).keys()
    spaces = _read_documents(config, documents)
    for key in spaces:
        if key not in keys:
            raise UserError(f"{_path(key.partition('.')[0])}: the search space of {key}: this config has no such key")
    for key, document in _leaves(changes):
        if key not in keys:
            continue
        if document is None:
            spaces.pop(key, None)
        else:
            whole = "choices" in document or "choices" in spaces.get(key, {})
            spaces[key] = dict(document) if whole else {**spaces.get(key, {}), **document}
    domains = [Domain.read(key, document) for key, document in spaces.items() if key not in fixed]
    if not domains:
        raise UserError(
            f"nothing is left to tune in loss={config['choices'].get('loss')}: "
            f"its parts have no search space in {_path('<group>')}, or all their keys are set"
        )
    return domains


def encode_start(domains: Sequence[Domain], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers that Optuna has to draw first, which stand for the setting that the config has."""
    values = dict(flatten(config))
    return {domain.key: domain.drawn(values[domain.key]) for domain in domains}


def check_changes(changes: Mapping[str, Any], configs: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a change of the space that concerns no objective at all."""
    for key, _ in _leaves(changes):
        if not any(key in dict(flatten(config)) for config in configs):
            raise UserError(f"tuning.space.{key}: no objective of this sweep has the key {key}")


def _read_documents(config: Mapping[str, Any], documents: Documents) -> dict[str, Mapping[str, Any]]:
    spaces: dict[str, Mapping[str, Any]] = {}
    for group in GROUPS:
        document = documents(f"search/{group}")
        # Of regularizers there can be several.
        names = list(config["regularizer"]) if group == "regularizer" else [config["choices"].get(group)]
        for name in names:
            prefix = f"{group}.{name}." if group == "regularizer" else f"{group}."
            keys = document.get(name) or {}
            if not isinstance(keys, Mapping):
                raise UserError(f"{_path(group)}: {name} needs a mapping of its hyperparameters, got {keys!r}")
            spaces |= {key: domain for key, domain in _leaves(keys, prefix) if domain is not None}
    return spaces


def _path(group: str) -> str:
    return f"conf/search/{group}.yaml"


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """Yield (dotted key, what it may be); what is no domain is a level of keys."""
    for name, value in node.items():
        key = f"{prefix}{name}"
        if value is None:
            yield key, None
        elif not isinstance(value, Mapping):
            raise UserError(f"the search space of {key} is a mapping such as {{low: 0, high: 1}}, got {value!r}")
        elif KEYS & set(value):
            yield key, value
        else:
            yield from _leaves(value, f"{key}.")
