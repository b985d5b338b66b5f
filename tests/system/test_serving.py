"""From a recorded run to a model in use, in whole commands: export, predict, evaluate, by id, name or sweep."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.pyfunc import load_model
from numpy.testing import assert_allclose

from commands import Command, Ended, run_command
from lossbench.cli.explain import HEAD, _fitting
from lossbench.errors import UserError
from lossbench.inference import model_file
from lossbench.runs.find import best_of, find_run
from lossbench.tracking import read
from lossbench.tracking.artifacts import read_artifact
from lossbench.tracking.search import search_runs
from lossbench.tracking.store.open import Store, open_store

VERBS = ("export", "predict", "evaluate", "explain")
DATA = ("data=table", "data.target=churned", "data.categorical=[zone]")


class Project(NamedTuple):
    """A store with one stacked sweep over a person's table: two objectives, two seeds."""

    store: Store
    table: Path
    sweep: str
    runs: pd.DataFrame


def table() -> pd.DataFrame:
    """Customers, with gaps, codes that look like numbers, dates and a rare plan."""
    draw, rows = np.random.default_rng(0), 240
    frame = pd.DataFrame(
        {
            "age": draw.normal(40, 10, rows).round(1),
            "pays": draw.random(rows) < 0.5,
            "zone": draw.choice(["01", "02", "13"], rows),
            "plan": draw.choice(["basic", "plus", "größer"], rows, p=[0.6, 0.38, 0.02]),
            "since": (pd.Timestamp("2020-01-01") + pd.to_timedelta(draw.integers(0, 900, rows), "D")).astype(str),
        }
    )
    risk = (frame["age"] - 40) / 10 - frame["pays"] + (frame["zone"] == "01") + draw.normal(0, 1, rows)
    frame["pays"] = frame["pays"].astype(object)
    for name in ("age", "pays", "plan"):
        frame.loc[draw.random(rows) < 0.1, name] = None
    return frame.assign(churned=np.where(risk > 0.5, "yes", "no"))


