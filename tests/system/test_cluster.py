"""A sweep on a cluster: each of its jobs gets a stack, tried with submitit's own local executor."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from commands import TINY, run_command
from lossbench.errors import UserError
from lossbench.sweep.cluster import submitting_to
from lossbench.sweep.stacks import regrouped
from lossbench.tracking import read
from lossbench.tracking.store.open import open_store


def test_single_jobs_are_regrouped_for_each_worker_and_stacks_stay() -> None:
    chunks = [(None, [0, 1, 2]), ("a", [3]), ("b", [4]), ("a", [5]), ("a", [6]), (None, [7])]
    assert regrouped(chunks, 2) == [(None, [0, 1, 2]), (None, [7]), ("a", [3, 6]), ("a", [5]), ("b", [4])]


def test_wrong_parameters_are_the_users(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    with (
        pytest.raises(UserError, match=r"hydra.launcher.parameters: .*nothing"),
        submitting_to("local", tmp_path, {"nothing": 1}),
    ):
        pass


def test_without_submitit_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match=r"pip install 'lossbench\[cluster\]'"), submitting_to("local", tmp_path, {}):
        pass


@pytest.mark.slow
def test_a_sweep_by_the_local_executor_is_what_it_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("submitit")
    store = open_store(tmp_path / "mlruns")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lossbench.sweep.reporting.keep_report", lambda store, record, found, explain: found)
    tables = []
    for launcher in ("submitit_local", "basic"):
        given = ["-m", f"hydra/launcher={launcher}", "loss=cross_entropy,focal", "seed=range(4)", *TINY,
                 "trainer.precision=64-true", f"paths.mlruns={tmp_path / 'mlruns'}"]  # fmt: skip
        assert run_command(*given) == 0
        runs = read.runs(store, read.find_sweep(store, "last").id)
        tables.append(runs[runs["role"] == "run"].set_index("name")["metrics.test/log_loss"].sort_index())
    assert "Traceback" not in capfd.readouterr().err
    assert len(tables[0]) == 8
    assert (tables[0] - tables[1]).abs().max() < 1e-10
    # Two jobs of the cluster, four replicates each.
    assert len(list((tmp_path / "mlruns").glob("hydra/sweep/*/submitit/*_submitted.pkl"))) == 2
