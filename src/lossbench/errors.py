"""The errors that end a command with one line, each class with the exit status that goes with it."""

from __future__ import annotations

import traceback


class Failed(Exception):
    """Work that ended badly through no fault in what was asked, such as a job of a sweep; its line says it all."""

    status = 1


class UserError(ValueError):
    """Something that a person wrote and can change; its line names the thing, the rule and the value."""

    status = 2


class DataError(UserError):
    """A table, a split or a column that cannot be used."""


class CannotServe(UserError):
    """A component that cannot serve the task, or two components that cannot serve each other.

    A single run is refused; a sweep leaves that job out and lists it with this message, which is no failure.
    """


def one_line(message: object) -> str:
    """Return a message, or an error's, with every line break and run of spaces as one space.

    >>> one_line(ValueError("gamma\\n  >= 0"))
    'gamma >= 0'
    """
    return " ".join(str(message).split())


def line_of(error: BaseException) -> str:
    """Return the line that tells a person of an error: its own where it was written for one, else with its class."""
    own = isinstance(error, Failed | UserError)
    return one_line(error if own else traceback.format_exception_only(error)[-1])
