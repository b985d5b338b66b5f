"""MLflow's UI over the project's store, as a child process that ends with us."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Literal
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from lossbench.errors import UserError
from lossbench.tracking.schema import JUDGED_BY, Role, Tag, tagged
from lossbench.tracking.store import address
from lossbench.tracking.store.client import MlflowException  # noqa: F401  (sets MLflow's environment for the child)
from lossbench.tracking.store.keys import clean
from lossbench.tracking.store.open import Store

_START_SECONDS = 60.0
_STOP_SECONDS = 5.0


def serve(
    store: Store,
    host: str = "127.0.0.1",
    port: int = 5000,
    *,
    sweep: str | None = None,
    metric: str = JUDGED_BY,
    show: Callable[[str], None] = print,
) -> None:
    """Serve MLflow's UI until Ctrl-C, after showing where it is.

    Parameters
    ----------
    host
        An address beyond this machine is allowed with a warning: MLflow's UI asks for no password.
    port
        A port in use is refused; the next free one is named, not taken, so that links keep their meaning.
    sweep, metric
        The sweep whose chart view is shown as a link, ordered by the metric.
    show
        Receives the lines for the user.

    Raises
    ------
    UserError
        A port in use or out of range, a host that is not this machine's, or a server that does not start.
    """
    url = base_url(store, port, host)
    if address.scheme_of(store.uri) in address.SERVERS:
        show(f"The store is a server with a UI of its own: {url}")
        _show_links(store, url, sweep, metric, show)
        return
    _require_free(host, port)
    if not _is_loopback(host):
        show(f"Warning: {host} lets other machines read, change and delete these runs; there is no password.")
    log = store.mlruns / "ui.log"
    with _server(store, host, port, log) as child:
        _wait(child, url, log)
        show(f"MLflow's UI: {url} (Ctrl-C ends it)")
        _show_links(store, url, sweep, metric, show)
        with contextlib.suppress(KeyboardInterrupt):
            child.wait()
            raise UserError(f"MLflow's server ended by itself: {_last_line(log)} (all of it in {log})")


def _show_links(store: Store, url: str, sweep: str | None, metric: str, show: Callable[[str], None]) -> None:
    if sweep is not None:
        show(f"This sweep's objectives: {chart_url(store, sweep, metric, base=url)}")
        show(f"The sweep itself: {run_url(store, sweep, base=url)}")


@contextlib.contextmanager
def _server(store: Store, host: str, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        host,
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    command += ["--uvicorn-opts", "--log-level warning"]
    # By environment, since arguments can be read by every user of the machine and an address may hold a
    # password.
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": store.uri,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": (store.mlruns / "artifacts").as_uri(),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # helpers for language models
    }
    # A session of its own: Ctrl-C reaches us alone, and we end the server with all its workers.
    with open(log, "wb") as output:
        child = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    try:
        with _sigterm_as_exit():
            yield child
    finally:
        _stop(child)


def _stop(child: subprocess.Popen[bytes]) -> None:
    for kill in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, kill)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_STOP_SECONDS)
            return


@contextlib.contextmanager
def _sigterm_as_exit() -> Iterator[None]:
    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _wait(child: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if child.poll() is not None:
            raise UserError(f"MLflow's server did not start: {_last_line(log)} (all of it in {log})")
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(f"{url}/health", timeout=2),
        ):
            return
        time.sleep(0.1)
    raise UserError(f"MLflow's server did not answer within {_START_SECONDS:.0f} s: see {log}")


def _require_free(host: str, port: int) -> None:
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
        raise UserError(f"a port is a number from 1 to 65535, got {port!r}")
    try:
        if _is_free(host, port):
            return
    except OSError as error:
        raise UserError(f"the UI cannot listen on {host}:{port}: {error.strerror or error}") from error
    other = next((p for p in range(port + 1, min(port + 100, 65536)) if _is_free(host, p)), None)
    raise UserError(f"the port {port} on {host} is in use" + (f": port {other} is free" if other else ""))


def _is_free(host: str, port: int) -> bool:
    import errno

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no output"


def base_url(store: Store, port: int = 5000, host: str = "127.0.0.1") -> str:
    """Return where the UI answers: the tracking server itself, else the one that `lossbench ui` starts."""
    if address.scheme_of(store.uri) in address.SERVERS:
        parts = urlsplit(store.uri)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")  # no password
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def chart_url(
    store: Store, sweep: str, metric: str, direction: Literal["max", "min"] = "max", base: str | None = None
) -> str:
    """Return the chart view of a sweep's objectives, one bar each, best first.

    `workflowType=machine_learning` selects the view of runs (MLflow opens on traces else), and the order
    matters: unsorted, nested runs are collapsed and not plotted.
    """
    query = {
        "workflowType": "machine_learning",
        "compareRunsMode": "CHART",
        "searchFilter": f"{tagged(Tag.SWEEP, sweep)} AND {tagged(Tag.ROLE, Role.OBJECTIVE)}",
        "orderByKey": f"metrics.`{clean(metric)}`",
        "orderByAsc": "true" if direction == "min" else "false",
    }
    # The UI decodes with URLSearchParams, which takes %20 and + alike; %20 survives terminals that cut at
    # "+".
    return f"{_experiment(store, base)}/runs?{urlencode(query, quote_via=quote)}"


def run_url(store: Store, run_id: str, base: str | None = None) -> str:
    """Return the page of one run."""
    return f"{_experiment(store, base)}/runs/{run_id}"


def _experiment(store: Store, address_of_ui: str | None) -> str:
    return f"{(address_of_ui or base_url(store)).rstrip('/')}/#/experiments/{store.experiment_id}"
