"""A run that two processes share is one run, recorded once and truthfully, however it ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from commands import TINY
from lossbench.tracking import read

DOUBLE = ("trainer.precision=64-true", *TINY)
MINE = """
import os, signal, time
import torch.distributed as dist
from torch.nn.functional import binary_cross_entropy_with_logits

def rank():
    return dist.get_rank() if dist.is_initialized() else None

def per_row(scores, target):
    return binary_cross_entropy_with_logits(scores, target, reduction="none")

def raising(scores, target):
    if rank() is not None:
        raise RuntimeError("it raises")
    return per_row(scores, target)

def one_raises(scores, target):
    if rank() == 1:
        raise RuntimeError("the other raises")
    return per_row(scores, target)

def one_dies(scores, target):
    if rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return per_row(scores, target)

def slow(scores, target):
    if rank() is not None:
        time.sleep(0.3)
    return per_row(scores, target)
"""


@pytest.fixture
def place(killable: Callable[[str], Any]) -> Any:
    made = killable("place")
    (made.folder / "conf" / "loss").mkdir(parents=True)
    (made.folder / "conf" / "loss" / "mine.yaml").write_text(
        "_target_: lossbench.objective.losses.external.External\n"
        "function: {_target_: hydra.utils.get_method, path: mine_for_ranks.per_row}\n"
        "reads: scores\ntarget: indicator\n"
    )
    (made.folder / "mine_for_ranks.py").write_text(MINE)
    return made


def mine(function: str) -> tuple[str, ...]:
    return ("trainer=ddp", "loss=mine", f"loss.function.path=mine_for_ranks.{function}", *TINY)


def runs_of(place: Any) -> pd.DataFrame:
    found = read.runs(place.store)
    return found[found["role"] == "run"]


def test_two_processes_record_one_run_with_the_figures_of_one(place: Any) -> None:
    assert place.run("trainer=ddp", "weighting=balanced", *DOUBLE) == 0, place.said
    shared = place.said
    assert place.run("weighting=balanced", *DOUBLE) == 0
    runs = runs_of(place)
    assert list(runs["status"]) == ["FINISHED", "FINISHED"]
    figures = runs[[column for column in runs if "/" in column or column == "selected_epoch"]].astype(float)
    assert figures.shape[1] > 40
    apart = (figures.iloc[0] - figures.iloc[1]).abs()
    assert apart.max() < 1e-6, apart.idxmax()
    # One process speaks, and on stderr none.
    assert shared.count("config\n") == shared.count("open it with lossbench ui") == 1
    assert len(shared.splitlines()) == len(place.said.removeprefix(shared).splitlines()) + 1  # trainer.strategy


@pytest.mark.parametrize(
    ("function", "line"),
    [
        ("one_dies", "lossbench: rank 1 was killed by signal 9 (out of memory?)"),
        pytest.param("raising", "lossbench: RuntimeError: it raises", marks=pytest.mark.slow),
        pytest.param("one_raises", "lossbench: rank 1: RuntimeError: the other raises", marks=pytest.mark.slow),
    ],
)
def test_a_rank_that_fails_fails_the_run(place: Any, function: str, line: str) -> None:
    assert place.run(*mine(function)) == 1
    assert next(text for text in place.said.splitlines() if text.startswith("lossbench")) == line
    assert "Traceback" not in place.said
    assert list(runs_of(place)["status"]) == ["FAILED"]


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "code", "status"), [("SIGINT", 130, "KILLED"), ("SIGKILL", -9, "RUNNING")])
def test_whatever_ends_the_command_ends_its_ranks(place: Any, ending: str, code: int, status: str) -> None:
    command = place.start(*mine("slow"), "trainer.max_epochs=50")
    assert command.pid is not None
    assert place.wait(lambda: len(runs_of(place)) > 0 and place.workers_of(command.pid))
    others = place.workers_of(command.pid)
    os.kill(command.pid, getattr(signal, ending))
    command.join(30)
    assert command.exitcode == code, place.said
    assert list(runs_of(place)["status"]) == [status]
    assert place.wait(lambda: not any(Path(f"/proc/{other}").exists() for other in others), 20)


@pytest.mark.slow
def test_a_sweep_shares_its_runs_one_by_one_and_says_why(place: Any) -> None:
    assert place.run("-m", "trainer=ddp", "seed=0,1", *DOUBLE) == 0, place.said
    runs = runs_of(place)
    assert list(runs["status"]) == ["FINISHED", "FINISHED"]
    for run in runs["run_id"]:
        assert "Lightning's" in place.store.client.get_run(run).data.tags["lossbench.alone"]


@pytest.mark.slow
def test_a_shared_run_goes_on_from_its_checkpoint(place: Any) -> None:
    longer = ("trainer=ddp", *DOUBLE, "trainer.max_epochs=4")
    assert place.run("trainer=ddp", *DOUBLE, "training.resume_every=1") == 0, place.said
    (first,) = runs_of(place)["run_id"]
    assert place.run(*longer, f"ckpt_path={first}") == 0, place.said
    assert place.run(*longer) == 0
    runs = runs_of(place).set_index("run_id").drop(index=first)
    assert runs.shape[0] == 2
    figures = runs[[column for column in runs if column.startswith("test/")]].astype(float)
    assert (figures.iloc[0] == figures.iloc[1]).all()
