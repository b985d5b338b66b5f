"""The errors that a user can cause: each is one line that names the thing, the rule and the value."""


class UserError(ValueError):
    """Something that the user gave and can change; shown as one line, exit status 2."""


class DataError(UserError):
    """A table, a split or a column that cannot be used."""


class CannotServe(UserError):
    """A component that cannot serve the task, or two components that cannot serve each other.

    A single run is refused; a sweep leaves that job out and lists it with this message, which is no failure.
    """
