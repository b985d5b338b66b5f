"""The same command again: what is skipped, what is trained anew, and when a sweep of its own starts."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from commands import TINY, Command, Ended
from lossbench.tracking.run import RunRecord
from lossbench.tracking.schema import Tag
from lossbench.tracking.search import RunRow, search_runs
from lossbench.tracking.store.open import Store, open_store
from lossbench.tracking.store.process import Process
from lossbench.tracking.unfinished import GONE, repair

# A loss that raises while a file is there, and whose value a constant scales: an edit of the module changes it.
LOSS = """
from pathlib import Path
import torch
import helper_of_mine
def mine(scores, target):
    if Path("broken").exists():
        raise RuntimeError("the file is there")
    loss = torch.nn.BCEWithLogitsLoss(reduction="none")
    return helper_of_mine.FACTOR * loss(scores, target)
"""
HELPER = "FACTOR = 1.0\n"
YAML = """
_target_: lossbench.objective.losses.external.External
function: {_target_: hydra.utils.get_method, path: loss_of_mine.mine}
reads: scores
target: indicator
"""


@pytest.fixture(scope="module")
def mlruns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume") / "mlruns"
    open_store(folder)
    return folder


@pytest.fixture
def store(mlruns: Path, request: pytest.FixtureRequest) -> Store:
    return open_store(mlruns, experiment=re.sub(r"\W", "_", request.node.name))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a loss of a person's own."""
    (tmp_path / "conf" / "loss").mkdir(parents=True)
    (tmp_path / "conf" / "loss" / "mine.yaml").write_text(YAML)
    (tmp_path / "loss_of_mine.py").write_text(LOSS)
    (tmp_path / "helper_of_mine.py").write_text(HELPER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("loss_of_mine", "helper_of_mine"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.fixture
def sweep(store: Store, mlruns: Path, folder: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("COLUMNS", "160")
    # Drawing takes longer than these sweeps.
    monkeypatch.setattr("lossbench.sweep.reporting.keep_report", lambda store, record, found, explain: found)

    def run(*arguments: str) -> Ended:
        rings = [] if "data=table" in arguments else TINY[1:]
        given = ["-m", TINY[0], *rings, *arguments, f"paths.mlruns={mlruns}", f"tracking.experiment={store.experiment}"]
        return command(*given)

    return run


def counting(store: Store, role: str = "run") -> list[RunRow]:
    found = search_runs(store, f"tags.`lossbench.role` = '{role}'")
    return [run for run in found if not run.superseded]


def ids(store: Store) -> dict[str, str]:
    return {run.name: run.id for run in counting(store)}


JOBS = ("loss=mine,cross_entropy", "seed=0,1")


@pytest.fixture
def failed(sweep: Command, folder: Path) -> Ended:
    """A sweep whose own loss raised."""
    (folder / "broken").touch()
    ended = sweep(*JOBS)
    (folder / "broken").unlink()
    assert ended.status == 1, ended.err
    return ended


def test_failed_jobs_are_done_again_and_the_others_are_not(sweep: Command, failed: Ended, store: Store) -> None:
    before = ids(store)
    ended = sweep(*JOBS)
    assert ended.status == 0, ended.err
    assert "2 of 4 jobs are finished, 2 to train" in ended.out
    after = ids(store)
    assert {name for name in before if before[name] == after[name]} == {"s0 · cross_entropy", "s1 · cross_entropy"}
    assert {run.status for run in counting(store)} == {"FINISHED"}
    (one,) = counting(store, "sweep")
    assert one.status == "FINISHED"
    assert "lossbench.error" not in one.tags
    objectives = {run.id: run for run in counting(store, "objective")}
    assert len(objectives) == 2
    assert {run.metrics["n"] for run in objectives.values()} == {2.0}
    assert all("failed" not in run.metrics for run in objectives.values())
    assert {run.tags["mlflow.parentRunId"] for run in counting(store)} == set(objectives)
    assert len(counting(store, "reference")) == 4


def test_a_finished_sweep_is_never_continued(sweep: Command, store: Store) -> None:
    for sweeps in (1, 2):
        assert sweep("seed=0,1").status == 0
        assert len(counting(store, "sweep")) == sweeps
        assert len(counting(store)) == 2 * sweeps


def test_failed_jobs_may_stay_failed(sweep: Command, failed: Ended, store: Store) -> None:
    before = ids(store)
    ended = sweep(*JOBS, "sweep.retry_failed=false")
    assert ended.status == 1
    assert "2 stay failed, 0 to train" in ended.out
    assert ids(store) == before


def test_never_starts_another(sweep: Command, failed: Ended, store: Store) -> None:
    assert sweep(*JOBS, "sweep.resume=never").status == 0
    assert len(counting(store, "sweep")) == 2
    # The newest of these jobs has finished: the older one is not dug up.
    assert sweep(*JOBS).status == 0
    assert len(counting(store, "sweep")) == 3


def test_a_named_sweep(sweep: Command, failed: Ended, store: Store) -> None:
    (one,) = counting(store, "sweep")
    sweep(*JOBS, "sweep.resume=never")
    for name, why in ((one.id[:10], "has other jobs"), ("nothing_like_it", "no sweep is named")):
        ended = sweep("loss=focal", "seed=0,1", f"sweep.resume={name}")
        assert ended.status == 2
        assert why in ended.err
    finished = next(run for run in counting(store, "sweep") if run.status == "FINISHED")
    ended = sweep(*JOBS, f"sweep.resume={finished.id[:10]}")
    assert (ended.status, "has finished" in ended.err) == (2, True)
    assert sweep(*JOBS, f"sweep.resume={one.id[:10]}").status == 0
    assert {run.status for run in counting(store, "sweep")} == {"FINISHED"}


@pytest.mark.parametrize("edited", ["loss_of_mine.py", "helper_of_mine.py"])
def test_an_edited_module_is_trained_anew(
    sweep: Command, store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch, edited: str
) -> None:
    jobs = ("loss=mine,cross_entropy,failing", "seed=0")
    broken = (folder / "conf" / "loss" / "failing.yaml", folder / "failing_of_mine.py")
    broken[0].write_text(YAML.replace("loss_of_mine", "failing_of_mine"))
    broken[1].write_text("def mine(scores, target):\n    return scores * float('nan')\n")
    assert sweep(*jobs).status == 1
    before = ids(store)
    place = folder / edited
    place.write_text(place.read_text() + "\n# another\n")
    for name in ("loss_of_mine", "helper_of_mine"):
        monkeypatch.delitem(sys.modules, name)
    assert sweep(*jobs).status == 1
    after = ids(store)
    assert before["s0 · cross_entropy"] == after["s0 · cross_entropy"]
    assert before["s0 · mine"] != after["s0 · mine"]


def test_an_edited_table_is_trained_anew(sweep: Command, store: Store, folder: Path) -> None:
    lines = [f"{i % 7},{i % 5},{i % 2}" for i in range(80)]
    (folder / "table.csv").write_text("\n".join(["a,b,y", *lines]))
    (folder / "broken").touch()
    data = ("data=table", "data.path=table.csv", "data.target=y")
    assert sweep(*data, *JOBS).status == 1
    before = ids(store)
    (folder / "table.csv").write_text("\n".join(["a,b,y", *lines, "3,3,1"]))
    assert sweep(*data, *JOBS).status == 1
    after = ids(store)
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values())


def test_a_dry_run_lists_and_trains_nothing(sweep: Command, failed: Ended, store: Store) -> None:
    before = {run.id: run.status for run in search_runs(store)}
    ended = sweep("--dry-run", *JOBS)
    assert ended.status == 0, ended.err
    assert "    0  new (was failed)   mine: loss=mine seed=0" in ended.out
    assert "    2  finished           cross_entropy: loss=cross_entropy seed=0" in ended.out
    assert "4 jobs: 2 new, 2 finished" in ended.out
    assert "expected time: unknown" in ended.out
    ended = sweep(*JOBS, "sweep.resume=never", "sweep.retry_failed=false", "--dry-run")
    assert "4 jobs: 4 new" in ended.out
    assert "expected time: 1 s of training" in ended.out
    assert "1 objectives have no run yet" in ended.out
    assert {run.id: run.status for run in search_runs(store)} == before


@pytest.mark.parametrize("setting", ["resume=3.5", "retry_failed=3", "dry_run=maybe"])
def test_settings_of_the_wrong_type(sweep: Command, setting: str) -> None:
    ended = sweep("seed=0,1", f"sweep.{setting}")
    assert ended.status == 2
    assert f"sweep.{setting.partition('=')[0]} is" in ended.err


def _mark(store: Store, run: str, process: Process, status: str = "RUNNING") -> None:
    store.client.set_tag(run, Tag.PROCESS, str(process))
    store.client.update_run(run, status=status)


def another(**changes: object) -> Process:
    here = Process.current()
    values = {"host": here.host, "boot": here.boot, "space": here.space, "id": here.id, "started": here.started}
    return Process(**{**values, **changes})


@pytest.mark.parametrize(
    ("process", "adopted"),
    [
        (another(), False),  # alive: this very process
        (another(host="elsewhere"), False),  # not to be known from here
        (another(space="pid:[1]"), False),
        (another(started="1"), True),  # the id is in use again
        (another(boot="before"), True),  # the machine was started again
    ],
    ids=["alive", "other host", "other container", "id used again", "machine restarted"],
)
def test_a_sweep_that_may_be_alive_is_left_alone(
    sweep: Command, failed: Ended, store: Store, process: Process, adopted: bool
) -> None:
    (one,) = counting(store, "sweep")
    _mark(store, one.id, process)
    ended = sweep(*JOBS)
    assert ended.status == 0, ended.err
    assert len(counting(store, "sweep")) == (1 if adopted else 2)
    assert (f"the sweep {one.id[:8]} of the same jobs runs in process" in ended.out) is not adopted
    if not adopted:
        assert store.client.get_run(one.id).info.status == "RUNNING"
        store.client.set_terminated(one.id, "KILLED")


def test_a_worker_that_is_still_at_work_is_not_overtaken(
    sweep: Command, failed: Ended, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lossbench.tracking.unfinished._ORPHAN_SECONDS", 0.2)
    job = next(run for run in counting(store) if run.status == "FAILED")
    _mark(store, job.id, Process.current())
    ended = sweep(*JOBS)
    assert ended.status == 2
    assert f"process {os.getpid()} on" in ended.err
    assert "still trains 1 jobs of this sweep" in ended.err
    store.client.set_terminated(job.id, "KILLED")


def test_runs_whose_process_is_gone_are_ended_and_others_are_not(store: Store) -> None:
    gone, alive = (RunRecord.start(store, name, role="run") for name in ("gone", "alive"))
    foreign = store.client.create_run(store.experiment_id)
    store.client.set_tag(gone.id, Tag.PROCESS, str(another(started="1")))
    assert [run.id for run in repair(store)] == [gone.id]
    ended = store.client.get_run(gone.id)
    assert (ended.info.status, ended.data.tags["lossbench.error"]) == ("KILLED", GONE)
    for run in (alive.id, foreign.info.run_id):
        assert store.client.get_run(run).info.status == "RUNNING"
        store.client.set_terminated(run, "KILLED")
