"""`lossbench compare` over runs of any origin, several sweeps and filters."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest

from lossbench.cli import compare
from lossbench.cli.main import dispatch
from lossbench.errors import UserError
from lossbench.sweep.answer import read_answer
from lossbench.tracking.run import RunRecord
from lossbench.tracking.store.open import Store, open_store
from lossbench.tracking.sweep import SweepRecord

ROWS = {"lossbench.rows_train": 60, "lossbench.rows_val": 20, "lossbench.rows_test": 20}


@pytest.fixture(scope="module")
def mlruns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sweeps of seven seeds each, and runs that lossbench did not make."""
    mlruns = tmp_path_factory.mktemp("compare") / "mlruns"
    store = open_store(mlruns, None, None)
    for name, first in (("first", 0), ("second", 7)):
        tags = {"lossbench.metric": "test/auroc", "lossbench.baseline": "mse", "lossbench.rope": 0.001}
        with SweepRecord.open(store, name, objectives={"mse": {}, "focal": {}}, tags=tags) as sweep:
            for seed in range(first, first + 7):
                for objective, value in (("mse", 0.5), ("focal", 0.502 + seed / 1e6)):
                    record = RunRecord.start(
                        store,
                        f"s{seed} · {objective}",
                        role="run",
                        params={"loss": objective, "weighting": "none", "seed": seed, "data": "rings"},
                        tags={"lossbench.seeds": "draws", "lossbench.test_digest": seed, **ROWS},
                        parent=sweep.objectives[objective],
                        sweep=sweep.id,
                        objective=objective,
                    )
                    record.finish({"test/auroc": value})
    for seed in range(8):
        for solver, value in (("adam", 0.5), ("sgd", 0.4 + seed / 1000)):
            run = store.client.create_run(store.experiment_id)
            for key, param in (("seed", seed), ("solver", solver)):
                store.client.log_param(run.info.run_id, key, param)
            store.client.log_metric(run.info.run_id, "hits", value)
            store.client.set_terminated(run.info.run_id)
    return mlruns


@pytest.fixture
def store(mlruns: Path) -> Store:
    return open_store(mlruns, None, None)


def found(capsys: pytest.CaptureFixture[str], mlruns: Path, *arguments: str) -> dict[str, dict]:
    assert compare.main([*arguments, "--mlruns", str(mlruns), "--format", "json"]) == 0
    return {row["objective"]: row for row in json.loads(capsys.readouterr().out)}


def test_a_sweep_is_judged_as_it_was_told(mlruns: Path, capsys: pytest.CaptureFixture[str]) -> None:
    focal = found(capsys, mlruns, "first")["focal"]
    assert (focal["pairs"], focal["verdict"]) == (7, "better")
    assert focal["p"] == pytest.approx(2 / 2**7)
    assert not focal["small"]
    # Better it stays, but by less than matters.
    wide = found(capsys, mlruns, "first", "--rope", "0.01")["focal"]
    assert (wide["verdict"], wide["small"]) == ("better", True)


def test_several_sweeps_are_compared_as_one(mlruns: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert found(capsys, mlruns, "first", "second", "first")["focal"]["pairs"] == 14
    some = found(capsys, mlruns, "first", "second", "--filter", "params.loss = 'focal'")
    assert list(some) == ["focal"]


def test_runs_of_another_origin(mlruns: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--filter", "metrics.hits > 0", "--by", "solver", "--metric", "hits", "--direction", "max"]
    rows = found(capsys, mlruns, *arguments, "--baseline", "adam")
    assert rows["sgd"]["verdict"] == "worse"
    assert rows["sgd"]["pairs"] == 8
    assert list(found(capsys, mlruns, *arguments)) == ["adam", "sgd"]
    assert compare.main([*arguments, "--mlruns", str(mlruns)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Train with adam: the other is worse (95%)." in text
    assert "the runs do not say whether seeds are independent draws" in text


def test_by_params_in_every_format(mlruns: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    told = ["first", "second", "--by", "loss,weighting", "--baseline", "mse · none", "--mlruns", str(mlruns)]
    assert list(found(capsys, mlruns, *told[:-2])) == ["focal · none", "mse · none"]
    assert compare.main([*told, "--format", "csv"]) == 0
    rows = pd.read_csv(io.StringIO(capsys.readouterr().out)).set_index("objective")
    assert rows.loc["focal · none", ["pairs", "verdict"]].tolist() == [14, "better"]
    assert compare.main([*told, "--format", "html", "--output", str(tmp_path / "both.html")]) == 0
    page = (tmp_path / "both.html").read_text()
    assert "first and second" in page
    assert "focal · none" in page


def test_a_report_of_runs_of_another_origin(mlruns: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    told = ["--filter", "metrics.hits > 0", "--by", "solver", "--metric", "hits", "--direction", "max"]
    page = tmp_path / "theirs.html"
    assert compare.main([*told, "--mlruns", str(mlruns), "--format", "html", "--output", str(page)]) == 0
    assert capsys.readouterr().out == f"report: {page}\n"
    assert "Leaderboard by hits (higher is better)" in page.read_text()


def test_what_a_run_says_of_its_rows_comes_back(store: Store) -> None:
    both = read_answer(store, filter="params.data = 'rings'", metric="test/auroc")
    assert both is not None
    assert both.runs["rows_train"].unique().tolist() == [60.0]
    assert both.runs["test_digest"].nunique() == 14
    assert both.runs["seeds"].unique().tolist() == ["draws"]
    assert read_answer(store, filter="params.data = 'nothing'") is None


def test_a_wrong_region_or_filter_is_the_users_error(mlruns: Path) -> None:
    with pytest.raises(UserError, match=r"compare\.rope is null or a number >= 0, got -1\.0"):
        compare.main(["first", "--rope", "-1", "--mlruns", str(mlruns)])
    with pytest.raises(UserError, match="holds no run that matches"):
        compare.main(["--filter", "params.loss = 'x'", "--mlruns", str(mlruns)])


def test_a_sweep_with_references_alone_has_nothing_to_compare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_store(tmp_path / "mlruns", None, None)
    sweep = SweepRecord.open(store, "begun", objectives={"mse": {}}, tags={"lossbench.metric": "test/auroc"})
    RunRecord.start(store, "s0 · Bayes rule", role="reference", parent=sweep.id, sweep=sweep.id).finish(
        {"test/auroc": 0.9}
    )
    assert read_answer(store, sweep.id) is None
    with pytest.raises(UserError, match="begun"):
        compare.main(["--mlruns", str(tmp_path / "mlruns")])
    sweep.close("KILLED")


def test_a_verb_understands_the_keys_of_a_run(mlruns: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["compare", "first", f"paths.mlruns={mlruns}", "compare.baseline=focal", "--format", "json"]
    assert dispatch(given) == 0
    rows = {row["objective"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["focal"]["difference"] == 0
    assert rows["mse"]["difference"] < 0


def test_a_verb_shows_where_an_error_arose_if_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["compare", "nothing", f"paths.mlruns={tmp_path}", "traceback=true"]) == 2
    assert "Traceback" in capsys.readouterr().err
