"""A sweep: three levels, objectives that carry the answer, and a truthful end."""

from __future__ import annotations

import json
from collections.abc import Callable

import pandas as pd
import pytest
from mlflow.protos.databricks_pb2 import INVALID_STATE

from lossbench.tracking import read
from lossbench.tracking.artifacts import read_artifact
from lossbench.tracking.run import RunRecord
from lossbench.tracking.store.client import MlflowException
from lossbench.tracking.store.open import Store
from lossbench.tracking.sweep import SweepRecord

OBJECTIVES = {"cross_entropy": {"loss": "cross_entropy"}, "focal": {"loss": "focal"}}
Job = Callable[..., RunRecord]


def status(store: Store, run_id: str) -> str:
    return str(store.client.get_run(run_id).info.status)


def curve(store: Store, run_id: str, key: str) -> list[tuple[int, float]]:
    return sorted((point.step, point.value) for point in store.client.get_metric_history(run_id, key))


def test_three_levels(store: Store, job: Job) -> None:
    with SweepRecord.open(store, "losses", objectives=OBJECTIVES, params={"jobs": 1}) as sweep:
        run = job(sweep, "focal", 0)
        run.finish({"test/auroc": 0.5})
    tags = {run_id: store.client.get_run(run_id).data.tags for run_id in (sweep.id, sweep.objectives["focal"], run.id)}
    assert [tag["lossbench.role"] for tag in tags.values()] == ["sweep", "objective", "run"]
    assert {tag["lossbench.sweep"] for tag in tags.values()} == {sweep.id}
    assert tags[sweep.objectives["focal"]]["mlflow.parentRunId"] == sweep.id
    assert tags[run.id]["mlflow.parentRunId"] == sweep.objectives["focal"]
    assert store.client.get_run(sweep.objectives["focal"]).data.params == {"loss": "focal"}


def test_closing_completes_objectives_and_writes_the_answer(store: Store, job: Job) -> None:
    sweep = SweepRecord.open(store, "losses", objectives=OBJECTIVES)
    for seed, epochs in ((0, 3), (1, 2)):
        run = job(sweep, "focal", seed)
        run.log((epoch, {"train/loss": 1.0, "val/auroc": epoch + seed / 2}) for epoch in range(epochs))
        run.finish({"val/auroc": 0.5})
    old = job(sweep, "focal", 1, superseded="yes")
    old.log([(0, {"val/auroc": 99.0}), (1, {"val/auroc": 99.0})])
    old.finish()
    board = pd.DataFrame({"rank": pd.Series([1, None], dtype="Int64"), "objective": ["focal", "cross_entropy"]})
    sweep.close(
        "FINISHED",
        summaries={"focal": {"val/auroc": 0.5, "sd/val/auroc": 0.1, "n": 2.0}},
        leaderboard=board,
        note="**answer**",
        metrics={"best": 0.5},
    )
    focal = sweep.objectives["focal"]
    # The mean over the epochs that both runs reached, then the final mean, which is the run's value.
    assert curve(store, focal, "val/auroc") == [(0, 0.25), (1, 1.25), (2, 0.5)]
    assert store.client.get_run(focal).data.metrics == {"val/auroc": 0.5, "sd/val/auroc": 0.1, "n": 2.0}
    found = store.client.get_run(sweep.id)
    assert (found.info.status, found.data.metrics) == ("FINISHED", {"best": 0.5})
    assert found.data.tags["mlflow.note.content"] == "**answer**"
    assert [entry["path"] for entry in json.loads(found.data.tags["mlflow.loggedArtifacts"])] == ["leaderboard.json"]
    table = json.loads(read_artifact(store, sweep.id, found.info.artifact_uri, "leaderboard.json") or b"")
    assert table["columns"] == ["rank", "objective"]
    assert table["data"][0] == [1, "focal"]
    csv = read_artifact(store, sweep.id, found.info.artifact_uri, "leaderboard.csv")
    assert csv == b"rank,objective\n1,focal\n,cross_entropy\n"


