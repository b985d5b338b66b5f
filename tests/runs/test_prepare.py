"""Whatever a config asks for that cannot work is refused before anything is trained, in one line that says where."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from lossbench.config.compose import compose
from lossbench.errors import CannotServe, UserError
from lossbench.evaluation.catalogue import AddedMetric
from lossbench.runs.metrics import added_facts, build_metrics
from lossbench.runs.prepare import draw, prepare_job
from lossbench.runs.validate import check

SMALL = ["data.positives=40", "data.negatives=120", "data.test_rows=50", "data.batch_size=32", "model.widths=[4]"]
FOCAL = "lossbench.objective.losses.focus.Focal"
EXTERNAL = "lossbench.objective.losses.external.External"
MODEL = {"_target_": "lossbench.models.external.external", "_partial_": True}
KAPPA = {"_target_": "torchmetrics.CohenKappa", "_partial_": True}
TIMER = {"_target_": "lightning.pytorch.callbacks.Timer", "duration": "00:00:01:00"}


@pytest.fixture(scope="module")
def rings() -> dict[str, Any]:
    return compose([*SMALL, "loss=focal"])


@pytest.fixture(scope="module")
def iris() -> dict[str, Any]:
    return compose(["data=iris"])


def changed(config: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return a copy with values set at dotted keys."""
    made = copy.deepcopy(config)
    for key, value in changes.items():
        *path, leaf = key.split(".")
        node = made
        for part in path:
            node = node[part]
        node[leaf] = value
    return made


