"""Runs read by queries are those that MLflow's own search finds, in its order."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lossbench.errors import UserError
from lossbench.tracking import search
from lossbench.tracking.run import RunRecord
from lossbench.tracking.store import stored_runs
from lossbench.tracking.store.open import Store
from lossbench.tracking.store.outbox import outbox_of

FILTERS = [
    "",
    "tags.`lossbench.role` = 'run'",
    "tags.`lossbench.role` LIKE 'r%' AND tags.`lossbench.objective` = 'focal'",
    "tags.`lossbench.objective` LIKE 'FOCAL%'",
    "tags.`lossbench.objective` ILIKE 'FOCAL%'",
    "params.seed != '1'",
    "metrics.`test/auroc` > 0.5",
    "metrics.`test/auroc` != 0.75",
    "attributes.status = 'RUNNING' AND tags.`lossbench.role` LIKE '%'",
    "attributes.run_name = 's1'",
    "attributes.start_time > 0",
    "dataset.name = 'rings'",
    "dataset.context = 'training'",
    "params.fold IS NULL",
]


@pytest.fixture
def filled(store: Store) -> Store:
    """Runs of every kind: some without values, with the same time of start, deleted, running."""
    with outbox_of(store).together():
        for seed in range(6):
            role = "reference" if seed == 5 else "run"
            objective = ["focal", "mse"][seed % 2]
            run = RunRecord.start(store, f"s{seed}", role=role, params={"seed": seed}, objective=objective)
            if seed == 2:
                run.dataset("rings", "abc", columns={"x": "double"}, rows=3, source="here")
            run.log([(0, {"val/auroc": 0.5, "val/f1": 0.25})])
            if seed != 3:
                run.finish({"test/auroc": math.nan if seed == 4 else seed / 4, "val/auroc": 0.9})
    store.client.create_run(store.experiment_id, run_name="somebody else's")
    deleted = RunRecord.start(store, "deleted", role="run")
    store.client.delete_run(deleted.id)
    return store


def as_mlflow_finds_them(store: Store, filter: str, order: str, most: int = 1000) -> list[Any]:
    found = store.client.search_runs([store.experiment_id], filter, order_by=[order], max_results=most)
    return [search._row(run) for run in found]


def plain(rows: list[search.RunRow]) -> list[str]:
    return [repr((row.id, row.name, row.status, row.start, row.end, row.artifact_uri, sorted(row.params.items()),
                  sorted(row.metrics.items()), sorted(row.tags.items()))) for row in rows]  # fmt: skip


@pytest.mark.parametrize("filter", FILTERS)
def test_a_filter_finds_what_it_finds_in_mlflow(filled: Store, filter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_runs, "_AT_ONCE", 2)
    found = list(search.search_runs(filled, *([filter] if filter else [])))
    assert plain(found) == plain(as_mlflow_finds_them(filled, filter, "attributes.start_time ASC"))
    newest = search.newest_runs(filled, *([filter] if filter else []), most=3)
    assert plain(newest) == plain(as_mlflow_finds_them(filled, filter, "attributes.start_time DESC", 3))


def test_the_filters_tell_runs_apart(filled: Store) -> None:
    sizes = {len(list(search.search_runs(filled, filter))) for filter in FILTERS[1:]}
    assert {0, 1, 3, 7} <= sizes


def test_a_filter_that_mlflow_cannot_read_is_one_line(filled: Store) -> None:
    with pytest.raises(UserError, match="MLflow cannot read the filter 'loss is nice'"):
        list(search.search_runs(filled, "loss is nice"))
