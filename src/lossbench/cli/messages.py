"""One line for every error: what was wrong, by which rule, and what it could have been."""

from __future__ import annotations

import errno
import re
import sys
import traceback
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from difflib import get_close_matches

from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf.errors import (
    ConfigKeyError,
    InterpolationKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)
from yaml import YAMLError

from lossbench.config import compose
from lossbench.config.identity import flatten
from lossbench.errors import Failed, UserError, one_line

_LONGEST = 690
_PATH_PROBLEMS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG)


@dataclass(frozen=True)
class Explanation:
    """What a command says as it ends badly.

    Parameters
    ----------
    line
        Its one line.
    status
        Its exit status.
    is_unexpected
        Whether the line alone may not be enough to see what happened, and a traceback helps.
    """

    line: str
    status: int
    is_unexpected: bool = False


def explain(error: BaseException, arguments: Sequence[str] = ()) -> Explanation:
    """Return what to say of an error that ended a command with these arguments."""
    line = _users_line(error, arguments)
    if line is not None:
        return Explanation(_printable(line), UserError.status)
    if isinstance(error, Failed):
        return Explanation(_printable(str(error)), error.status)
    if isinstance(error, BrokenProcessPool):  # joblib's is one too
        return Explanation(
            "a worker process was killed (out of memory?): the same command goes on with what is left", Failed.status
        )
    return Explanation(_printable(f"{type(error).__name__}: {error}"), Failed.status, is_unexpected=True)


def _users_line(error: BaseException, arguments: Sequence[str]) -> str | None:
    """Return the line for an error in what was typed or configured; None for any other."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MissingConfigException):
        return _no_such_choice(error)
    if isinstance(error, OverrideParseException):
        return _override(error)
    if isinstance(error, MissingMandatoryValue):
        return _missing_value(error)
    if isinstance(error, ConfigCompositionException):
        return _composition(error, arguments)
    if isinstance(error, InterpolationKeyError | ConfigKeyError | YAMLError):
        return str(error)
    if isinstance(error, InterpolationResolutionError) and "Recursive interpolation" in str(error):
        return f"{error.full_key or 'a value'}: its interpolation leads back to itself"
    if isinstance(error, HydraException | OmegaConfBaseException):
        return str(error.__cause__ if isinstance(error.__cause__, UserError) else error)
    if not isinstance(error, Failed) and _raised_by(error, "hydra", "omegaconf"):
        # Assertions and type errors over values that nobody expected there: what Hydra reads is what was typed.
        return f"the config cannot be read: {type(error).__name__}: {error}"
    return None


def _raised_by(error: BaseException, *packages: str) -> bool:
    """Whether an error comes out of one of these packages or of Python's own that they call, and no other."""
    modules = [str(frame.f_globals.get("__name__", "")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    tops = [top for module in modules if (top := module.partition(".")[0]) not in sys.stdlib_module_names]
    return bool(tops) and tops[-1] in packages


def unusable_path(error: BaseException) -> Explanation | None:
    """Return what to say of a file or folder that the command itself could not make or read; None for other errors.

    What a job raises is the job's failure; before any job it is the path that was configured.
    """
    if not isinstance(error, OSError) or error.filename is None or error.errno not in _PATH_PROBLEMS:
        return None
    line = f"{error.filename}: {str(error.strerror).lower()}; paths.mlruns names another place"
    return Explanation(line, UserError.status)


def _no_such_choice(error: MissingConfigException) -> str:
    missing = str(error.missing_cfg_file or "").removesuffix(".yaml")
    group, _, name = missing.rpartition("/")
    options = sorted(error.options or [])
    if not group or not options:
        return str(error)
    near = get_close_matches(name, options, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{group}={name}: no such choice; {group} is one of {', '.join(options)}{hint}"


def _override(error: OverrideParseException) -> str:
    key, _, value = str(error.override).partition("=")
    if not value.isascii():
        # Hydra's grammar knows letters beyond ASCII within quotes alone.
        quoted = re.sub(r"[^\W\d][\w ]*", lambda word: f'"{word.group()}"', value)
        return f"{error.override}: letters beyond ASCII need quotes of both kinds: '{key}={quoted}'"
    reason = one_line(error).partition(" See ")[0]
    return f"{error.override}: it cannot be read ({reason}); special characters need quotes: '{key}=\"{value}\"'"


def _missing_value(error: MissingMandatoryValue) -> str:
    key = error.full_key or ""
    match = re.search(r"(?:value|Missing mandatory value): (\S+)", str(error))
    key = key or (match.group(1) if match else "a value")
    return f"{key} has no default and needs a value: {key}=..."


def _composition(error: ConfigCompositionException, arguments: Sequence[str]) -> str:
    text = str(error)
    cause = str(error.__cause__ or "")
    key = re.search(r"Could not override '([^']+)'", text)
    if key is None:
        return text
    name = key.group(1)
    if "is not in struct" in cause or "No match in the defaults list" in text or "not in struct" in text:
        keys = _existing_keys(arguments)
        near = get_close_matches(name, keys, 1, cutoff=0.6)
        parent = name.rpartition(".")[0]
        inside = sorted({key for key in keys if key.rpartition(".")[0] == parent})
        choices = f"; {parent} has {', '.join(key.rpartition('.')[2] for key in inside)}" if inside and parent else ""
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"{name}: there is no such key{choices}{hint} (a new key is added with +{name}=...)"
    return f"{text} {cause}"


def _existing_keys(arguments: Sequence[str]) -> list[str]:
    """Return the groups and dotted keys of the config with the choices that the arguments made."""
    choices = [text for text in arguments if re.fullmatch(r"[a-z]+=[\w]+", text)]
    for overrides in (choices, []):
        try:
            config = compose.compose(overrides)
            break
        except Exception:  # the arguments are what is wrong
            continue
    else:
        return []
    groups = list(config["choices"])
    return [*groups, *(key for key, _ in flatten(config) if not key.endswith("_target_"))]


def _printable(text: str) -> str:
    """Return a text as one line, with what would move the cursor by its code and the middle of a long one as dots."""
    shown = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in one_line(text))
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 210]} ... {shown[-200:]}"
