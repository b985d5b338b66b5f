"""The sources that a model needs where lossbench is not installed: found by their imports, copied as they are."""

from __future__ import annotations

import ast
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parent.parent
# What reads and asks a model's file.
_READS = "lossbench.inference.predictor"
_DISTRIBUTIONS = {"sklearn": "scikit-learn"}


def needed(*parts: Any) -> tuple[set[str], list[str]]:
    """Return the modules of lossbench that a model of these configs needs, and the other packages that they import.

    Only what is imported in the end counts, so the sources stay a few dozen files.
    """
    waiting = [_READS, *(module for part in parts for module in _named(part))]
    modules: set[str] = set()
    foreign: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module in modules:
            continue
        modules.add(module)
        for name in _imports(ast.parse(_file(module).read_text(encoding="utf-8"))):
            root = name.split(".", 1)[0]
            if root == "lossbench":
                waiting.append(_module(name))
            elif root not in sys.stdlib_module_names:
                foreign.add(root)
    return modules, sorted(foreign)


def requirements(packages: Iterable[str], more: Iterable[str] = ()) -> list[str]:
    """Return pip's lines that pin packages, by their import names, to the installed versions.

    A local version (torch's ``2.13.0+cpu``) is no name that an index knows; its public part is.
    """
    names = [_DISTRIBUTIONS.get(package, package) for package in packages]
    return [f"{name}=={version(name).partition('+')[0]}" for name in names] + list(more)


def copy(modules: Iterable[str], folder: Path, beside: Iterable[Path] = ()) -> None:
    """Copy modules as a package of the same name into a folder, and a person's own files and folders beside it."""
    for module in modules:
        source = _file(module)
        target = folder / "lossbench" / source.relative_to(PACKAGE)
        for package in [target.parent, *target.parent.parents]:
            if package == folder:
                break
            package.mkdir(parents=True, exist_ok=True)
            (package / "__init__.py").touch()
        if source.name != "__init__.py":
            shutil.copyfile(source, target)
    for path in beside:
        if path.is_dir():
            shutil.copytree(path, folder / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(path, folder / path.name)


def _named(part: Any) -> Iterator[str]:
    """Yield the modules of lossbench that a config's targets are in."""
    if isinstance(part, Mapping):
        target = part.get("_target_")
        if isinstance(target, str) and target.startswith("lossbench."):
            yield _module(target)
        for value in part.values():
            yield from _named(value)
    elif isinstance(part, (list, tuple)):
        for value in part:
            yield from _named(value)


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        else:
            yield from _imports(node)


def _module(name: str) -> str:
    """Return the module that a dotted name is, or is in."""
    parts = name.split(".")
    while len(parts) > 1 and not _path(parts).is_file():
        parts.pop()
    return ".".join(parts)


def _file(module: str) -> Path:
    parts = module.split(".")
    found = _path(parts)
    return found if found.is_file() else PACKAGE.joinpath(*parts[1:], "__init__.py")


def _path(parts: list[str]) -> Path:
    return PACKAGE.joinpath(*parts[1:]).with_suffix(".py") if len(parts) > 1 else PACKAGE / "__init__.py"
