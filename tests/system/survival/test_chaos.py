"""A sweep that is killed again and again ends, after restarts, as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from lossbench.tracking import read
from lossbench.tracking.artifacts import read_artifact
from lossbench.tracking.search import search_runs

Place = Any  # conftest's Killable
TIMED = ["seconds"]


def answer_of(place: Place) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The leaderboard, the final metrics of every job and the predictions, without what depends on clock and ids."""
    sweep = read.find_sweep(place.store, "last")
    folder = place.mlruns / "artifacts" / sweep.id / "artifacts"
    board = pd.read_csv(folder / "leaderboard.csv").drop(columns=TIMED)
    runs = read.runs(place.store, sweep.id)
    jobs = runs[runs["role"] == "run"].set_index("name").sort_index()
    metrics = jobs[[name for name in jobs if name.startswith("metrics.") and name != "metrics.seconds"]]
    predictions = pd.read_parquet(folder / "predictions.parquet")
    names = runs.set_index("run_id")["name"]
    predictions.insert(0, "name", predictions.pop("run_id").map(names))
    predictions = predictions.sort_values(["name", "split", "row"], kind="stable").reset_index(drop=True)
    return board, metrics, predictions


def require_whole(place: Place, jobs: int) -> None:
    """Exactly so many jobs count, all FINISHED and each once; nothing claims to run; no objective stands twice."""
    store = place.store
    assert list(search_runs(store, "attributes.status = 'RUNNING'")) == []
    (sweep,) = read.sweeps(store)
    assert sweep.status == "FINISHED"
    below = list(search_runs(store, f"tags.`lossbench.sweep` = '{sweep.id}'"))
    counting = [run for run in below if run.role == "run" and not run.superseded]
    assert len(counting) == jobs
    assert {run.status for run in counting} == {"FINISHED"}
    assert len({run.tags["lossbench.identity"] for run in counting}) == jobs
    objectives = {run.id: run for run in below if run.role == "objective"}
    labels = [run.tags["lossbench.objective"] for run in objectives.values()]
    assert len(labels) == len(set(labels))
    for run in counting:
        parent = objectives[run.tags["mlflow.parentRunId"]]
        assert parent.tags["lossbench.objective"] == run.tags["lossbench.objective"]
        assert read_artifact(store, run.id, run.artifact_uri, "model.pt")
    references = [run.name for run in below if run.role == "reference"]
    assert len(references) == len(set(references))
    assert not (place.mlruns / "shards" / sweep.id).exists()


def torment(place: Place, arguments: list[str], kills: int, jobs: int, seed: int) -> int:
    """Give a command again and again, killing it or one of its workers at random moments; return how often it was."""
    chance = random.Random(seed)
    killed = 0
    while killed < kills:
        process = place.start(*arguments)
        # What is left of the jobs has to last for the blows that are left, and a stack's end within a moment.
        ended = place.ended()
        goal = ended + chance.randint(0, max(0, jobs - ended) // (2 * (kills - killed)))
        place.wait(lambda process=process, goal=goal: place.ended() >= goal or not process.is_alive())
        time.sleep(chance.random() * 0.1)
        workers = place.workers_of(process.pid)
        victim = chance.choice(workers) if workers and chance.random() < 0.5 else process.pid
        if process.is_alive():
            killed += 1
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                killed -= 1
        process.join()
        if process.exitcode == 0:
            break
    for _ in range(3):
        if process.exitcode != 0:
            process = place.start(*arguments)
            process.join()
    assert process.exitcode == 0, place.said
    return killed


def chaos(killable: Callable[[str], Place], launcher: str, losses: str, seeds: int, kills: int, seed: int) -> None:
    calm, wild = killable("calm"), killable("wild")
    arguments = ["-m", f"loss={losses}", f"seed=range({seeds})", *calm.TINY, launcher]
    assert calm.run(*arguments) == 0, calm.said
    jobs = (losses.count(",") + 1) * seeds
    killed = torment(wild, arguments, kills, jobs, seed)
    # A stack's jobs end within a moment of each other, so a sweep may be over before the last blows.
    assert killed >= 0.75 * kills, f"it ended after {killed} kills: {wild.said}"
    require_whole(wild, jobs)
    for one, two in zip(answer_of(calm), answer_of(wild), strict=True):
        pd.testing.assert_frame_equal(one, two, check_exact=True)


@pytest.mark.parametrize("launcher", ["hydra.launcher.processes=1", "hydra/launcher=basic"], ids=["batched", "basic"])
def test_twenty_jobs_and_three_kills(killable: Callable[[str], Place], launcher: str) -> None:
    chaos(killable, launcher, "cross_entropy,focal,brier,pairwise_auc", 5, 3, 1)


@pytest.mark.slow(sample=False)
@pytest.mark.parametrize(
    "launcher", ["hydra.launcher.processes=2", "hydra/launcher=basic", "hydra/launcher=joblib"],
    ids=["batched", "basic", "joblib"],
)  # fmt: skip
def test_two_hundred_jobs_and_twenty_kills(killable: Callable[[str], Place], launcher: str) -> None:
    chaos(killable, launcher, "cross_entropy,focal,brier,pairwise_auc", 50, 20, 2)
