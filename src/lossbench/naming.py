"""Names of objectives and runs: what varies in a sweep, apart from seed and fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lossbench.composition import REPLICATE_KEYS, identity

PARTS = ("loss", "weighting", "regularizer")
OTHERS = ("data", "model", "optimizer", "scheduler", "trainer")


def objective_labels(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name each config's objective by what varies among all of them, such as ``focal gamma=5 · l2``.

    The loss always has its name; weighting and regularizer where they are not ``none``; every other choice where it
    varies; and a setting where it varies among configs that made the same choices.
    """
    choices = [{part: str(config["choices"].get(part)) for part in (*PARTS, *OTHERS)} for config in configs]
    settings = [
        {key: value for key, value in identity(config, REPLICATE_KEYS).items() if not key.endswith("_target_")}
        for config in configs
    ]
    varying = {part for part in OTHERS if len({choice[part] for choice in choices}) > 1}
    values: dict[tuple[str, str | None], set[str]] = {}
    for choice, setting in zip(choices, settings, strict=True):
        for key, value in setting.items():
            values.setdefault(_scope(key, choice), set()).add(repr(value))

    labels = []
    for choice, setting in zip(choices, settings, strict=True):
        own: dict[str, list[str]] = {}
        for key, value in setting.items():
            if len(values[_scope(key, choice)]) > 1:
                group, _, rest = key.partition(".")
                named = group in PARTS
                own.setdefault(group if named else "", []).append(f"{rest if named else key}={value}")
        parts = [choice["loss"]]
        parts += [choice[part] for part in PARTS[1:] if choice[part] != "none"]
        named_parts = [part for part in PARTS if part == "loss" or choice[part] != "none"]
        texts = [" ".join([text, *own.get(part, [])]) for text, part in zip(parts, named_parts, strict=True)]
        texts += [choice[part] for part in OTHERS if part in varying]
        texts += own.get("", [])
        labels.append(" · ".join(texts))
    return labels


def _scope(key: str, choice: Mapping[str, str]) -> tuple[str, str | None]:
    """A setting is compared among configs with the same choice: focal's gamma does not vary because brier has none."""
    return key, choice.get(key.partition(".")[0])


def run_name(config: Mapping[str, Any], objective: str) -> str:
    """Name one run, such as ``s3 · focal · l2`` or ``s0 f2 · focal``.

    >>> run_name({"seed": 3, "data": {"fold": None}}, "focal")
    's3 · focal'
    """
    fold = config["data"].get("fold")
    return f"s{config['seed']}{'' if fold is None else f' f{fold}'} · {objective}"


def sweep_name(configs: Sequence[Mapping[str, Any]]) -> str:
    """Name a sweep that has no document of its own by the choices that vary in it, such as ``loss x regularizer``."""
    varying = [part for part in (*PARTS, *OTHERS) if len({str(config["choices"].get(part)) for config in configs}) > 1]
    data = sorted({str(config["choices"].get("data")) for config in configs})
    return f"{' x '.join(part for part in varying if part != 'data') or 'seeds'} on {', '.join(data)}"
