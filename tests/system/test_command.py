"""Whole commands, as a person types them: in this process where imports would cost seconds, else from a shell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from commands import Command, Ended
from lossbench.cli.main import VERBS
from lossbench.tracking import read
from lossbench.tracking.search import search_runs
from lossbench.tracking.store.open import Store, open_store

QUICK = ("trainer.max_epochs=2", "data.test_rows=400", "data.negatives=600", "data.positives=60")


@pytest.fixture(scope="session")
def mlruns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all commands of this file: making one costs two seconds."""
    folder = tmp_path_factory.mktemp("command") / "mlruns"
    open_store(folder)
    return folder


@pytest.fixture
def store(mlruns: Path) -> Store:
    return open_store(mlruns)


@pytest.fixture
def lossbench(command: Command, mlruns: Path) -> Command:
    """Run the console command over the store of this file."""

    def run(*arguments: str) -> Ended:
        verb = arguments[:1] in (("compare",), ("ui",))
        return command(*arguments, *(["--mlruns", str(mlruns)] if verb else [f"paths.mlruns={mlruns}"]))

    return run


def shell(*arguments: str, cwd: Path, **more: str) -> Ended:
    ended = subprocess.run(
        [sys.executable, "-m", "lossbench", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=300,
        env={**os.environ, "COLUMNS": "120", **more},
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def heed_interrupts() -> None:
    """Undo what a shell does to the processes that it starts in the background: they ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def statuses(store: Store, sweep: str | None = None) -> pd.Series:
    runs = read.runs(store, sweep)
    return runs[runs["role"] == "run"]["status"].value_counts()


def running(store: Store) -> int:
    return len(list(search_runs(store, "attributes.status = 'RUNNING'")))


def one_line(ended: Ended) -> str:
    """The error, which is one line on stderr that says who speaks, and no traceback."""
    lines = [line for line in ended.err.splitlines() if line.strip()]
    assert len(lines) == 1, ended.err
    assert lines[0].startswith("lossbench: ")
    return lines[0].removeprefix("lossbench: ")


# One run


def test_a_run_shows_config_model_metrics_and_its_id(lossbench: Command, store: Store) -> None:
    ended = lossbench("loss=focal", "loss.gamma=3", "seed=5", *QUICK)
    assert ended.status == 0, ended.err
    assert "loss: focal" in ended.out
    assert "gamma: 3" in ended.out
    assert "total" in ended.out
    assert "average_precision" in ended.out
    run_id = ended.out.split("run ")[-1].split(";")[0]
    run = store.client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "s5 · focal"
    assert run.data.params["loss.gamma"] == "3"
    assert ended.err == ""


def test_help_lists_verbs_and_choices(lossbench: Command) -> None:
    ended = lossbench("--help")
    assert ended.status == 0
    for word in (
        *(f"lossbench {verb}" for verb in VERBS),
        "data: breast_cancer, digits, digits_ovr, iris, rings",
        "loss: ",
        "max_epochs: 20",
    ):
        assert word in ended.out


def test_cfg_job_prints_a_config_that_names_no_machine_but_the_project(lossbench: Command) -> None:
    ended = lossbench("--cfg", "job", "loss=focal")
    assert ended.status == 0
    assert "gamma: 2.0" in ended.out


@pytest.mark.parametrize("experiment", ["iris_cross_entropy", "rings_focal", "rings_weight_decay"])
def test_documented_experiments_run(lossbench: Command, store: Store, experiment: str) -> None:
    ended = lossbench(f"experiment={experiment}", "trainer.max_epochs=2")
    assert ended.status == 0, ended.err
    run_id = ended.out.split("run ")[-1].split(";")[0]
    figures = {file.path for file in store.client.list_artifacts(run_id, "figures")}
    assert {"figures/training_curves.png", "figures/roc.png"} <= figures


def test_a_users_own_conf_folder_adds_a_choice(lossbench: Command, tmp_path: Path) -> None:
    (tmp_path / "conf" / "loss").mkdir(parents=True)
    (tmp_path / "conf" / "loss" / "mine.yaml").write_text(
        "_target_: lossbench.objective.losses.focus.Focal\ngamma: 7\nalpha: null\n"
    )
    ended = lossbench("loss=mine", *QUICK)
    assert ended.status == 0, ended.err
    assert "loss: mine" in ended.out


# The user's errors: status 2, one line, nothing recorded


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["loss=focl"], ["loss=focl", "did you mean focal", "cross_entropy"]),
        (["los=focal"], ["los", "did you mean loss"]),
        (["loss=focal", "loss.gama=3"], ["loss.gama", "did you mean loss.gamma"]),
        (["loss=focal", "loss.gamma=-1"], ["Focal", "gamma >= 0", "-1"]),
        (["loss=focal", "loss.gamma=many"], ["Focal", "gamma", "many"]),
        (["loss=focal", "+loss.extra=1"], ["Focal", "gamma, alpha", "extra"]),
        (["optimizer.lr=-1"], ["optimizer", "-1"]),
        (["model.widths=[]"], ["Mlp", "widths", "[]"]),
        (["data.val=0"], ["val", "0"]),
        (["seed=one"], ["seed", "integer", "one"]),
        (["select.metric=val/aurc"], ["select.metric", "val/auroc", "val/aurc"]),
        (["select.metric=test/auroc"], ["select.metric", "validation", "test/auroc"]),
        (["select.patience=0"], ["select.patience", "0"]),
        (["trainer.max_epochs=0"], ["trainer.max_epochs", "0"]),
        (["trainer.precision=16-mixed"], ["trainer.precision", "32-true", "16-mixed"]),
        (["+trainer.no_such_flag=1"], ["trainer", "no_such_flag"]),
        (["trainer.accelerator=mps"], ["mps"]),
        (["training.decay_on=biases"], ["training.decay_on", "weights", "biases"]),
        (["ckpt_path=nowhere.ckpt"], ["ckpt_path", "nowhere.ckpt"]),
        (["model=class_prior"], ["ClassPrior", "no parameters"]),
        (["data=table"], ["data.path", "needs a value"]),
        (["data=table", "data.path=absent.csv", "data.target=y"], ["absent.csv"]),
        (["loss=bce", "loss=[focal"], ["[focal"]),
        (["data=iris", "weighting=explicit"], ["Explicit", "2", "3"]),
        (["loss=bce_with_logits", "loss.pos_weight=3", "weighting=balanced"], ["allow_double"]),
    ],
    ids=lambda value: "+".join(value)[:40] if isinstance(value, list) else "",
)
def test_a_users_error_is_one_line_and_leaves_no_run(
    lossbench: Command, store: Store, arguments: list[str], words: list[str]
) -> None:
    before = len(list(search_runs(store)))
    ended = lossbench(*arguments)
    assert ended.status == 2, ended
    line = one_line(ended)
    for word in words:
        assert word in line, line
    assert len(list(search_runs(store))) == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b,y\n1,2,0\n2,3,1\n", ["y2", "did you mean 'y'"]),
        ("", ["empty"]),
        ("a,y2\n", ["mine.csv"]),
        ("a,y2\n1,0\n2,0\n3,0\n", ["y2", "class"]),
        ("a,y2\n1,0\n2,1\n", ["test split", "2 rows"]),
    ],
    ids=["no target column", "empty file", "no rows", "one class", "two rows"],
)
def test_a_bad_table_is_one_line(lossbench: Command, tmp_path: Path, text: str, words: list[str]) -> None:
    (tmp_path / "mine.csv").write_text(text)
    ended = lossbench("data=table", "data.path=mine.csv", "data.target=y2")
    assert ended.status == 2
    for word in words:
        assert word in one_line(ended)


def test_an_unwritable_store_is_one_line(lossbench: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = lossbench("tracking.uri=sqlite:////proc/no/such/place.db", *QUICK)
    assert ended.status == 2
    assert "/proc/no/such" in one_line(ended)


def test_traceback_true_shows_the_traceback(lossbench: Command) -> None:
    ended = lossbench("loss=focal", "loss.gamma=-1", "traceback=true")
    assert ended.status == 2
    assert "Traceback" in ended.err


# Sweeps


def test_a_sweep_records_three_levels_and_ends_in_a_leaderboard(lossbench: Command, store: Store) -> None:
    ended = lossbench("-m", "loss=cross_entropy,focal", "seed=range(2)", *QUICK)
    assert ended.status == 0, ended.err
    assert "test/auroc (higher is better)" in ended.out
    assert "class prior" in ended.out
    assert "Bayes rule" in ended.out
    sweep = read.find_sweep(store, "last")
    assert sweep.status == "FINISHED"
    runs = read.runs(store, sweep.id)
    jobs = runs[runs["role"] == "run"]
    assert sorted(jobs["name"]) == ["s0 · cross_entropy", "s0 · focal", "s1 · cross_entropy", "s1 · focal"]
    assert (jobs["status"] == "FINISHED").all()
    objectives = {run.name: run for run in search_runs(store, f"tags.`mlflow.parentRunId` = '{sweep.id}'")}
    assert {"cross_entropy", "focal"} <= set(objectives)
    for name in ("cross_entropy", "focal"):
        own = jobs[jobs["objective"] == name]
        metrics = objectives[name].metrics
        assert metrics["test/auroc"] == pytest.approx(own["metrics.test/auroc"].mean(), abs=1e-12)
        assert metrics["n"] == 2
        parents = {store.client.get_run(run_id).data.tags["mlflow.parentRunId"] for run_id in own["run_id"]}
        assert parents == {objectives[name].id}
    gap = jobs.pivot_table(index="params.seed", columns="objective", values="metrics.test/auroc")
    assert objectives["focal"].metrics["difference/test/auroc"] == pytest.approx(
        (gap["focal"] - gap["cross_entropy"]).mean(), abs=1e-12
    )
    artifacts = {file.path for file in store.client.list_artifacts(sweep.id)}
    assert {"leaderboard.csv", "leaderboard.json", "predictions.parquet"} <= artifacts
    predictions = pd.read_parquet(store.client.download_artifacts(sweep.id, "predictions.parquet"))
    assert set(predictions["run_id"]) == set(jobs["run_id"])
    assert not (store.mlruns / "shards" / sweep.id).exists()


def test_compare_shows_the_last_sweep_again(lossbench: Command) -> None:
    swept = lossbench("-m", "loss=cross_entropy,brier", "seed=range(2)", *QUICK)
    table = [line for line in swept.out.splitlines() if "cross_entropy" in line or "brier" in line]
    again = lossbench("compare")
    assert again.status == 0
    for line in table:
        assert line in again.out
    records = json.loads(lossbench("compare", "--format", "json", "--metric", "val/log_loss").out)
    assert {row["objective"] for row in records} >= {"cross_entropy", "brier"}
    by_loss = lossbench("compare", "--by", "loss", "--format", "csv")
    assert "cross_entropy" in by_loss.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compare", "no_such_sweep"], ["no_such_sweep"]),
        (["compare", "--metric", "test/aurocc"], ["test/aurocc"]),
        (["compare", "--baseline", "focl"], ["focl"]),
        (["compare", "--by", "los"], ["los"]),
        (["ui", "--port", "0"], ["port", "0"]),
    ],
)
def test_a_wrong_verb_argument_is_one_line(lossbench: Command, arguments: list[str], words: list[str]) -> None:
    lossbench("-m", "loss=cross_entropy,focal", *QUICK)
    ended = lossbench(*arguments)
    assert ended.status == 2
    for word in words:
        assert word in one_line(ended)


def test_a_wrong_override_in_the_last_job_stops_the_sweep_before_the_first_trains(
    lossbench: Command, store: Store
) -> None:
    before = len(list(search_runs(store)))
    ended = lossbench("-m", "loss=focal", "loss.gamma=0,1,2,3,4,5,-6", *QUICK)
    assert ended.status == 2
    line = one_line(ended)
    assert "job 6" in line
    assert "loss.gamma=-6" in line
    assert "gamma >= 0" in line
    assert len(list(search_runs(store))) == before


def test_jobs_that_cannot_serve_are_left_out_and_listed(lossbench: Command, store: Store) -> None:
    ended = lossbench("-m", "loss=cross_entropy,bce_with_logits", "loss.pos_weight=3", "weighting=none", *QUICK)
    assert ended.status == 2  # cross_entropy has no pos_weight: that is the user's error, not a refusal
    ended = lossbench("-m", "data=iris", "weighting=none,explicit", "trainer.max_epochs=2")
    assert ended.status == 0, ended.err
    assert "1 job left out, which is no failure" in ended.out
    assert "weighting=explicit" in ended.out
    assert read.find_sweep(store, "last").status == "FINISHED"


def test_a_job_that_raises_is_recorded_and_the_others_run(lossbench: Command, store: Store, tmp_path: Path) -> None:
    # A learning rate that overflows: the loss turns NaN while it trains, which no check before can know.
    ended = lossbench("-m", "data=iris", "optimizer=sgd", "optimizer.lr=0.01,1e30", "trainer.max_epochs=3")
    assert ended.status == 1
    assert "1 job did not finish" in ended.out
    assert "optimizer.lr=1e+30" in ended.out
    assert "1 of 2 jobs failed" in ended.err
    sweep = read.find_sweep(store, "last")
    assert sweep.status == "FAILED"
    runs = read.runs(store, sweep.id)
    failed = runs[runs["status"] == "FAILED"].iloc[0]
    assert "traceback.txt" in {file.path for file in store.client.list_artifacts(failed["run_id"])}
    assert (runs["status"] == "FINISHED").sum() == 2  # the other job and the class prior
    assert running(store) == 0


def test_a_comparison_document_sets_its_own_sweep(lossbench: Command, store: Store) -> None:
    ended = lossbench("comparison=demo", "seed=range(2)", *QUICK)
    assert ended.status == 0, ended.err
    sweep = read.find_sweep(store, "last")
    assert sweep.name == "demo"
    assert statuses(store, sweep.id)["FINISHED"] == 6


def test_folds_pair_within_a_table(lossbench: Command, store: Store) -> None:
    ended = lossbench("-m", "data=iris", "data.fold=range(3)", "loss=cross_entropy,focal", "trainer.max_epochs=2")
    assert ended.status == 0, ended.err
    runs = read.runs(store, read.find_sweep(store, "last").id)
    assert sorted(runs[runs["role"] == "run"]["params.fold"].unique()) == [0, 1, 2]
    assert (runs[runs["role"] == "run"].groupby("objective").size() == 3).all()


@pytest.mark.slow
def test_the_joblib_launcher_gives_the_same_numbers(lossbench: Command, mlruns: Path, store: Store) -> None:
    sweep = ["-m", "loss=cross_entropy,focal", "seed=range(2)", *QUICK]
    assert lossbench(*sweep, "hydra/launcher=basic").status == 0
    one = read.runs(store, read.find_sweep(store, "last").id)
    ended = shell(*sweep, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", f"paths.mlruns={mlruns}", cwd=mlruns)
    assert ended.status == 0, ended.err
    two = read.runs(store, read.find_sweep(store, "last").id)
    assert set(one["sweep"]).isdisjoint(two["sweep"])
    columns = [column for column in one if column.startswith("metrics.test/")]
    pd.testing.assert_frame_equal(
        one.set_index("name")[columns].sort_index(), two.set_index("name")[columns].sort_index(), rtol=0, atol=0
    )


# Interrupts


@pytest.mark.parametrize(
    "launcher", ["batched", *(pytest.param(name, marks=pytest.mark.slow) for name in ("basic", "joblib"))]
)
def test_ctrl_c_in_a_sweep_leaves_a_truthful_record(mlruns: Path, store: Store, tmp_path: Path, launcher: str) -> None:
    command = [
        *(sys.executable, "-m", "lossbench", "-m", "loss=cross_entropy,focal", "seed=range(20)"),
        *("trainer.max_epochs=4", f"hydra/launcher={launcher}", f"paths.mlruns={mlruns}"),
        *("tracking.experiment=interrupted-" + launcher, "data.test_rows=400"),
    ]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_interrupts,
    )
    own = open_store(mlruns, experiment="interrupted-" + launcher)
    until = time.monotonic() + 120
    while time.monotonic() < until and statuses(own).get("FINISHED", 0) < 2 and process.poll() is None:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "lossbench: interrupted" in err
    assert "Traceback" not in err
    assert "test/auroc" in out
    found = statuses(own)
    assert found["FINISHED"] >= 2
    assert set(found.index) <= {"FINISHED", "KILLED"}
    assert running(own) == 0
    assert read.find_sweep(own, "last").status == "KILLED"


def test_ctrl_c_in_a_run_records_it_as_killed(mlruns: Path, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "lossbench", "trainer.max_epochs=100000", f"paths.mlruns={mlruns}"),
        "tracking.experiment=interrupted-run",
    ]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts
    )
    own = open_store(mlruns, experiment="interrupted-run")
    until = time.monotonic() + 120
    while time.monotonic() < until and not running(own) and process.poll() is None:
        time.sleep(0.1)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.strip().endswith("lossbench: interrupted")
    assert statuses(own).to_dict() == {"KILLED": 1}


# Speed of what should be instant, by what is imported: a timed test would fail on a busy machine.


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    script = (
        "import sys; from lossbench.cli.main import dispatch; sys.argv[1:] = sys.argv[1:]\n"
        "status = dispatch(sys.argv[1:])\n"
        "heavy = [name for name in ('torch', 'lightning', 'mlflow', 'pandas') if name in sys.modules]\n"
        "print('HEAVY', heavy, status)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert "HEAVY [] 0" in ended.stdout, ended.stdout + ended.stderr


def test_completion_offers_verbs_and_choices(tmp_path: Path) -> None:
    ended = shell("-sc", "query=bash", cwd=tmp_path, COMP_LINE="lossbench com", COMP_POINT="13")
    assert "compare" in ended.out
    ended = shell("-sc", "query=bash", cwd=tmp_path, COMP_LINE="lossbench loss=fo", COMP_POINT="17")
    assert "loss=focal" in ended.out
