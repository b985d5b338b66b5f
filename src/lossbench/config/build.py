"""Build components from their configs; what one of them refuses becomes one line that starts with its key."""

from __future__ import annotations

import copy
import functools
import inspect
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate

from lossbench.errors import UserError, one_line

# The adapter for a function or module of another signature, by the config group.
_ADAPTERS = {
    "loss": "lossbench.objective.losses.external.External as function",
    "model": "lossbench.models.external.external as module",
    "metrics": "lossbench.evaluation.function_metric.FunctionMetric as function",
}

# It logs what it raises, and what it raises becomes the user's one line.
logging.getLogger("hydra.utils").setLevel(logging.CRITICAL)


def build_component(node: Mapping[str, Any] | None, key: str) -> Any:
    """Instantiate a component from its config; None where that is null. Messages name it by its dotted key.

    Raises
    ------
    UserError
        Where it cannot be imported or refuses its arguments; a component's own UserError keeps its type.
    """
    if node is None:
        return None
    try:
        return _instantiate(node)
    except (TypeError, ValueError, AttributeError) as error:  # of its flags, as in _partial_: [1]
        raise UserError(f"{key}: {one_line(error)}") from error
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise type(cause)(f"{key}: {cause}") from error
        if isinstance(cause, TypeError):
            raise UserError(f"{key}: {_explain_arguments(key, node, cause)}") from error
        if isinstance(cause, ValueError | ImportError | AttributeError):
            raise UserError(f"{key}: {one_line(cause)}") from error
        raise UserError(f"{key}: {one_line(error)}") from error


def build_components(nodes: Mapping[str, Any], key: str) -> list[Any]:
    """Instantiate every component of a mapping of them, such as ``callbacks``."""
    for name, node in nodes.items():
        if not isinstance(node, Mapping) or "_target_" not in node:
            raise UserError(f"{key} takes components with a _target_, got {name}: {node!r}")
    return [build_component(node, f"{key}.{name}") for name, node in nodes.items()]


def _instantiate(node: Mapping[str, Any]) -> Any:
    """Instantiate a node; Hydra reads one without components inside once for all jobs of a sweep."""
    path, _, name = str(node.get("_target_")).rpartition(".")
    module = sys.modules.get(path)
    if module is None or not _is_plain(node):
        return instantiate(node, _convert_="all")
    text = json.dumps(dict(node))
    shared = _partial(text)
    if getattr(module, name, shared.func) is not shared.func:
        # It has been defined anew since, as notebooks do.
        _partial.cache_clear()
        shared = _partial(text)
    # A component may change the lists that it is given.
    call = type(shared)(shared.func, *copy.deepcopy(shared.args), **copy.deepcopy(shared.keywords))
    call.__dict__.update(shared.__dict__)
    if node.get("_partial_"):
        return call
    try:
        return call()
    except InstantiationException:
        raise
    except Exception as error:
        raise InstantiationException(str(error)) from error  # as Hydra does


def _is_plain(node: Mapping[str, Any]) -> bool:
    """Whether a node is one component with numbers, texts and lists of them."""
    values = [item for value in node.values() for item in (value if isinstance(value, list) else [value])]
    keys = all(isinstance(key, str) for key in node)
    scalars = all(value is None or isinstance(value, str | int | float) for value in values)
    flags = isinstance(node.get("_target_"), str) and isinstance(node.get("_partial_", False), bool)
    return keys and scalars and flags


@functools.lru_cache(maxsize=256)
def _partial(node: str) -> Any:
    # As a text, since 1, 1.0 and True are equal keys and different arguments.
    return instantiate({**json.loads(node), "_partial_": True}, _convert_="all")


@contextmanager
def blame(key: str) -> Iterator[None]:
    """Turn a component's refusal into the user's error; anything else is a bug and keeps its traceback."""
    try:
        yield
    except UserError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"{key}: {error}{_hint_at_adapter(key, str(error))}") from error
    except (MemoryError, RuntimeError) as error:
        # torch has no type of its own for what the processor's memory cannot hold
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            raise UserError(f"{key}: it does not fit into memory: {one_line(error)}") from error
        raise


def _hint_at_adapter(key: str, message: str) -> str:
    """Return a hint that names the adapter for a component with another signature."""
    adapter = _ADAPTERS.get(key.partition(".")[0])
    if adapter is None or "missing" not in message or "required" not in message:
        return ""
    return f"; what has another signature stands under {adapter}: {{_target_: ..., _partial_: true}}"


def _explain_arguments(key: str, node: Mapping[str, Any], error: TypeError) -> str:
    """Return a message with the arguments that a component takes, where one was unknown or missing."""
    message = one_line(error)
    if "missing" in message and "'task'" in message:
        return f"{message}; what is called with the task needs _partial_: true"
    message += _hint_at_adapter(key, message)
    if "unexpected keyword argument" not in message:
        return message
    accepted = [name for name in inspect.signature(get_object(node["_target_"])).parameters if name != "self"]
    wrong = message.rsplit("'", 2)[-2]
    near = get_close_matches(wrong, accepted, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{node['_target_'].rsplit('.', 1)[-1]} takes {', '.join(accepted)}, got {wrong!r}{hint}"
