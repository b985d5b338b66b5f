"""Digests of the files and modules that a config refers to."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from lossbench.config.identity import fingerprint, identity

# Whoever changes these installs another version, which the record names.
_VERSIONED = {*sys.stdlib_module_names, "hydra", "lossbench", "torch", "lightning", "torchmetrics", "numpy", "sklearn"}
_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_INSTALLED = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def job_identity(config: Mapping[str, Any], data_digest: str = "") -> str:
    """Return the hash of all that decides a job's result: its config, its data, the modules that are a person's own.

    Its parts have been built, so that their modules are known. Every dotted name among the config's values counts, not
    those under ``_target_`` alone: ``hydra.utils.get_method`` takes one as ``path``.

    Parameters
    ----------
    data_digest
        Of a draw of its data, where there is one: it covers what a source reads from files that its config does not
        name.
    """
    texts = sorted(set(_texts(identity(config).values())))
    digests = [_module_digest(text) for text in texts if _DOTTED.fullmatch(text)] + [
        _file_digest(text) for text in texts
    ]
    parts = [fingerprint(config), data_digest, *(digest for digest in digests if digest is not None)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def watched(configs: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the digest of every file that decides these jobs' results, by its path, for `changed`.

    The modules of a person's own are among them as far as this process has imported them.
    """
    forget()
    texts = {text for config in configs for text in _texts(identity(config).values())}
    modules = {module for text in texts if _DOTTED.fullmatch(text) and (module := _own_module(text)) is not None}
    sources = {str(path) for module in modules for path in _sources(module)}
    files = {name: _file_digest(name) for name in texts | sources}
    return {name: digest for name, digest in files.items() if digest is not None}


def changed(before: Mapping[str, str]) -> list[str]:
    """Return the paths of those files that have other contents now, or are gone."""
    forget()
    return sorted(name for name, digest in before.items() if _file_digest(name) != digest)


def forget() -> None:
    """Forget all digests, since files and modules may have changed since another sweep of this process."""
    _module_digest.cache_clear()
    _file_digest.cache_clear()


def _texts(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from _texts(value)
        elif isinstance(value, Mapping):
            yield from _texts(value.values())


@cache
def _file_digest(name: str) -> str | None:
    """Return the hash of a file that a value names; None where it names none."""
    try:
        path = Path(name)
        if not name or not path.is_file():
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):  # a value that is no path, or a file that cannot be read: the job will say so
        return None


@cache
def _module_digest(target: str) -> str | None:
    """Return the hash of the source behind a dotted name and of the person's own modules that it uses."""
    module = _own_module(target)
    if module is None:
        return None
    hashed = hashlib.sha256()
    for path in _sources(module):
        hashed.update(path.read_bytes())
    return hashed.hexdigest()


def _own_module(target: str) -> ModuleType | None:
    return None if target.partition(".")[0] in _VERSIONED else _module_of(target)


def _sources(module: ModuleType) -> list[Path]:
    return sorted({path for each in _with_used(module, set()) if (path := _source(each)) is not None})


def _module_of(target: str) -> ModuleType | None:
    """Return the module that a dotted name lies in; it has been imported, since the job's parts were built."""
    name = target
    while name and name not in sys.modules:
        name = name.rpartition(".")[0]
    return sys.modules.get(name)


def _with_used(module: ModuleType, seen: set[str]) -> Iterator[ModuleType]:
    """Yield a module and those that it has names from, as far as they are not installed packages."""
    seen.add(module.__name__)
    yield module
    for value in list(vars(module).values()):
        name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        used = sys.modules.get(name) if isinstance(name, str) else None
        if used is None or used.__name__ in seen or used.__name__.partition(".")[0] in _VERSIONED:
            continue
        source = _source(used)
        if source is not None and not str(source).startswith(_INSTALLED):
            yield from _with_used(used, seen)


def _source(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    path = Path(file) if file else None
    return path if path is not None and path.suffix == ".py" and path.is_file() else None