@pytest.mark.parametrize(
    ("ends", "wanted"),
    [
        (["FINISHED", "FINISHED"], "FINISHED"),
        (["FINISHED", "FAILED", "KILLED"], "FAILED"),
        (["FINISHED", "KILLED"], "KILLED"),
        ([], "FINISHED"),
    ],
)
def test_an_objective_is_as_good_as_its_worst_job(store: Store, job: Job, ends: list[str], wanted: str) -> None:
    sweep = SweepRecord.open(store, "losses", objectives={"focal": {}})
    for seed, end in enumerate(ends):
        run = job(sweep, "focal", seed)
        run.fail("ValueError: no") if end == "FAILED" else run.finish(status=end)
    sweep.close("FINISHED")
    assert status(store, sweep.objectives["focal"]) == wanted


def test_jobs_whose_process_is_gone_are_ended(store: Store, job: Job) -> None:
    sweep = SweepRecord.open(store, "losses", objectives=OBJECTIVES)
    done, gone = job(sweep, "focal", 0), job(sweep, "focal", 1)
    done.finish()
    assert sweep.end_unfinished("FAILED") == [gone.id]
    assert [status(store, run.id) for run in (done, gone)] == ["FINISHED", "FAILED"]
    assert read.runs(store, sweep.id, status="FAILED")["error"].tolist() == ["ended with its sweep, unfinished"]
    later = job(sweep, "focal", 2)
    sweep.close("FAILED", error="Traceback\nValueError: no")
    assert status(store, later.id) == "KILLED"
    assert store.client.get_run(sweep.id).data.tags["lossbench.error"] == "ValueError: no"


@pytest.mark.parametrize(("error", "wanted"), [(KeyboardInterrupt, "KILLED"), (ValueError, "FAILED")])
def test_nothing_stays_running(store: Store, job: Job, error: type[BaseException], wanted: str) -> None:
    sweep = SweepRecord.open(store, "losses", objectives=OBJECTIVES)
    job(sweep, "focal", 0)
    with pytest.raises(error), sweep:
        raise error
    found = store.client.search_runs([store.experiment_id])
    assert {run.info.run_id: run.info.status for run in found}[sweep.id] == wanted
    assert all(run.info.status != "RUNNING" for run in found)


def test_every_part_is_tried_whatever_became_of_the_others(
    store: Store, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **more: object) -> None:
        raise MlflowException("no history", INVALID_STATE)

    sweep = SweepRecord.open(store, "losses", objectives=OBJECTIVES)
    job(sweep, "focal", 0)
    monkeypatch.setattr("lossbench.tracking.read.mean_curve", broken)
    with pytest.raises(MlflowException, match="no history"):
        sweep.close("FINISHED", note="answer")
    found = store.client.search_runs([store.experiment_id])
    assert all(run.info.status != "RUNNING" for run in found)
    assert store.client.get_run(sweep.id).data.tags["mlflow.note.content"] == "answer"
    assert sweep.status == "FINISHED"


def test_a_sweep_that_cannot_open_leaves_nothing_running(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    started = RunRecord.start.__func__

    def breaks(cls: type[RunRecord], store: Store, name: str, **more: object) -> RunRecord:
        if name == "focal":
            raise MlflowException("disk full", INVALID_STATE)
        return started(cls, store, name, **more)

    monkeypatch.setattr(RunRecord, "start", classmethod(breaks))
    with pytest.raises(MlflowException, match="disk full"):
        SweepRecord.open(store, "losses", objectives=OBJECTIVES)
    found = store.client.search_runs([store.experiment_id])
    assert [run.info.status for run in found] == ["FAILED", "FAILED"]


def test_jobs_that_were_left_out_are_remembered(store: Store) -> None:
    reasons = [("loss=hinge data=iris", "Hinge needs two classes, got 3")]
    with SweepRecord.open(store, "losses", objectives=OBJECTIVES, left_out=reasons) as sweep:
        pass
    assert read.left_out(store, sweep.id) == reasons
    with SweepRecord.open(store, "losses", objectives={}) as other:
        pass
    assert read.left_out(store, other.id) == []
