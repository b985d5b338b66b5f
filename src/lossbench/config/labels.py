"""Names of objectives and runs: what varies in a sweep, apart from seed and fold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lossbench.config.identity import REPLICATE_KEYS, identity

PARTS = ("loss", "weighting", "regularizer")
OTHERS = ("data", "model", "optimizer", "scheduler", "trainer")


def objective_labels(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name each config's objective by what varies among all of them, such as ``focal gamma=5 · l2``.

    The loss always has its name; weighting and regularizer where they are not ``none``; every other choice where it
    varies; and a setting where it varies among configs that made the same choices. Two configs have one label only
    where nothing but seed and fold tells them apart.
    """
    choices = [{part: str(config["choices"].get(part)) for part in (*PARTS, *OTHERS)} for config in configs]
    settings = [
        {key: value for key, value in identity(config, REPLICATE_KEYS).items() if value != {}} for config in configs
    ]
    varying_choices = {part for part in OTHERS if len({choice[part] for choice in choices}) > 1}
    varying_settings = _varying(choices, settings)

    labels = []
    for choice, setting in zip(choices, settings, strict=True):
        varying: dict[str, list[str]] = {}
        for key, value in setting.items():
            if _scope(key, choice) in varying_settings:
                group, _, rest = key.partition(".")
                rest = rest.removeprefix(f"{choice.get(group)}.")  # the strength of l2, where l2 stands before it
                text = f"{rest}={_text(value)}" if group in PARTS else f"{key}={_text(value)}"
                varying.setdefault(group if group in PARTS else "", []).append(text)
        shown = [part for part in PARTS if part == "loss" or choice[part] != "none" or part in varying]
        texts = [" ".join([choice[part], *varying.get(part, [])]) for part in shown]
        texts += [choice[part] for part in OTHERS if part in varying_choices]
        texts += varying.get("", [])
        labels.append(" · ".join(texts))
    return labels


# A setting is compared among configs with the same choice: focal's gamma does not vary because brier has none.
_Scope = tuple[str, str | None]


def _scope(key: str, choice: Mapping[str, str]) -> _Scope:
    return key, choice.get(key.partition(".")[0])


def _varying(choices: Sequence[Mapping[str, str]], settings: Sequence[Mapping[str, Any]]) -> set[_Scope]:
    """Return the settings that differ, or are missing in some, among the configs of one choice."""
    values: dict[_Scope, set[str]] = {}
    having: Counter[_Scope] = Counter()
    for choice, setting in zip(choices, settings, strict=True):
        for key, value in setting.items():
            values.setdefault(_scope(key, choice), set()).add(repr(value))
            having[_scope(key, choice)] += 1
    alike: Counter[_Scope] = Counter()
    for choice in choices:
        alike.update((group, name) for group, name in choice.items())

    def missing(scope: _Scope) -> bool:
        # A class that is missing where the component is says no more than its settings do.
        key, name = scope
        of_choice = alike[(key.partition(".")[0], name)] if name is not None else len(choices)
        return having[scope] < of_choice and not key.endswith("_target_")

    return {scope for scope, different in values.items() if len(different) > 1 or missing(scope)}


def _text(value: Any) -> str:
    """Return a value as a person would write it in an override.

    >>> _text(None), _text(True), _text(0.5), _text([4, 8])
    ('null', 'true', '0.5', '[4, 8]')
    """
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def run_name(seed: int, fold: int | None, objective: str) -> str:
    """Name one run, such as ``s3 · focal · l2`` or ``s0 f2 · focal``.

    >>> run_name(3, None, "focal"), run_name(0, 2, "focal")
    ('s3 · focal', 's0 f2 · focal')
    """
    return f"s{seed}{'' if fold is None else f' f{fold}'} · {objective}"


def sweep_name(configs: Sequence[Mapping[str, Any]]) -> str:
    """Name a sweep that has no document of its own by the choices that vary in it, such as ``loss x regularizer``."""
    varying = [part for part in (*PARTS, *OTHERS) if len({str(config["choices"].get(part)) for config in configs}) > 1]
    data = sorted({str(config["choices"].get("data")) for config in configs})
    return f"{' x '.join(part for part in varying if part != 'data') or 'seeds'} on {', '.join(data)}"
