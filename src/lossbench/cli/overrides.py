"""Verbs understand the keys that runs and sweeps are given: ``paths.mlruns=DIR`` is ``--mlruns DIR``."""

from __future__ import annotations

from collections.abc import Sequence

OPTIONS = {
    "paths.mlruns": "--mlruns",
    "tracking.uri": "--uri",
    "tracking.experiment": "--experiment",
    "compare.metric": "--metric",
    "compare.baseline": "--baseline",
    "compare.direction": "--direction",
    "compare.rope": "--rope",
}


def as_options(arguments: Sequence[str]) -> list[str]:
    """Return a verb's arguments with every override as the option that it stands for, and no ``traceback=...``.

    >>> as_options(["last", "paths.mlruns=runs", "traceback=true", "--metric", "test/f1"])
    ['last', '--mlruns=runs', '--metric', 'test/f1']
    """
    options = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key in OPTIONS and "=" in argument:
            options.append(f"{OPTIONS[key]}={value}")
        elif not (key == "traceback" and "=" in argument):
            options.append(argument)
    return options


def asks_for_traceback(arguments: Sequence[str]) -> bool:
    """Whether ``traceback=true`` is among the arguments, in any of the ways that Hydra reads it."""
    return any(argument.lower() in _TRUE for argument in arguments)


_TRUE = ("traceback=true", "traceback=1", "traceback=yes", "traceback=on")
