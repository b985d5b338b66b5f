"""One run from config to record: what a finished one leaves, what a broken one says, and that no run beats Bayes."""

from __future__ import annotations

import copy
import json
import signal
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from omegaconf import OmegaConf
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from lossbench.config.build import build_component
from lossbench.config.compose import compose
from lossbench.config.identity import fingerprint
from lossbench.data.preprocessing import Preprocessing
from lossbench.errors import UserError
from lossbench.inference import model_file
from lossbench.models.forward import attach_head, scores_of
from lossbench.models.initial import build
from lossbench.objective.objective import Objective
from lossbench.runs import description, engines, execute, record
from lossbench.runs.execute import Result, run
from lossbench.runs.prepare import draw, prepare_job
from lossbench.runs.train import checkpoint_path
from lossbench.runs.validate import check
from lossbench.task import Task
from lossbench.tracking.store.open import Store, open_store
from lossbench.training.fit import Diverged
from lossbench.training.job import dtype_of
from lossbench.training.lightning.learner import Learner
from lossbench.training.settings import TrainerSettings

SMALL = [
    "data.positives=40",
    "data.negatives=120",
    "data.test_rows=60",
    "data.batch_size=32",
    "model.widths=[6,5]",
    "trainer.max_epochs=3",
]


@pytest.fixture(scope="module")
def mlruns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One project for all tests of this file: making a store takes two seconds."""
    return tmp_path_factory.mktemp("project") / "mlruns"


@pytest.fixture(scope="module")
def store(mlruns: Path) -> Store:
    return open_store(mlruns)


@pytest.fixture(scope="module")
def base(mlruns: Path) -> dict[str, Any]:
    return compose([*SMALL, f"paths.mlruns={mlruns}"])


@pytest.fixture
def config(base: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """Return the small config with values set at dotted keys."""

    def make(changes: dict[str, Any] | None = None) -> dict[str, Any]:
        made = copy.deepcopy(base)
        for key, value in (changes or {}).items():
            *path, leaf = key.split(".")
            node = made
            for part in path:
                node = node[part]
            node[leaf] = value
        return made

    return make


@pytest.fixture(scope="module")
def finished(mlruns: Path) -> Result:
    """A run that asks for everything."""
    overrides = [
        "loss=focal",
        "loss.alpha=0.75",
        "regularizer=[l1,l2]",
        "model.dropout=0.2",
        "scheduler=cosine",
        "tracking.figures=true",
        "tracking.predictions=20",
        "training.resume_every=2",
        "select.metric=null",
        "seed=3",
    ]
    return run(compose([*SMALL, *overrides, f"paths.mlruns={mlruns}"]))


def artifacts(store: Store, run_id: str) -> Path:
    return Path(store.client.get_run(run_id).info.artifact_uri.removeprefix("file://"))


def statuses(store: Store) -> dict[str, str]:
    found = store.client.search_runs([store.experiment_id], max_results=1000)
    return {entry.info.run_id: entry.info.status for entry in found}


def test_a_finished_run_says_so_and_what_it_was(store: Store, finished: Result) -> None:
    entry = store.client.get_run(finished.run_id)
    assert entry.info.status == "FINISHED"
    assert entry.info.run_name == "s3 · focal · l1+l2"
    params, tags = entry.data.params, entry.data.tags
    assert (params["loss"], params["loss.alpha"], params["regularizer"], params["seed"]) == (
        "focal",
        "0.75",
        "l1+l2",
        "3",
    )
    assert params["regularizer.l1.strength"] == "0.001"
    assert tags["lossbench.role"] == "run"
    assert tags["lossbench.objective"] == "focal · l1+l2"
    assert tags["lossbench.fingerprint"] == fingerprint(finished.config)
    assert tags["lossbench.seeds"] == "draws"
    assert tags["version.torch"] == version("torch")
    (data,) = entry.inputs.dataset_inputs
    assert data.dataset.name == "rings"
    assert finished.job.dataset.digest.startswith(data.dataset.digest)


def test_its_files(store: Store, finished: Result) -> None:
    folder = artifacts(store, finished.run_id)
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {
        "config.yaml",
        "history.csv",
        "model.pt",
        "predictions.parquet",
        "figures/training_curves.png",
        "figures/roc.png",
        "figures/decision_regions.png",
    }
    assert yaml.safe_load((folder / "config.yaml").read_text()) == finished.config
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in (folder / "figures").iterdir())


def test_its_history_is_the_same_everywhere(store: Store, finished: Result) -> None:
    table = pd.read_csv(artifacts(store, finished.run_id) / "history.csv")
    pd.testing.assert_frame_equal(table.set_index("epoch"), finished.history, check_exact=True, check_like=True)
    assert finished.history.index.tolist() == [0, 1, 2]
    assert {"train/loss", "train/l1", "train/l2", "train/objective", "train/lr", "val/loss", "val/auroc"} <= set(
        finished.history.columns
    )
    points = store.client.get_metric_history(finished.run_id, "val/auroc")
    selected = finished.history["val/auroc"].iloc[finished.fit.selected_epoch]
    assert [point.step for point in points] == [0, 1, 2, 3]
    # The last point is the selected epoch, which is the run's value.
    assert [point.value for point in points] == [*finished.history["val/auroc"], selected]


def test_its_final_metrics(store: Store, finished: Result) -> None:
    recorded = store.client.get_run(finished.run_id).data.metrics
    for key, value in finished.metrics.items():
        assert recorded[key] == pytest.approx(value, abs=0, nan_ok=True), key
    assert {key.split("/")[0] for key in finished.metrics} == {"train", "val", "test"}
    assert recorded["selected_epoch"] == finished.fit.selected_epoch
    assert recorded["epochs"] == 3
    # The training terms are those of the selected epoch too.
    assert finished.fit.selected_epoch == 2
    chosen = finished.history.loc[finished.fit.selected_epoch]
    for key in ("train/loss", "train/objective", "train/l1", "train/lr", "val/loss"):
        assert recorded[key] == chosen[key]
    assert finished.score == finished.metrics["val/auroc"] == recorded["val/auroc"]
    test = finished.job.dataset.test
    scores = scores_of(finished.job.network, test.x)
    assert finished.metrics["test/auroc"] == pytest.approx(roc_auc_score(test.y, scores[:, 0]), abs=1e-12)


def test_its_predictions(store: Store, finished: Result) -> None:
    table = pd.read_parquet(artifacts(store, finished.run_id) / "predictions.parquet")
    assert set(table["run_id"]) == {finished.run_id}
    assert table["split"].value_counts().to_dict() == {"grid": 64 * 64, "val": 20, "test": 20}
    test, rows = table[table["split"] == "test"], finished.job.dataset.test
    kept = test["row"].to_numpy()
    assert np.array_equal(test["target"], rows.y[kept])
    assert np.allclose(test["score_0"], scores_of(finished.job.network, rows.x)[kept, 0], rtol=0, atol=1e-6)
    assert np.allclose(test["prob_1"], 1 / (1 + np.exp(-test["score_0"])), rtol=0, atol=1e-6)
    assert np.allclose(test[["x_0", "x_1"]], finished.job.dataset.raw(rows)[kept], rtol=0, atol=1e-12)


def rebuilt(path: Path) -> tuple[torch.nn.Module, Any]:
    """The network of a model file, from nothing but its content."""
    content = model_file.load(path)
    config, task = content["config"], Task(**{**content["task"], "class_names": tuple(content["task"]["class_names"])})
    regularizers = {name: build_component(node, f"regularizer.{name}") for name, node in config["regularizer"].items()}
    objective = Objective(
        build_component(config["loss"], "loss"), build_component(config["weighting"], "weighting"), regularizers, task
    )
    dtype = dtype_of(TrainerSettings.read(config["trainer"]))
    network = build(build_component(config["model"], "model"), task, seed=999, dtype=dtype)
    attach_head(network, objective, 999, dtype)
    network.load_state_dict(content["network"])
    objective.load_state_dict(content["objective"])
    return network, content


def test_its_model_can_be_used_later(store: Store, finished: Result) -> None:
    network, content = rebuilt(artifacts(store, finished.run_id) / "model.pt")
    assert content["selected_epoch"] == finished.fit.selected_epoch
    dataset = finished.job.dataset
    raw = pd.DataFrame(dataset.raw(dataset.test), columns=list(dataset.feature_names))
    x = Preprocessing.from_state(content["preprocessing"]).apply(raw)
    assert np.allclose(x, dataset.test.x, rtol=0, atol=1e-12)
    assert np.array_equal(scores_of(network, dataset.test.x), scores_of(finished.job.network, dataset.test.x))
    assert content["thresholds"] == finished.evaluation.thresholds


@pytest.mark.parametrize(
    "changes",
    [
        {"trainer.precision": "64-true", "model.normalization": "batch"},
        {"data": {"_target_": "lossbench.data.iris.Iris", "name": "iris", "source_seed": 0}, "select.metric": None},
    ],
    ids=["double precision and batch normalisation", "three classes, the last epoch"],
)
def test_every_model_is_rebuilt_to_the_bit(config, store: Store, changes: dict[str, Any]) -> None:
    result = run(config(changes))
    network, _ = rebuilt(artifacts(store, result.run_id) / "model.pt")
    for rows in (result.job.dataset.train, result.job.dataset.test):
        assert np.array_equal(scores_of(network, rows.x), scores_of(result.job.network, rows.x))
    assert result.score == result.metrics["val/auroc"]


@pytest.mark.parametrize(("kept", "expected"), [(0, None), (None, 60), (10, 10)])
def test_predictions_are_kept_as_asked(config, store: Store, kept: int | None, expected: int | None) -> None:
    folder = artifacts(store, run(config({"tracking.predictions": kept})).run_id)
    file = folder / "predictions.parquet"
    assert file.exists() == (expected is not None)
    if expected is not None:
        assert (pd.read_parquet(file)["split"] == "test").sum() == expected
    assert not (folder / "figures").exists()


def test_a_seed_gives_the_same_record_twice(config, store: Store) -> None:
    first, second = run(config({"model.dropout": 0.3})), run(config({"model.dropout": 0.3}))
    assert first.run_id != second.run_id
    assert first.metrics == second.metrics
    tables = [artifacts(store, result.run_id) / "history.csv" for result in (first, second)]
    assert tables[0].read_bytes() == tables[1].read_bytes()


def test_a_resumed_run_equals_an_uninterrupted_one(config, store: Store) -> None:
    whole = run(config({"trainer.max_epochs": 4}))
    short = run(config({"trainer.max_epochs": 2, "training.resume_every": 1}))
    longer = run(config({"trainer.max_epochs": 4, "ckpt_path": short.run_id}))
    assert longer.metrics == whole.metrics
    assert longer.fit.selected_epoch == whole.fit.selected_epoch
    pd.testing.assert_frame_equal(longer.history, whole.history, check_exact=True)
    folders = [artifacts(store, result.run_id) for result in (longer, whole)]
    assert (folders[0] / "history.csv").read_bytes() == (folders[1] / "history.csv").read_bytes()
    assert store.client.get_run(longer.run_id).data.tags["lossbench.resumed_from"] == short.run_id
    file = checkpoint_path(Path(short.config["paths"]["mlruns"]), short.run_id)
    by_file = run(config({"trainer.max_epochs": 4, "ckpt_path": str(file)}))
    assert by_file.metrics == whole.metrics


def test_a_job_that_fails_is_recorded_with_its_traceback(config, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = statuses(store)

    def broken(self: Learner, batch: Any, batch_idx: int) -> Any:
        if self.current_epoch == 2:
            raise ZeroDivisionError("by hand")
        return original(self, batch, batch_idx)

    original = Learner.training_step
    monkeypatch.setattr(Learner, "training_step", broken)
    with pytest.raises(ZeroDivisionError, match=r"by hand"):
        run(config())
    ((run_id, status),) = set(statuses(store).items()) - set(before.items())
    assert status == "FAILED"
    folder = artifacts(store, run_id)
    trace = (folder / "traceback.txt").read_text()
    assert "in broken" in trace
    assert trace.rstrip().endswith("ZeroDivisionError: by hand")
    assert store.client.get_run(run_id).data.tags["lossbench.error"] == "ZeroDivisionError: by hand"
    assert pd.read_csv(folder / "history.csv")["epoch"].tolist() == [0, 1]


def test_a_run_that_diverges_is_failed(config, store: Store) -> None:
    before = statuses(store)
    with pytest.raises(Diverged, match=r"in epoch 0"):
        run(config({"optimizer.lr": 1e30}))
    ((run_id, status),) = set(statuses(store).items()) - set(before.items())
    assert status == "FAILED"
    assert "Diverged" in store.client.get_run(run_id).data.tags["lossbench.error"]


def test_an_interrupted_run_is_killed(config, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = statuses(store)

    def interrupt(self: Learner, *arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Learner, "on_train_batch_end", interrupt)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(config())
    assert signal.getsignal(signal.SIGINT) is handler
    assert set(statuses(store).values()) <= {"FINISHED", "FAILED", "KILLED"}
    assert [status for run_id, status in statuses(store).items() if run_id not in before] == ["KILLED"]


def test_a_failing_evaluation_fails_the_run(config, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = statuses(store)
    monkeypatch.setattr(record.model_file, "dump", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(config())
    assert [status for run_id, status in statuses(store).items() if run_id not in before] == ["FAILED"]


# One for every place in which a config is looked at; test_preparation has the others.
USER_ERRORS = {
    "data": {"data.positives": 0},
    "the floor": {"model": {"_target_": "lossbench.models.class_prior.ClassPrior", "_partial_": True}},
    "metric": {"select.metric": "val/ece"},
    "groups": {"training.groups": [{"pattern": "x", "lr": 1}]},
    "scheduler": {
        "scheduler": {"_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau", "_partial_": True},
        "select.metric": None,
    },
    "trainer": {"trainer.depth": 3},
    "callback": {"callbacks": {"timer": {"_target_": "lightning.pytorch.callbacks.Timer", "duration": "soon"}}},
    "logger": {"tracking.loggers": {"x": {"_target_": "nowhere.Logger"}}},
    "metrics": {"metrics": {"x": {"_target_": "torchmetrics.Accuracy", "_partial_": True, "threshold": 3}}},
    "checkpoint": {"ckpt_path": "0123456789abcdef"},
    "predictions": {"tracking.predictions": -1},
}


@pytest.mark.parametrize("changes", USER_ERRORS.values(), ids=USER_ERRORS)
def test_a_users_error_leaves_no_run(config, store: Store, changes: dict[str, Any]) -> None:
    before = statuses(store)
    with pytest.raises(UserError) as refusal:
        run(config(changes))
    assert "\n" not in str(refusal.value)
    assert statuses(store) == before


def test_a_config_may_be_any_mapping_of_that_shape(config) -> None:
    plain = run(config())
    for same in (OmegaConf.create(config()), MappingProxyType(config())):
        result = run(same)
        assert result.metrics == plain.metrics
        assert result.config == plain.config
    nameless = {key: value for key, value in config().items() if key != "choices"}
    with pytest.raises(UserError, match=r"^a config has the names of its choices .* lossbench\.experiment\.compose$"):
        run(nameless)


def test_threads_are_the_runs_own(config, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    original = engines.evaluate_with_torchmetrics

    def look(*arguments: Any) -> Any:
        seen.append(torch.get_num_threads())
        return original(*arguments)

    monkeypatch.setattr(engines, "evaluate_with_torchmetrics", look)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run(config({"training.threads": 1}))
        run(config({"training.threads": None}))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 2]


def test_the_record_does_without_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    description.environment.cache_clear()
    try:
        monkeypatch.setattr(description.compose, "project", lambda: tmp_path)
        assert "mlflow.source.git.commit" not in description.environment()
        description.environment.cache_clear()
        monkeypatch.setenv("PATH", "")
        assert "version.torch" in description.environment()
    finally:
        description.environment.cache_clear()


def test_undefined_metrics_are_recorded_with_their_reason(
    config, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = prepare_job(config())
    test = job.dataset.test
    only = test.y == 0
    object.__setattr__(job.dataset, "test", type(test)(test.x[only], test.y[only], test.index[only]))
    result = execute.execute(job, config())
    assert np.isnan(result.metrics["test/auroc"])
    reasons = json.loads((artifacts(store, result.run_id) / "undefined.json").read_text())
    assert reasons == result.evaluation.undefined
    assert "test/auroc" in reasons
    assert store.client.get_run(result.run_id).info.status == "FINISHED"


def auroc_and_influence(target: np.ndarray, scores: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """AUROC and every row's share in it, by counting pairs (DeLong et al. 1988)."""
    positive, negative = scores[target == 1], scores[target == 0]
    order = np.sort(negative)
    below = (np.searchsorted(order, positive) + np.searchsorted(order, positive, side="right")) / 2 / len(negative)
    order = np.sort(positive)
    above = 1 - (np.searchsorted(order, negative) + np.searchsorted(order, negative, side="right")) / 2 / len(positive)
    return float(below.mean()), below, above


