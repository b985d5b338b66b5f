"""Runs that are trained together end one by one: recorded, failed, killed, or trained along and left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lossbench.config.compose import compose
from lossbench.runs.engines import Lightning, Stacked
from lossbench.runs.execute import Outcome, Result, complete, complete_trials, score_of
from lossbench.runs.prepare import PlannedRun, build_job, plan_run, planned
from lossbench.runs.settings import read_settings
from lossbench.tracking.run import RunRecord
from lossbench.tracking.store.open import Store, open_store
from lossbench.training.fit import Fit

SMALL = ("data.positives=30", "data.negatives=90", "data.test_rows=40", "model.widths=[4]", "trainer.max_epochs=2")


@pytest.fixture(scope="module")
def mlruns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("project") / "mlruns"


@pytest.fixture(scope="module")
def store(mlruns: Path) -> Store:
    return open_store(mlruns)


@pytest.fixture(scope="module")
def configs(mlruns: Path) -> list[dict[str, Any]]:
    return [compose([*SMALL, f"seed={seed}", f"paths.mlruns={mlruns}"]) for seed in range(3)]


def statuses(store: Store) -> dict[str, str]:
    return {run.info.run_id: run.info.status for run in store.client.search_runs([store.experiment_id])}


class Breaking(Stacked):
    """Trains a stack, of which the second job breaks."""

    def train(self, runs: Sequence[PlannedRun], records: Sequence[RunRecord | None]) -> list[Fit | Exception]:
        first, _, *others = super().train(runs, records)
        return [first, ValueError("by hand"), *others]


def test_what_breaks_one_leaves_the_others_as_they_are(store: Store, configs: list[dict[str, Any]]) -> None:
    before = statuses(store)
    ended: list[Result | Exception] = []
    outcomes = complete([plan_run(config) for config in configs], Breaking(), ended.append)
    first, second, third = outcomes
    assert first is not None
    assert third is not None
    assert isinstance(second, Outcome)
    assert str(second.error) == "by hand"
    assert [type(each) for each in ended] == [Result, ValueError, Result]
    assert isinstance(ended[0], Result)
    assert first.score == ended[0].score
    new = {run: status for run, status in statuses(store).items() if run not in before}
    assert sorted(new.values()) == ["FAILED", "FINISHED", "FINISHED"]
    assert new[ended[0].run_id] == "FINISHED"


def test_a_job_that_is_trained_along_leaves_nothing(store: Store, configs: list[dict[str, Any]]) -> None:
    before = statuses(store)
    runs = []
    for number, config in enumerate(configs):
        settings = read_settings(config)
        runs.append(planned(build_job(settings), config, settings, recorded=number != 1))
    ended: list[Result | Exception] = []
    outcomes = complete(runs, Stacked(), ended.append)
    assert [outcome is None for outcome in outcomes] == [False, True, False]
    assert len(ended) == 2
    assert len(statuses(store)) - len(before) == 2


class Interrupted(Stacked):
    def train(self, runs: Sequence[PlannedRun], records: Sequence[RunRecord | None]) -> list[Fit | Exception]:
        raise KeyboardInterrupt


def test_an_interruption_ends_all(store: Store, configs: list[dict[str, Any]]) -> None:
    before = statuses(store)
    ended: list[Result | Exception] = []
    with pytest.raises(KeyboardInterrupt):
        complete([plan_run(config) for config in configs], Interrupted(), ended.append)
    assert ended == []
    assert [status for run, status in statuses(store).items() if run not in before] == ["KILLED"] * 3


def test_both_engines_give_trials_the_figures_of_the_selected_epoch(
    store: Store, configs: list[dict[str, Any]]
) -> None:
    before = statuses(store)
    trial = {**configs[0], "job": {**configs[0]["job"], "trial": True}}
    figures = []
    for engine in (Lightning(), Stacked()):
        (outcome,) = complete_trials([plan_run(trial)], engine)
        assert isinstance(outcome.score, dict)
        figures.append(outcome.score)
    assert score_of(trial) == figures[0]
    assert figures[0].keys() == figures[1].keys()
    assert all(key.startswith("val/") for key in figures[0])
    assert figures[0]["val/auroc"] == pytest.approx(figures[1]["val/auroc"], abs=1e-6)
    assert statuses(store) == before


def test_trials_that_break_say_so_each(configs: list[dict[str, Any]]) -> None:
    trials = [plan_run({**config, "job": {**config["job"], "trial": True}}) for config in configs]
    outcomes = complete_trials(trials, Breaking())
    assert [outcome.error is None for outcome in outcomes] == [True, False, True]
