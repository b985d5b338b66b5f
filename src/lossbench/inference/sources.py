"""What an exported model brings along to a place without lossbench: this package, and what pip has to install."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parent.parent
# The distributions that `inference.predictor` imports; tests/test_walls.py holds it to them.
DISTRIBUTIONS = ("numpy", "pandas", "scipy", "scikit-learn", "torch")


def requirements(*parts: Any, brought: Iterable[str] = ()) -> list[str]:
    """Return pip's lines for a model of these configs, pinned to the installed versions.

    Beside our own packages these are the ones that the configs' ``_target_``s come from.

    Parameters
    ----------
    parts
        Configs of the model's parts.
    brought
        Modules that travel with the model, so that nobody has to install them.
    """
    foreign = {target.partition(".")[0] for part in parts for target in _targets(part)} - {
        "lossbench",
        "torch",
        *brought,
    }
    by_package = packages_distributions() if foreign else {}
    more = {name for package in foreign for name in by_package.get(package, [])} - set(DISTRIBUTIONS)
    # A local version (torch's ``2.13.0+cpu``) is no name that an index knows; its public part is.
    return [f"{name}=={version(name).partition('+')[0]}" for name in (*DISTRIBUTIONS, *sorted(more))]


def copy_sources(folder: Path, beside: Iterable[Path] = ()) -> None:
    """Copy lossbench's own sources into a folder, and a person's own modules and packages beside it."""
    # The YAMLs of a wheel lie within its package, and no model reads them.
    shutil.copytree(PACKAGE, folder / "lossbench", ignore=shutil.ignore_patterns("__pycache__", "conf"))
    for path in beside:
        if path.is_dir():
            shutil.copytree(path, folder / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(path, folder / path.name)


def _targets(part: Any) -> Iterator[str]:
    """Yield each ``_target_`` of a config."""
    if isinstance(part, Mapping):
        if isinstance(part.get("_target_"), str):
            yield part["_target_"]
        part = list(part.values())
    if isinstance(part, list | tuple):
        for value in part:
            yield from _targets(value)
