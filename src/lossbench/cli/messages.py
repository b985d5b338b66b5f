"""One line for every error: what was wrong, by which rule, and what it could have been."""

from __future__ import annotations

import errno
import re
import sys
import traceback
from collections.abc import Sequence
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
from lossbench.errors import UserError

JOB_FAILED, USER_ERROR = 1, 2
_LONGEST = 690
_PLACES = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG)


def explain(error: BaseException, arguments: Sequence[str] = ()) -> tuple[str, int]:
    """Return the line and the exit status for an error that ended a command with these arguments."""
    message, status = _explained(error, arguments)
    return _printable(_flat(message)), status


def _explained(error: BaseException, arguments: Sequence[str]) -> tuple[str, int]:
    if isinstance(error, UserError):
        return _flat(str(error)), USER_ERROR
    if isinstance(error, MissingConfigException):
        return _no_such_choice(error), USER_ERROR
    if isinstance(error, OverrideParseException):
        return _override(error), USER_ERROR
    if isinstance(error, MissingMandatoryValue):
        return _missing_value(error), USER_ERROR
    if isinstance(error, ConfigCompositionException):
        return _composition(error, arguments), USER_ERROR
    if isinstance(error, InterpolationKeyError | ConfigKeyError):
        return _flat(str(error)), USER_ERROR
    if isinstance(error, YAMLError):
        return _flat(str(error)), USER_ERROR
    if isinstance(error, InterpolationResolutionError) and "Recursive interpolation" in str(error):
        return f"{error.full_key or 'a value'}: its interpolation leads back to itself", USER_ERROR
    if isinstance(error, HydraException | OmegaConfBaseException):
        cause = error.__cause__ if isinstance(error.__cause__, UserError) else error
        return _flat(str(cause)), USER_ERROR
    if type(error).__name__ in ("SweepFailed", "StoreUnreachable"):
        return str(error), JOB_FAILED
    if type(error).__name__ in ("BrokenProcessPool", "TerminatedWorkerError"):
        return "a worker process was killed (out of memory?): the same command goes on with what is left", JOB_FAILED
    if _raised_by(error, "hydra", "omegaconf"):
        # Assertions and type errors over values that nobody expected there: what Hydra reads is what was typed.
        return f"the config cannot be read: {type(error).__name__}: {error}", USER_ERROR
    return f"{type(error).__name__}: {error}", JOB_FAILED


def _raised_by(error: BaseException, *packages: str) -> bool:
    """Whether an error comes out of one of these packages or of Python's own that they call, and no other."""
    modules = [str(frame.f_globals.get("__name__", "")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    tops = [top for module in modules if (top := module.partition(".")[0]) not in sys.stdlib_module_names]
    return bool(tops) and tops[-1] in packages


def outside_a_job(error: OSError) -> str | None:
    """Return the line for a file or folder that the command itself could not make or read; None where it names none.

    What a job raises is the job's failure; before any job it is the place that was given.
    """
    if error.filename is None or error.errno not in _PLACES:
        return None
    return f"{error.filename}: {str(error.strerror).lower()}; paths.mlruns names another place"


def _no_such_choice(error: MissingConfigException) -> str:
    missing = str(error.missing_cfg_file or "").removesuffix(".yaml")
    group, _, name = missing.rpartition("/")
    options = sorted(error.options or [])
    if not group or not options:
        return _flat(str(error))
    near = get_close_matches(name, options, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{group}={name}: no such choice; {group} is one of {', '.join(options)}{hint}"


def _override(error: OverrideParseException) -> str:
    key, _, value = str(error.override).partition("=")
    if not value.isascii():
        # Hydra's grammar knows letters beyond ASCII within quotes alone.
        quoted = re.sub(r"[^\W\d][\w ]*", lambda word: f'"{word.group()}"', value)
        return f"{error.override}: letters beyond ASCII need quotes of both kinds: '{key}={quoted}'"
    said = _flat(str(error)).partition(" See ")[0]
    return f"{error.override}: it cannot be read ({said}); special characters need quotes: '{key}=\"{value}\"'"


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
        return _flat(text)
    name = key.group(1)
    if "is not in struct" in cause or "No match in the defaults list" in text or "not in struct" in text:
        known = _known_keys(arguments)
        near = get_close_matches(name, known, 1, cutoff=0.6)
        parent = name.rpartition(".")[0]
        inside = sorted({key for key in known if key.rpartition(".")[0] == parent})
        choices = f"; {parent} has {', '.join(key.rpartition('.')[2] for key in inside)}" if inside and parent else ""
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"{name}: there is no such key{choices}{hint} (a new key is added with +{name}=...)"
    return _flat(f"{text} {cause}")


def _known_keys(arguments: Sequence[str]) -> list[str]:
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


def _flat(text: str) -> str:
    return " ".join(text.split())


def _printable(line: str) -> str:
    """Show what would move the cursor or turn the line around by its code, and the middle of a long line by dots."""
    shown = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 210]} ... {shown[-200:]}"