REFUSED = {
    "a seed that is none": ({"seed": "three"}, r"seed is an integer, got 'three'"),
    "true as a seed": ({"seed": True}, r"seed is an integer, got True"),
    "data out of range": ({"data.positives": 0}, r"data: Rings needs an integer positives >= 1, got positives=0"),
    "data that is no source": (
        {"data": {"_target_": "builtins.dict"}},
        r"data is a lossbench.data.source.Source, got dict: lossbench new data NAME writes one",
    ),
    "a file that is missing": (
        {"data": {"_target_": "lossbench.data.table.Table", "path": "no.csv", "target": "y"}},
        r"there is no file no\.csv",
    ),
    "a hyperparameter out of range": ({"loss.gamma": -1}, r"loss: Focal needs gamma >= 0, got gamma=-1.*"),
    "an argument that is unknown": (
        {"loss": {"_target_": FOCAL, "gama": 2}},
        r"loss: Focal takes gamma, alpha, got 'gama'; did you mean gamma\?",
    ),
    "a loss that was reduced": (
        {
            "loss": {
                "_target_": EXTERNAL,
                "function": {"_target_": "torch.nn.MSELoss"},
                "reads": "probs",
                "target": "onehot",
            }
        },
        r"loss: MSELoss needs one value per row .*, got shape \(\) for 8 rows",
    ),
    "a plain model of another shape": (
        {"model": {**MODEL, "module": {"_target_": "torch.nn.Identity", "_partial_": True}}},
        r"model: 2 classes need raw scores \(N, 1\), got \(8, 2\) from Identity for 8 rows",
    ),
    "a model that was built too early": (
        {"model": {"_target_": "lossbench.models.linear.Linear"}},
        r"model: .* missing .* 'task'; what is called with the task needs _partial_: true",
    ),
    "a class that is missing": ({"loss._target_": f"{FOCAL}l"}, r"loss: .*Focall.*"),
    "a module that is missing": ({"loss._target_": "nowhere.Focal"}, r"loss: .*nowhere.*"),
    "a loss that is none": (
        {"loss": None},
        r"loss, weighting, regularizer: loss needs a lossbench Loss, got NoneType; External makes one of a function .*",
    ),
    "a function as a loss": (
        {"loss": {"_target_": "torch.nn.functional.mse_loss"}},
        r"loss: mse_loss\(\) missing 2 required .*; what has another signature stands under lossbench\.objective\."
        r"losses\.external\.External as function: \{_target_: \.\.\., _partial_: true\}",
    ),
    "a model of another signature": (
        {"model": {"_target_": "torch.nn.Bilinear", "_partial_": True}},
        r"model: .* missing .*; what has another signature stands under lossbench\.models\.external\.external as .*",
    ),
    "a function as a metric": (
        {"metrics": {"mine": {"_target_": "sklearn.metrics.accuracy_score"}}},
        r"metrics: missing a required argument: 'y_true'; what has another signature stands under .*FunctionMetric .*",
    ),
    "a regularizer without a name": (
        {"regularizer": {"_target_": "lossbench.objective.regularizers.weights.L2", "strength": 1.0}},
        r"regularizer has components by their names, got _target_='.*L2': the first line of a regularizer's YAML is "
        r"'# @package regularizer\.NAME'",
    ),
    "a regularizer out of range": (
        {"regularizer": {"l2": {"_target_": "lossbench.objective.regularizers.weights.L2", "strength": -1}}},
        r"regularizer\.l2: L2 needs strength >= 0, got strength=-1.*",
    ),
    "a model out of range": ({"model.dropout": 1.5}, r"model: Mlp needs 0 <= dropout < 1, got dropout=1.5"),
    "a model that is none": (
        {"model": {"_target_": "builtins.dict", "_partial_": True}},
        r"model: .*",
    ),
    "a reference as a model": (
        {"model": {"_target_": "lossbench.models.class_prior.ClassPrior", "_partial_": True}},
        r"ClassPrior has no parameters to train; it is a reference, not a model",
    ),
    "batches of one row under batch normalisation": (
        {"model.normalization": "batch", "data.batch_size": 127},
        r"data\.batch_size=127 leaves a batch of one of the 128 training rows, and batch normalisation needs two rows "
        r"in every batch: choose another",
    ),
    "an optimizer out of range": ({"optimizer.lr": -1}, r"optimizer, scheduler: Invalid learning rate: -1"),
    "an optimizer's argument": ({"optimizer.speed": 1}, r"optimizer, scheduler: .*unexpected keyword argument 'speed'"),
    "decay on something else": (
        {"training.decay_on": "bias"},
        r".*training\.decay_on is one of weights, all, got 'bias'",
    ),
    "a pattern without a match": (
        {"training.groups": [{"pattern": "x", "lr": 1}]},
        r".*training\.groups pattern 'x' takes no parameter; they are .*",
    ),
    "a metric that is unknown": (
        {"select.metric": "val/auc"},
        r"select: select\.metric is one of .*val/auroc.*, got 'val/auc'",
    ),
    "a metric that is not computed every epoch": ({"select.metric": "val/ece"}, r"select: select\.metric is one of .*"),
    "a metric for three classes": ({"select.metric": "val/auroc_micro"}, r"select: select\.metric is one of .*"),
    "a test metric": (
        {"select.metric": "test/auroc"},
        r"select: select\.metric is a validation metric .* flatter the run",
    ),
    "patience": ({"select.patience": 0}, r"select: select\.patience is a whole number >= 1 or null, got 0"),
    "no epochs": ({"trainer.max_epochs": 0}, r"trainer\.max_epochs is a whole number >= 1, got 0"),
    "many epochs": ({"trainer.max_epochs": "many"}, r"trainer\.max_epochs is a whole number >= 1, got 'many'"),
    "precision": ({"trainer.precision": "16-mixed"}, r"trainer\.precision is one of 32-true, 64-true, got '16-mixed'"),
    "a trainer's argument": ({"trainer.depth": 1}, r"trainer: .*unexpected keyword argument 'depth'"),
    "two devices": ({"trainer.devices": 2}, r"trainer\.devices is one device, .*"),
    "resuming": ({"training.resume_every": 0}, r"training\.resume_every is a whole number >= 1, got 0"),
    "threads": ({"training.threads": 1.5}, r"training\.threads is a whole number >= 1, got 1\.5"),
    "predictions": ({"tracking.predictions": -1}, r"tracking\.predictions is a whole number >= 0, got -1"),
    "callbacks that are none": ({"callbacks": {"mine": 3}}, r"callbacks takes components with a _target_, got mine: 3"),
    "callbacks of another kind": (
        {"callbacks": {"mine": {"_target_": "builtins.dict"}}},
        r"callbacks takes Lightning's Callback, got dict",
    ),
    "a callback's argument": (
        {"callbacks": {"timer": {**TIMER, "length": 3}}},
        r"callbacks\.timer: Timer takes duration, interval, verbose, got 'length'",
    ),
    "metrics": ({"metrics": {"mine": {"_target_": "builtins.dict", "_partial_": True}}}, r"metrics: .*"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_refusals(rings: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    config = changed(rings, changes)
    with pytest.raises(UserError, match=f"^{message}$") as refusal:
        check(config, draw(config))
    assert type(refusal.value) is not CannotServe
    assert "\n" not in str(refusal.value)


CANNOT_SERVE = {
    "a loss of two classes": (
        {"loss": {"_target_": FOCAL, "alpha": 0.75}},
        "Focal needs one alpha per class for 3 classes, got alpha=0.75",
    ),
    "a weighting of two classes": (
        {"weighting": {"_target_": "lossbench.objective.weighting.Explicit", "vector": [1.0, 2.0]}},
        "Explicit has 2 class weights, the task has 3 classes",
    ),
    "weights twice": (
        {
            "loss": {"_target_": FOCAL, "alpha": [1.0, 2.0, 3.0]},
            "weighting": {"_target_": "lossbench.objective.weighting.Balanced"},
        },
        "Focal has a class weight of its own; with Balanced it needs .*allow_double=true",
    ),
}


@pytest.mark.parametrize(("changes", "message"), CANNOT_SERVE.values(), ids=CANNOT_SERVE)
def test_what_cannot_serve_says_so_by_its_type(iris: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    """A sweep leaves such a job out, which is no failure."""
    config = changed(iris, changes)
    with pytest.raises(CannotServe, match=f"^{message}$"):
        check(config, draw(config))


def test_weights_may_be_doubled_on_purpose(iris: dict[str, Any]) -> None:
    config = changed(iris, {**CANNOT_SERVE["weights twice"][0], "training.allow_double": True})
    check(config, draw(config))


def test_metrics_of_three_classes_select_there(iris: dict[str, Any]) -> None:
    config = changed(iris, {"select.metric": "val/auroc_micro"})
    assert prepare_job(config).rule.maximize
    assert not prepare_job(changed(iris, {"select.metric": "val/log_loss"})).rule.maximize


@pytest.mark.parametrize(
    ("size", "fits"), [(None, True), (128, True), (1000, True), (64, True), (127, False), (1, False)]
)
def test_batch_normalisation_needs_two_rows(rings: dict[str, Any], size: int | None, fits: bool) -> None:
    config = changed(rings, {"model.normalization": "batch", "data.batch_size": size})
    if fits:
        prepare_job(config)
        return
    with pytest.raises(UserError, match=f"^data.batch_size={size} leaves a batch of one"):
        prepare_job(config)
    # Without it, or with another normalisation, a single row is a batch.
    prepare_job(changed(config, {"model.normalization": "layer"}))


def test_a_job_holds_what_the_config_says(rings: dict[str, Any]) -> None:
    job = prepare_job(changed(rings, {"seed": 7, "trainer.precision": "64-true", "loss.gamma": 3}))
    assert (job.seed, job.epochs, job.dtype) == (7, 20, torch.float64)
    assert float(job.objective.loss.gamma) == 3
    assert {parameter.dtype for parameter in job.network.parameters()} == {torch.float64}
    assert job.rule.metric == "val/auroc"
    assert job.dataset.batch_size == 32


def test_preparing_twice_gives_two_equal_jobs(rings: dict[str, Any]) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, other = prepare_job(rings), prepare_job(rings)
    assert torch.equal(torch.get_rng_state(), before)
    assert one.network is not other.network
    for left, right in zip(one.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(left, right)
    assert one.dataset.digest == other.dataset.digest


def test_the_config_is_left_as_it_was(rings: dict[str, Any]) -> None:
    before = copy.deepcopy(rings)
    check(rings, draw(rings))
    assert rings == before


def test_jobs_of_one_seed_differ_in_their_objective_alone(rings: dict[str, Any]) -> None:
    other = compose([*SMALL, "loss=brier", "regularizer=l2", "weighting=balanced"])
    one, two = prepare_job(rings), prepare_job(other)
    assert one.dataset.digest == two.dataset.digest
    assert (one.dataset.train.index == two.dataset.train.index).all()
    for left, right in zip(one.network.parameters(), two.network.parameters(), strict=True):
        assert torch.equal(left, right)


def test_a_plain_class_from_elsewhere_is_a_model(iris: dict[str, Any]) -> None:
    job = prepare_job(changed(iris, {"model": {**MODEL, "module": {"_target_": "torch.nn.Linear", "_partial_": True}}}))
    assert job.network.weight.shape == (3, 4)


COST = {
    "_target_": "lossbench.evaluation.function_metric.FunctionMetric",
    "function": {"_target_": "sklearn.metrics.hamming_loss", "_partial_": True},
    "reads": "labels",
    "higher_is_better": False,
}
HAMMING = {"_target_": "torchmetrics.HammingDistance", "_partial_": True}


def test_an_added_metric_says_which_way_it_is_better_and_what_matters(iris: dict[str, Any]) -> None:
    task = draw(iris).task
    added = {"cost": COST, "kappa": {**KAPPA, "rope": 0.05}, "hamming": {**HAMMING, "better": "max"}}
    config = changed(iris, {"metrics": {**iris["metrics"], **added}})
    assert added_facts(config["metrics"], task) == {
        "cost": AddedMetric("min"),
        "kappa": AddedMetric("max", 0.05),
        "hamming": AddedMetric("max"),  # what its YAML says wins
    }
    assert added_facts(iris["metrics"], task) == {}
    assert {"cost", "kappa", "hamming"} < set(build_metrics(config["metrics"], task))


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"kappa": {**KAPPA, "better": "up"}}, r"metrics\.kappa\.better is max or min, got 'up'"),
        ({"kappa": {**KAPPA, "rope": -1}}, r"metrics\.kappa\.rope is null or a number >= 0, got -1"),
        ({"auroc": {**KAPPA, "rope": 0.1}}, r"metrics\.auroc\.rope is for metrics of your own.*compare\.rope=0\.1"),
        ({"f1": {**KAPPA, "better": "min"}}, r"metrics\.f1\.better is for .*: say compare\.direction=min"),
    ],
)
def test_facts_of_metrics_are_checked_before_training(
    iris: dict[str, Any], metrics: dict[str, Any], message: str
) -> None:
    config = changed(iris, {"metrics": {**iris["metrics"], **metrics}})
    with pytest.raises(UserError, match=message):
        check(config, draw(config))
