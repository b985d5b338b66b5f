"""Where a store is: reading, checking and showing the address that a user gave."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from sqlalchemy.engine import make_url

from lossbench.errors import UserError

SERVERS = {"http": 80, "https": 443}
DATABASES = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_PATIENCE_SECONDS = 5.0


def resolve(uri: str | None, mlruns: Path) -> str:
    """Return the address to use: the given one, else `MLFLOW_TRACKING_URI`, else sqlite in `mlruns`.

    A relative sqlite path is made absolute, since workers may run in another folder.

    Raises
    ------
    UserError
        For an address that MLflow cannot serve (its file store is refused by current releases), or a database
        in memory, which workers cannot share.

    Examples
    --------
    >>> resolve("https://mlflow.example.org", Path("/project/mlruns"))
    'https://mlflow.example.org'
    """
    given = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{mlruns / 'mlflow.db'}"
    scheme = scheme_of(given)
    if scheme in SERVERS or scheme in DATABASES or scheme == "databricks":
        return given
    if scheme != "sqlite":
        why = "MLflow refuses its file store" if scheme in ("", "file") else f"MLflow knows no {scheme} store"
        raise UserError(
            "tracking.uri needs sqlite:///file.db, postgresql://..., mysql://..., mssql://... or "
            f"http(s)://..., got {mask(given)!r} ({why})"
        )
    path = given.removeprefix("sqlite:///")
    if path == given or path in ("", ":memory:"):
        raise UserError(f"tracking.uri needs a file after sqlite:///, got {given!r}")
    path = str(Path(path).expanduser().absolute())
    if make_url(f"sqlite:///{path}").database != path:
        raise UserError(f"the path of a sqlite store must be free of '?' and of '%' codes, got {path!r}")
    return f"sqlite:///{path}"


def scheme_of(uri: str) -> str:
    """Return the kind of store without its driver: `postgresql` for `postgresql+psycopg2://...`."""
    found = re.match(r"([a-zA-Z][a-zA-Z0-9]*)(\+[\w]+)?(:|$)", uri)
    return found[1].lower() if found and (found[3] or uri == "databricks") else ""


def on_server(uri: str) -> bool:
    """Whether an MLflow server answers there, rather than a database.

    >>> on_server("http://127.0.0.1:5000"), on_server("postgresql://db/mlflow")
    (True, False)
    """
    return scheme_of(uri) in SERVERS


def in_bulk(uri: str) -> bool:
    """Return whether the store at an address is a database in which we write the records of many runs at once.

    >>> in_bulk("sqlite:////project/mlruns/mlflow.db"), in_bulk("mysql://db/mlflow")
    (True, False)
    """
    return scheme_of(uri) in ("sqlite", "postgresql")


def database_file(uri: str) -> Path | None:
    """Return the file of a sqlite store, None for every other kind."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def mask(uri: str) -> str:
    """Return the address without its password, for messages and records.

    Examples
    --------
    >>> mask("postgresql://ann:secret@db.example.org/mlflow")
    'postgresql://ann:***@db.example.org/mlflow'
    """
    if "@" not in uri:
        return uri
    parts = urlsplit(uri)
    user, _, host = parts.netloc.rpartition("@")
    shown = f"{user.split(':')[0]}:***@{host}" if ":" in user else parts.netloc
    return urlunsplit(parts._replace(netloc=shown))


def masked(text: str) -> str:
    """Return a text without the passwords of the addresses in it.

    >>> masked("lossbench tracking.uri=postgresql://ann:secret@db/mlflow seed=1")
    'lossbench tracking.uri=postgresql://ann:***@db/mlflow seed=1'
    """
    return re.sub(r"(\w+://[^\s:/@'\"]*):[^\s/'\"]*@", r"\1:***@", text)


def local_path(uri: str) -> Path | None:
    """Return the folder behind an artifact address, None where it is not on this machine.

    Examples
    --------
    >>> local_path("file:///project/mlruns/my%20artifacts")
    PosixPath('/project/mlruns/my artifacts')
    >>> local_path("s3://bucket/artifacts") is None
    True
    """
    if uri.startswith("file:"):
        return Path(unquote(urlsplit(uri).path))
    return Path(uri) if uri.startswith("/") else None


def require_answer(uri: str) -> None:
    """Raise a UserError unless something listens at a server's address.

    MLflow itself retries for minutes; a user who mistyped a port should know in seconds.
    """
    scheme = scheme_of(uri)
    parts = urlsplit(uri)
    default = SERVERS.get(scheme) or DATABASES.get(scheme)
    if default is None or parts.hostname is None or _through_proxy(scheme):
        return
    try:
        port = parts.port or default
    except ValueError as error:
        raise UserError(f"tracking.uri needs a port from 0 to 65535, got {mask(uri)!r}") from error
    try:
        socket.create_connection((parts.hostname, port), timeout=_PATIENCE_SECONDS).close()
    except OSError as error:
        raise UserError(
            f"the tracking server {mask(uri)} does not answer ({error.strerror or error}): start it, or "
            "choose another with tracking.uri or MLFLOW_TRACKING_URI"
        ) from error


def _through_proxy(scheme: str) -> bool:
    # Behind a proxy the host may be out of reach of a plain socket and still be there.
    names = (f"{scheme}_proxy", "all_proxy")
    return scheme in SERVERS and any(os.environ.get(n) or os.environ.get(n.upper()) for n in names)