def excess(target: np.ndarray, scores: np.ndarray, bayes: np.ndarray) -> tuple[float, float]:
    """How far one AUROC is above another on the same rows, and the standard error of that difference."""
    (ours, ours_pos, ours_neg), (best, best_pos, best_neg) = (
        auroc_and_influence(target, values) for values in (scores, bayes)
    )
    differences = [ours_pos - best_pos, ours_neg - best_neg]
    return ours - best, float(np.sqrt(sum(part.var(ddof=1) / len(part) for part in differences)))


def test_no_run_beats_the_bayes_rule_on_its_own_draw(mlruns: Path) -> None:
    """By more than the paired error, Holm over runs; and they come close, or this would say nothing."""
    p_values, differences = [], []
    for loss in ("cross_entropy", "focal"):
        quick = ["trainer.max_epochs=12", "data.batch_size=500", "optimizer.lr=0.03", "select.metric=null"]
        made = compose([f"loss={loss}", *quick, f"paths.mlruns={mlruns}"])
        for seed in range(2):
            seeded = {**made, "seed": seed, "data": {**made["data"], "source_seed": seed, "split_seed": seed}}
            job = prepare_job(seeded)
            execute.fit(job, seeded, "unrecorded")
            test = job.dataset.test
            bayes = job.dataset.bayes(job.dataset.raw(test))[:, 1]
            difference, error = excess(test.y, scores_of(job.network, test.x)[:, 0], bayes)
            differences.append(difference)
            p_values.append(norm.sf(difference / error))
    assert -0.02 < np.mean(differences) < 0
    # Holm rejects nothing where it does not reject the smallest.
    assert min(p_values) * len(p_values) > 0.05


def test_a_run_that_sees_the_answer_is_caught() -> None:
    """The test above can fail: scores that know the noise of the draw are above the Bayes rule."""
    made = compose([*SMALL, "data.test_rows=4000"])
    dataset = draw(made)
    bayes = dataset.bayes(dataset.raw(dataset.test))[:, 1]
    difference, error = excess(dataset.test.y, np.log(bayes) + 0.5 * dataset.test.y, bayes)
    assert norm.sf(difference / error) < 1e-3


def test_checking_trains_nothing(config, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = statuses(store)
    monkeypatch.setattr(Learner, "training_step", lambda *_: 1 / 0)
    check(config(), draw(config()))
    assert statuses(store) == before


def test_what_is_kept_of_a_config_has_no_password(config) -> None:
    made = config()
    made["tracking"]["uri"] = "postgresql://ann:s3cret@db.example.org/mlflow"
    kept = description.without_secrets(made)
    assert kept["tracking"]["uri"] == "postgresql://ann:***@db.example.org/mlflow"
    assert "s3cret" not in str(kept)
    assert {**kept, "tracking": None} == {**made, "tracking": None}
