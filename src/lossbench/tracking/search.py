"""Runs looked up in MLflow, as rows of our own: MLflow's objects do not leave `tracking`."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from lossbench.errors import UserError
from lossbench.tracking.schema import Role, Tag
from lossbench.tracking.store.client import MlflowException, Run
from lossbench.tracking.store.open import Store

# MLflow's objects of a run take 150 kB while a page is read, and only a part of that ever goes back to the system.
_PAGE = 250
_MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as it stood when it was read.

    Parameters
    ----------
    status
        FINISHED, FAILED, KILLED or RUNNING.
    start, end
        Milliseconds since 1970; None for the end of a run that has not ended.
    """

    id: str
    name: str
    status: str
    start: int
    end: int | None
    artifact_uri: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    @property
    def role(self) -> str:
        """What the run is to a reader; runs that lossbench did not make count as jobs."""
        return self.tags.get(Tag.ROLE, Role.RUN)

    @property
    def superseded(self) -> bool:
        """Whether another run counts in place of this one."""
        return Tag.SUPERSEDED in self.tags

    def without_values(self) -> RunRow:
        """Return the row without params, metrics and tags: those of ten thousand runs take a gigabyte."""
        return replace(self, params={}, metrics={}, tags={})


def search_runs(store: Store, *clauses: str) -> Iterator[RunRow]:
    """Yield the experiment's runs that meet all clauses of an MLflow filter, oldest first.

    Raises
    ------
    UserError
        For a filter that MLflow cannot read.
    """
    for page in pages(store, *clauses):
        yield from page


def pages(store: Store, *clauses: str) -> Iterator[list[RunRow]]:
    """Yield what :func:`search_runs` does, a few hundred runs at a time."""
    filter = " AND ".join(clauses)
    try:
        if store.bulk is None:
            yield from _pages_of_client(store, filter)
        else:
            for page in store.bulk.select_runs(store.experiment_id, filter):
                yield [RunRow(*run) for run in page]
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        first = str(error).splitlines()[0]
        raise UserError(f"MLflow cannot read the filter {filter!r}: {first}") from error


def _pages_of_client(store: Store, filter: str) -> Iterator[list[RunRow]]:
    token = None
    while True:
        with _no_collections():
            page = store.client.search_runs(
                [store.experiment_id],
                filter,
                max_results=_PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
        token = page.token
        yield [_row(run) for run in page]
        if not token:
            return


def newest_runs(store: Store, *clauses: str, most: int) -> list[RunRow]:
    """Return the experiment's newest runs that meet all clauses, newest first."""
    filter = " AND ".join(clauses)
    if store.bulk is not None:
        found = store.bulk.select_runs(store.experiment_id, filter, newest_first=True, most=most)
        return [RunRow(*run) for page in found for run in page]
    page = store.client.search_runs(
        [store.experiment_id],
        filter,
        max_results=most,
        order_by=["attributes.start_time DESC"],
    )
    return [_row(run) for run in page]


def read_run(store: Store, run_id: str) -> RunRow:
    """Return the run of an id.

    Raises
    ------
    UserError
        Where the store has no such run.
    """
    run = _get(store, run_id)
    if run is None:
        raise UserError(f"no run has the id {run_id!r} in {store.place}")
    return _row(run)


def active_run(store: Store, run_id: str) -> RunRow | None:
    """Return the run of an id, or None where there is none or it has been deleted."""
    run = _get(store, run_id)
    return _row(run) if run is not None and run.info.lifecycle_stage == "active" else None


def _get(store: Store, run_id: str) -> Run | None:
    try:
        return store.client.get_run(run_id)
    except MlflowException as error:
        if error.error_code in _MISSING:
            return None
        raise


def _row(run: Run) -> RunRow:
    info, data = run.info, run.data
    return RunRow(
        id=info.run_id,
        name=info.run_name or "",
        status=info.status,
        start=info.start_time,
        end=info.end_time or None,
        artifact_uri=info.artifact_uri,
        params=data.params,
        metrics=data.metrics,
        tags=data.tags,
    )


@contextmanager
def _no_collections() -> Iterator[None]:
    """Keep Python from looking for garbage among the objects that a page is made of.

    MLflow makes one for every metric, param and tag, 100,000 for a thousand runs, and while they pile up the collector
    goes through all of them again and again: half of the time of a page.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
