"""Addresses of pages in MLflow's UI."""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from lossbench.tracking import address
from lossbench.tracking.keys import clean
from lossbench.tracking.store import Store


def base(store: Store, port: int = 5000, host: str = "127.0.0.1") -> str:
    """Return where the UI answers: the tracking server itself, else the one that `lossbench ui` starts."""
    if address.scheme_of(store.uri) in address.SERVERS:
        parts = urlsplit(store.uri)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")  # no password
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def chart(
    store: Store, sweep: str, metric: str, direction: Literal["max", "min"] = "max", base: str | None = None
) -> str:
    """Return the chart view of a sweep's objectives, one bar each, best first.

    `workflowType=machine_learning` selects the view of runs (MLflow opens on traces else), and the order
    matters: unsorted, nested runs are collapsed and not plotted.
    """
    query = {
        "workflowType": "machine_learning",
        "compareRunsMode": "CHART",
        "searchFilter": f"tags.`lossbench.sweep` = '{sweep}' AND tags.`lossbench.role` = 'objective'",
        "orderByKey": f"metrics.`{clean(metric)}`",
        "orderByAsc": "true" if direction == "min" else "false",
    }
    # The UI decodes with URLSearchParams, which takes %20 and + alike; %20 survives terminals that cut at
    # "+".
    return f"{_experiment(store, base)}/runs?{urlencode(query, quote_via=quote)}"


def run(store: Store, run_id: str, base: str | None = None) -> str:
    """Return the page of one run."""
    return f"{_experiment(store, base)}/runs/{run_id}"


def _experiment(store: Store, address_of_ui: str | None) -> str:
    return f"{(address_of_ui or base(store)).rstrip('/')}/#/experiments/{store.experiment_id}"
