"""Build a model's parts from the config in its file, without running whatever the file may name."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from lossbench.errors import UserError

# A config may name layers and losses: classes of these packages that are modules, and functions of these places.
_CLASSES = ("lossbench", "torch.nn")
_FUNCTIONS = ("lossbench.objective", "torch.nn.functional", "torch._C._nn")
# Looked into to find them: importing a module runs it, and the rest of torch is none of a model's business.
_IMPORTED = ("lossbench", "torch.nn", "torch._C._nn")
_KEYS = ("_target_", "_partial_", "_args_", "_convert_", "_recursive_")


def rebuild(node: Any, key: str, *, trust: bool = False, also: tuple[type, ...] = ()) -> Any:
    """Instantiate a config's node as Hydra would, but only what a model may consist of.

    A file from elsewhere could name ``os.system``. So a target has to be a ``torch.nn.Module`` of lossbench or torch,
    or a function of ``lossbench.objective`` or ``torch.nn.functional``, defined where it is said to be; everything
    else is refused before it is imported.

    Parameters
    ----------
    node
        Plain containers, with ``_target_`` where something is built.
    key
        What messages call it.
    trust
        Build whatever is named: the user knows where the file comes from.
    also
        Further base classes of lossbench's that may be built, such as a data source.

    Raises
    ------
    UserError
        For a target outside, one that cannot be found, or arguments that it refuses.

    Examples
    --------
    >>> rebuild({"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 1}, "model")
    Linear(in_features=2, out_features=1, bias=True)
    >>> rebuild({"_target_": "os.system", "command": "true"}, "loss")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    lossbench.errors.UserError: loss names 'os.system', which is no part of lossbench or torch: ...
    """
    if isinstance(node, Mapping):
        built = {
            name: rebuild(value, f"{key}.{name}", trust=trust, also=also)
            for name, value in node.items()
            if name not in _KEYS or name == "_args_"
        }
        if "_target_" not in node:
            return built
        target = _located(node["_target_"], key, trust, also)
        positional = built.pop("_args_", [])
        if node.get("_partial_"):
            return functools.partial(target, *positional, **built)
        try:
            return target(*positional, **built)
        except (TypeError, ValueError) as error:
            raise UserError(f"{key}: {node['_target_']} refuses its arguments: {error}") from error
    if isinstance(node, (list, tuple)):
        return [rebuild(value, f"{key}[{number}]", trust=trust, also=also) for number, value in enumerate(node)]
    return node


def _located(path: Any, key: str, trust: bool, also: tuple[type, ...]) -> Any:
    if not isinstance(path, str) or not all(part.isidentifier() for part in path.split(".")):
        raise UserError(f"{key} needs a dotted name as its _target_, got {path!r}")
    if not trust and not _within(path, _IMPORTED):
        raise _refusal(key, path)
    target = _get(path)
    if target is None:
        raise UserError(f"{key} names {path!r}, which cannot be found: is the package installed that it belongs to?")
    if not trust and not _is_part(target, also):
        raise _refusal(key, path)
    return target


def _get(path: str) -> Any:
    """Return the object at a dotted path, None where there is none."""
    parts = path.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            target: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            target = getattr(target, part, None)
        return target
    return None


def _is_part(target: Any, also: tuple[type, ...]) -> bool:
    # By where it is defined: `torch.os.system` is found under torch as well.
    if inspect.isclass(target):
        return issubclass(target, (nn.Module, *also)) and _within(target.__module__, _CLASSES)
    if inspect.isfunction(target) or inspect.isbuiltin(target):
        return _within(target.__module__, _FUNCTIONS)
    return False


def _within(module: str | None, packages: tuple[str, ...]) -> bool:
    return any(module == package or str(module).startswith(f"{package}.") for package in packages)


def _refusal(key: str, path: str) -> UserError:
    return UserError(
        f"{key} names {path!r}, which is no part of lossbench or torch: if you know where the model comes from, "
        "allow it with --trust (trust=True in Python)"
    )
