"""Rows of runs are what MLflow says of them."""

from __future__ import annotations

import pytest

from lossbench.errors import UserError
from lossbench.tracking import search
from lossbench.tracking.run import RunRecord
from lossbench.tracking.schema import Role, Tag, tagged
from lossbench.tracking.search import active_run, newest_runs, read_run, search_runs
from lossbench.tracking.store.open import Store


def start(store: Store, name: str, **more: object) -> RunRecord:
    return RunRecord.start(store, name, role="run", **more)


def test_a_row_is_what_mlflow_says_of_the_run(store: Store) -> None:
    run = start(store, "s3 · focal", params={"seed": 3}, tags={Tag.JOB: 7})
    running = read_run(store, run.id)
    assert (running.status, running.end, running.metrics) == ("RUNNING", None, {})
    run.finish({"test/auroc": 0.5})
    row, mlflow = read_run(store, run.id), store.client.get_run(run.id)
    assert (row.id, row.name, row.role, row.status) == (run.id, "s3 · focal", "run", "FINISHED")
    assert (row.params, row.metrics, row.tags) == ({"seed": "3"}, {"test/auroc": 0.5}, mlflow.data.tags)
    assert (row.start, row.end) == (mlflow.info.start_time, mlflow.info.end_time)
    assert row.artifact_uri == mlflow.info.artifact_uri
    assert not row.superseded
    assert list(search_runs(store, tagged(Tag.JOB, "7"))) == [row]
    bare = row.without_values()
    assert (bare.id, bare.params, bare.metrics, bare.tags) == (run.id, {}, {}, {})


def test_runs_of_others_count_as_jobs(store: Store) -> None:
    foreign = store.client.create_run(store.experiment_id, run_name="mine")
    assert read_run(store, foreign.info.run_id).role == Role.RUN


@pytest.mark.usefixtures("by_public_api")
def test_all_pages_are_read_oldest_first_and_all_clauses_hold(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_PAGE", 2)
    ids = [start(store, f"{number}", tags={Tag.FOLD: number % 2}).id for number in range(5)]
    assert {run.id for run in search_runs(store)} == set(ids)
    odd = search_runs(store, tagged(Tag.ROLE, Role.RUN), tagged(Tag.FOLD, "1"))
    assert {run.id for run in odd} == {ids[1], ids[3]}
    assert len(newest_runs(store, tagged(Tag.FOLD, "0"), most=2)) == 2


def test_runs_that_are_not_there(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    deleted = start(store, "gone")
    store.client.delete_run(deleted.id)
    assert active_run(store, deleted.id) is None
    assert active_run(store, "0" * 32) is None
    with pytest.raises(UserError, match="no run has the id '0000"):
        read_run(store, "0" * 32)


def test_a_store_that_does_not_answer_is_no_missing_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(run_id: str) -> None:
        raise search.MlflowException("the server does not answer")

    monkeypatch.setattr(store.client, "get_run", unreachable)
    for read in (read_run, active_run):
        with pytest.raises(search.MlflowException, match="does not answer"):
            read(store, "0" * 32)