RAW = ["age", "pays", "zone", "plan", "since"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("serving")
    mlruns, path = folder / "mlruns", folder / "churn.csv"
    table().to_csv(path, index=False)
    data = (*DATA, f"data.path={path}", "data.batch_size=64")
    status = run_command(
        "-m", *data, "loss=cross_entropy,focal", "seed=0,1", "model.widths=[4]", "trainer.max_epochs=3",
        "compare.explain=true", f"paths.mlruns={mlruns}",
    )  # fmt: skip
    assert status == 0
    store = open_store(mlruns)
    sweep = read.find_sweep(store, "last").id
    runs = read.runs(store, sweep)
    return Project(store, path, sweep, runs[runs["role"] == "run"].reset_index(drop=True))


@pytest.fixture
def lossbench(project: Project, command: Command) -> Command:
    """Run a verb over the store of this file."""
    return lambda *arguments: command(*arguments, "--mlruns", str(project.store.mlruns))


def one_line(ended: Ended) -> str:
    lines = [line for line in ended.err.splitlines() if line.strip()]
    assert len(lines) == 1, ended.err
    assert lines[0].startswith("lossbench: ")
    return lines[0]


def recorded(project: Project, run_id: str) -> pd.DataFrame:
    """What the run itself said of its test rows, by row number."""
    said = pd.read_parquet(Path(project.store.artifacts.removeprefix("file://")) / project.sweep / "artifacts" /
                           "predictions.parquet")  # fmt: skip
    return said[(said["run_id"] == run_id) & (said["split"] == "test")].set_index("row").sort_index()


def test_a_run_of_a_stack_predicts_what_it_recorded(lossbench: Command, project: Project, tmp_path: Path) -> None:
    run_id = project.runs["run_id"][0]
    ended = lossbench("predict", run_id[:8], str(project.table), "-o", "said.parquet", "--keep", "age")
    assert ended.status == 0, ended.err
    assert ended.out == ""
    assert "240 rows" in ended.err
    assert "ignored" not in ended.err
    assert "column 'plan' has 1 values that training had rarely or not: 'größer'" in ended.err
    said = pd.read_parquet(tmp_path / "said.parquet")
    assert list(said) == ["age", "label", "probability_no", "probability_yes", "score"]
    before = recorded(project, run_id)
    assert len(before) > 20
    after = said.iloc[before.index]
    assert_allclose(after["score"], before["score_0"], rtol=0, atol=1e-6)
    assert_allclose(after[["probability_no", "probability_yes"]], before[["posterior_0", "posterior_1"]], atol=1e-6)


def test_kept_columns_stay_beside_their_rows_whatever_the_index(
    lossbench: Command, project: Project, tmp_path: Path
) -> None:
    whole = table().assign(id=range(240), extra=0)
    whole.set_axis([3] * 240).to_parquet(tmp_path / "again.parquet")
    run_id = project.runs["run_id"][0]
    ended = lossbench("predict", run_id, "again.parquet", "-o", "said.csv", "--keep", "id,churned")
    assert ended.status == 0, ended.err
    assert "ignored, since training had no such column: 'extra'\n" in ended.err
    said = pd.read_csv(tmp_path / "said.csv")
    assert said["id"].tolist() == list(range(240))
    assert said["churned"].tolist() == whole["churned"].tolist()
    lossbench("predict", run_id, str(project.table), "-o", "alone.csv")
    pd.testing.assert_frame_equal(said.drop(columns=["id", "churned"]), pd.read_csv(tmp_path / "alone.csv"))


def test_predictions_on_the_terminal_are_csv(lossbench: Command, project: Project, tmp_path: Path) -> None:
    table().drop(columns="churned").to_parquet(tmp_path / "new.parquet")
    ended = lossbench("predict", "best of last", "new.parquet", "--threshold", "1")
    assert ended.status == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[0] == "label,probability_no,probability_yes,score"
    assert len(lines) == 241
    assert {line.split(",")[0] for line in lines[1:]} == {"no"}
    assert "by its mean val/auroc" in ended.err


def test_a_file_is_evaluated_as_the_run_was(lossbench: Command, project: Project, tmp_path: Path) -> None:
    run = project.runs.iloc[1]
    table().iloc[recorded(project, run["run_id"]).index].to_csv(tmp_path / "test.csv", index=False)
    ended = lossbench("evaluate", run["run_id"], "test.csv", "--format", "json")
    assert ended.status == 0, ended.err
    found = json.loads(ended.out)["metrics"]
    assert {"auroc", "posterior/log_loss", "tuned/f1", "recall/yes"} <= set(found)
    for name, value in found.items():
        assert value == pytest.approx(run[f"metrics.test/{name}"], abs=1e-6), name
    shown = lossbench("evaluate", run["run_id"], "test.csv")
    assert f"{found['auroc']:.4f}" in shown.out
    assert "thresholds on the posterior" in shown.out


def test_an_export_is_a_complete_mlflow_model(
    lossbench: Command, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = project.runs["run_id"][2]
    ended = lossbench("export", run_id, "--register", "churn")
    assert ended.status == 0, ended.err
    assert f"exported as runs:/{run_id}/model" in ended.out
    assert "models:/churn/1" in ended.out
    # MLflow's own addresses are global, and an earlier test in this process may have set either.
    for variable, module in (("_tracking_uri", "_tracking_service"), ("_registry_uri", "_model_registry")):
        monkeypatch.setattr(f"mlflow.tracking.{module}.utils.{variable}", project.store.uri)
    model, again = load_model("models:/churn/1"), load_model(f"runs:/{run_id}/model")
    raw = table()[RAW[::-1]]
    said = model.predict(raw)
    ended = lossbench("predict", "churn", str(project.table), "-o", "said.parquet")
    assert "version 1 of the registered model 'churn'" in ended.err
    pd.testing.assert_frame_equal(said, pd.read_parquet(tmp_path / "said.parquet"), check_dtype=False, atol=1e-12)
    pd.testing.assert_frame_equal(again.predict(raw), said)
    assert said["label"].nunique() == 2
    # the tuned threshold, and one for this call
    cut = model.metadata.metadata["lossbench"]["thresholds"]["f1"]
    assert (said["label"] == "yes").tolist() == (said["probability_yes"] > cut).tolist()
    assert set(model.predict(raw, params={"threshold": 0.0})["label"]) == {"yes"}
    # what MLflow shows of it
    signature = model.metadata.signature
    kinds = {column["name"]: column["type"] for column in signature.inputs.to_dict()}
    assert kinds == dict.fromkeys(RAW, "any")
    assert model.metadata.metadata["lossbench"]["columns"] == {
        "age": "numeric", "pays": "boolean", "zone": "categorical", "plan": "categorical", "since": "date"
    }  # fmt: skip
    # a column comes in several forms, and each is read as training read it
    whole = raw.assign(age=raw["age"].fillna(40).round(), plan="basic")
    plain = model.predict(whole)
    for age, plan in (("int64", "category"), ("Int64", "string"), ("float32", object)):
        pd.testing.assert_frame_equal(model.predict(whole.astype({"age": age, "plan": plan})), plain)
    pd.testing.assert_frame_equal(model.predict(whole.assign(plan=np.nan)), model.predict(whole.assign(plan=None)))
    with pytest.raises(UserError, match="column 'age' needs a number in row 1, got 'old'"):
        model.predict(whole.astype({"age": object}).assign(age="old"))
    assert signature.outputs.input_names() == ["label", "probability_no", "probability_yes", "score"]
    assert len(model.predict(model.input_example)) == 1
    folder = Path(model.metadata.artifact_path.removeprefix("file://"))
    listed = [line.partition("==")[0] for line in (folder / "requirements.txt").read_text().splitlines()]
    assert listed == ["mlflow", "numpy", "pandas", "scipy", "scikit-learn", "torch"]
    assert not list(folder.rglob("*.pkl"))
    assert lossbench("export", run_id, "--register", "churn").out.rstrip().endswith("models:/churn/2")
    assert find_run(project.store, "churn/1").run_id == find_run(project.store, "churn").run_id == run_id


def test_the_best_of_a_sweep_is_picked_by_validation(project: Project) -> None:
    means = project.runs.groupby("objective")["metrics.val/auroc"].mean()
    found = best_of(project.store, "last")
    own = project.runs.set_index("run_id").loc[found.run_id]
    assert own["objective"] == means.idxmax()
    assert "its median one (each has validation rows of its own)" in found.reason


@pytest.mark.parametrize(("same_rows", "expected", "why"), [(True, "b", "its best"), (False, "a", "its median one")])
def test_a_run_whose_validation_rows_were_easy_is_no_better(
    same_rows: bool, expected: str, why: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pd.DataFrame(
        {
            "run_id": ["a", "b", "c", "d"],
            "role": "run",
            "objective": ["focal", "focal", "focal", "brier"],
            "val_digest": "same" if same_rows else ["1", "2", "3", "1"],
            "metrics.val/auroc": [0.8, 0.9, 0.7, 0.79],
            "metrics.test/auroc": [0.5, 0.5, 0.5, 0.99],
        }
    )
    monkeypatch.setattr(read, "runs", lambda *_, **__: frame)
    monkeypatch.setattr("lossbench.runs.find.read_run", lambda _, run_id: run_id)
    chosen = best_of(project.store, "last")
    assert chosen.run == expected
    assert "focal, by its mean val/auroc of 0.8000 over 3 runs" in chosen.reason
    assert why in chosen.reason


def test_a_run_is_explained_on_its_test_rows_or_a_file(lossbench: Command, project: Project, tmp_path: Path) -> None:
    run = project.runs.iloc[0]
    ended = lossbench("explain", run["run_id"], "--metric", "log_loss", "--format", "json")
    assert ended.status == 0, ended.err
    said = json.loads(ended.out)
    assert (said["split"], {entry["column"] for entry in said["importances"]}) == ("test", set(RAW))
    assert said["value"] == pytest.approx(run["metrics.test/posterior/log_loss"], abs=1e-6)
    rows = recorded(project, run["run_id"]).index
    assert {entry["row"] - 1 for entry in said["mistakes"]} <= set(rows)
    for entry in said["mistakes"]:
        row = table().iloc[entry["row"] - 1]
        assert (entry["true"], entry["zone"], entry["since"]) == (row["churned"], row["zone"], row["since"])
    table().iloc[rows].to_csv(tmp_path / "test.csv", index=False)
    on_file = json.loads(
        lossbench("explain", run["run_id"], "test.csv", "--metric", "log_loss", "--format", "json").out
    )
    assert on_file["value"] == pytest.approx(said["value"], abs=1e-9)
    assert {entry["column"]: entry["importance"] for entry in on_file["importances"]} == pytest.approx(
        {entry["column"]: entry["importance"] for entry in said["importances"]}, abs=0.1
    )
    shown = lossbench("explain", "best of last").out
    assert "gets worse" in shown
    assert "Rows of yes that were labelled otherwise" in shown


def test_mistakes_fit_into_the_terminal() -> None:
    columns = [f"c{number}" for number in range(8)]
    row = {"row": 3, "true": "no", "label": "yes", "probability": 0.9, **dict.fromkeys(columns, 1), "row (column)": 2}
    said = {"importances": [{"column": name} for name in ("c7", *columns[:5], "row", "c5", "c6")], "mistakes": [row]}
    assert list(_fitting(said)["mistakes"][0]) == [*HEAD, *columns[:5], "c7"]
    assert list(_fitting({**said, "importances": said["importances"][:6]})["mistakes"][0]) == list(row)


def test_a_sweep_explains_its_best_run_in_the_report(project: Project) -> None:
    sweep = project.store.client.get_run(project.sweep)
    assert read_artifact(project.store, project.sweep, sweep.info.artifact_uri, "explanation.json")
    page = read_artifact(project.store, project.sweep, sweep.info.artifact_uri, "report.html").decode()
    assert "What the best model looks at" in page
    assert best_of(project.store, "last").run_id in page


def test_a_network_is_written_as_onnx(lossbench: Command, project: Project, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    ended = lossbench("export", "best of last", "--onnx", "model.onnx")
    assert ended.status == 0, ended.err
    assert (tmp_path / "model.onnx").stat().st_size > 500
    assert lossbench("export", "best of last", "--onnx", "model.onnx", "--register", "x").status == 2


@pytest.mark.parametrize("verb", VERBS)
def test_a_hostile_model_is_refused_with_one_line(
    verb: str, lossbench: Command, project: Project, tmp_path: Path
) -> None:
    run_id = project.runs["run_id"][3]
    file = Path(project.store.client.get_run(run_id).info.artifact_uri.removeprefix("file://")) / "model.pt"
    whole = file.read_bytes()
    content = model_file.load(file)
    content["config"]["loss"] = {"_target_": "os.system", "command": f"touch {tmp_path / 'touched'}"}
    more = [] if verb == "export" else [str(project.table)]
    try:
        torch.save(content, file)
        ended = lossbench(verb, run_id, *more)
    finally:
        file.write_bytes(whole)
    assert ended.status == 2
    assert "names 'os.system', which is no part of lossbench or torch" in one_line(ended)
    assert not (tmp_path / "touched").exists()
    assert lossbench(verb, run_id, *more).status == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("predict", "nobody", "churn.csv"), "neither the id of a run in .* nor a registered model"),
        (("predict", "best of nothing", "churn.csv"), "no sweep is named 'nothing'"),
        (("predict", "RUN", "none.csv"), "there is no file none.csv"),
        (("predict", "RUN", "missing.csv"), r"column 'pays' is missing; did you mean 'pay'\?"),
        (("predict", "RUN", "wrong.csv"), r"column 'age' needs a number in row 2, got 'old'"),
        (("predict", "RUN", "churn.csv", "--keep", "id"), "--keep names 'id', which the table has not"),
        (("predict", "RUN", "churn.csv", "--threshold", "auroc"), "a threshold is a number or one tuned for f1"),
        (("predict", "RUN", "churn.csv", "-o", "said.xlsx"), "written as .csv or .parquet"),
        (("evaluate", "RUN", "unlabelled.csv"), "there is no column 'churned' with the true classes"),
        (("evaluate", "RUN", "empty.csv"), "the table has no rows to evaluate"),
        (("explain", "RUN", "empty.csv"), "empty.csv has no rows to explain"),
        (("evaluate", "RUN", "odd.csv"), "column 'churned' has 'perhaps' in row 2, classes are 'no', 'yes'"),
        (("export", "RUN", "--code", "nowhere.py"), "there is no file or folder nowhere.py"),
    ],
)
def test_wrong_input_is_one_line(
    arguments: tuple[str, ...], message: str, lossbench: Command, project: Project, tmp_path: Path
) -> None:
    whole = table()
    tables = {
        "churn": whole,
        "missing": whole.rename(columns={"pays": "pay"}),
        "wrong": whole.astype({"age": object}).assign(age=["40", "old", *["1"] * 238]),
        "unlabelled": whole.drop(columns="churned"),
        "empty": whole.iloc[:0],
        "odd": whole.assign(churned=["no", "perhaps", *["yes"] * 238]),
    }
    for name, frame in tables.items():
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    given = [project.runs["run_id"][0] if word == "RUN" else word for word in arguments]
    ended = lossbench(*given)
    assert ended.status == 2
    line = ended.err.splitlines()[-1]
    assert line.startswith("lossbench: ")
    assert re.search(message, line), line
    assert not list(tmp_path.glob("*said*"))


def test_a_run_exports_its_model_on_request(lossbench: Command, project: Project) -> None:
    data = (*DATA, f"data.path={project.table}", "seed=7", "trainer.max_epochs=1")
    assert run_command(*data, "export=true", f"paths.mlruns={project.store.mlruns}") == 0
    (run,) = search_runs(project.store, "params.seed = '7'")
    (logged,) = project.store.client.get_run(run.id).outputs.model_outputs
    assert project.store.client.get_logged_model(logged.model_id).name == "model"


def test_a_run_with_parts_of_ones_own_is_told_how_to_export(
    lossbench: Command, project: Project, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "mine.yaml").write_text("_target_: mine.Mine\n_partial_: true\n")
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n\n\nclass Mine(nn.Linear):\n"
        "    def __init__(self, task):\n        super().__init__(task.n_features, task.n_scores)\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        data = (*DATA, f"data.path={project.table}", "seed=8", "trainer.max_epochs=1")
        own = (*data, "model=mine", f"paths.mlruns={project.store.mlruns}")
        capsys.readouterr()
        assert run_command(*own, "export=true") == 2
        assert "model names 'mine.Mine', which is no part of lossbench or torch" in capsys.readouterr().err
        assert run_command(*own) == 0
        (run,) = search_runs(project.store, "params.seed = '8'")
        assert "allow it with --trust" in one_line(lossbench("predict", run.id, str(project.table)))
        ended = lossbench("export", run.id, "--trust", "--code", "mine.py", "--register", "mine")
        assert ended.status == 0, ended.err
        assert lossbench("predict", "mine", str(project.table), "--trust").status == 0
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("mine")
    assert exported(project, "mine").joinpath("artifacts", "code", "mine.py").is_file()


def exported(project: Project, name: str) -> Path:
    """The folder of a registered model's newest version."""
    versions = project.store.client.search_model_versions(f"name = '{name}'")
    return Path(max(versions, key=lambda found: int(found.version)).source.removeprefix("file://"))


@pytest.mark.slow
def test_a_server_answers_as_the_model_predicts(lossbench: Command, project: Project, tmp_path: Path) -> None:
    assert lossbench("export", "best of last", "--register", "served").status == 0
    assert lossbench("predict", "served", str(project.table), "-o", "said.parquet").status == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ("models", "serve", "-m", "models:/served/1", "--env-manager", "local", "--host", "127.0.0.1")
    script = "import sys; from mlflow.cli import cli; sys.argv[0] = 'mlflow'; cli()"
    python = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-c", script, *arguments, "--port", str(port)],
            env={**python, "MLFLOW_TRACKING_URI": project.store.uri},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/health", server)
        rows = table()[RAW].astype(object).where(table()[RAW].notna(), None).head(5)
        answer = ask(f"http://127.0.0.1:{port}/invocations", {"dataframe_split": rows.to_dict("split", index=False)})
        expected = pd.read_parquet(tmp_path / "said.parquet").head(5)
        pd.testing.assert_frame_equal(pd.DataFrame(answer["predictions"]), expected, atol=1e-9, check_dtype=False)
        records = rows.to_dict("records")
        bold = ask(f"http://127.0.0.1:{port}/invocations", {"dataframe_records": records, "params": {"threshold": 0}})
        assert {said["label"] for said in bold["predictions"]} == {"yes"}
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(f"http://127.0.0.1:{port}/invocations", {"dataframe_records": [{"age": 3}]})
        assert refused.value.code == 400
        assert "pays" in refused.value.read().decode()
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(f"http://127.0.0.1:{port}/invocations", {"dataframe_records": [records[0] | {"age": "old"}]})
        assert refused.value.code == 400
        assert "column 'age' needs a number in row 1, got 'old'" in refused.value.read().decode()
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def wait_for(url: str, server: subprocess.Popen[bytes], seconds: float = 180) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert server.poll() is None, "the server has ended"
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise AssertionError("the server does not answer")


def ask(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_an_export_loads_where_lossbench_is_not_installed(lossbench: Command, project: Project, tmp_path: Path) -> None:
    assert lossbench("export", "best of last", "--register", "elsewhere").status == 0
    assert lossbench("predict", "elsewhere", str(project.table), "-o", "said.parquet").status == 0
    folder = exported(project, "elsewhere")
    python = tmp_path / "fresh" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "fresh")], check=True)
    installed = subprocess.run(
        [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", folder / "requirements.txt"],
        capture_output=True,
        text=True,
        check=False,
    )
    if re.search(r"NewConnectionError|Temporary failure in name|No matching distribution", installed.stderr):
        pytest.skip("there is no package index")
    assert installed.returncode == 0, installed.stderr
    script = (
        "import sys, pandas as pd, importlib.util, mlflow\n"
        "assert importlib.util.find_spec('lossbench') is None\n"
        "said = mlflow.pyfunc.load_model(sys.argv[1]).predict(pd.read_csv(sys.argv[2], dtype={'zone': str}))\n"
        "said.to_parquet('elsewhere.parquet')\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules} & {'hydra', 'lightning', 'torchmetrics'}))\n"
    )
    ended = subprocess.run(
        [python, "-c", script, folder, project.table], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == ""
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "elsewhere.parquet"), pd.read_parquet(tmp_path / "said.parquet"), atol=1e-9
    )
