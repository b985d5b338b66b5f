"""A model file predicts what the model in memory did, for every loss and model, and what scikit-learn would."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lossbench.config.compose import conf_dir
from lossbench.errors import CannotServe, UserError
from lossbench.inference.assess import assess, labels_of
from lossbench.inference.predictor import Predictor

Make = Callable[..., Any]
LOSSES = sorted(path.stem for path in (conf_dir() / "loss").glob("*.yaml"))


def loaded(made: Any, **settings: Any) -> Predictor:
    return Predictor.load(io.BytesIO(made.data), "the model", **settings)


@pytest.mark.parametrize("data", ["rings", "iris"])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_file_predicts_what_the_model_in_memory_did(loss: str, data: str, make: Make) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fits to scores of an untrained network
        try:
            made = make(loss, data)
        except CannotServe:
            pytest.skip("it cannot serve this task")
    predictor = loaded(made)
    said = predictor.predict(made.raw)
    names = made.job.dataset.task.class_names
    posteriors = said[[f"probability_{name}" for name in names]].to_numpy()
    assert_allclose(posteriors, made.evaluation.posteriors["test"], rtol=0, atol=1e-9)
    assert_allclose(predictor.probs(predictor.scores(made.raw)), made.evaluation.probs["test"], rtol=0, atol=1e-6)
    expected = posteriors.argmax(axis=1) if len(names) > 2 else (posteriors[:, 1] > predictor.decides).astype(int)
    assert said["label"].tolist() == [names[k] for k in expected]


@pytest.mark.parametrize(
    "model",
    [
        {"_target_": "lossbench.models.linear.Linear", "_partial_": True},
        {
            "_target_": "lossbench.models.mlp.Mlp",
            "_partial_": True,
            "widths": [4],
            "dropout": 0.5,
            "normalization": "batch",
        },
    ],
    ids=["linear", "dropout and batch norm"],
)
@pytest.mark.parametrize("precision", ["32-true", "64-true"])
def test_every_model_is_rebuilt(model: dict[str, Any], precision: str, make: Make, bases: dict[str, Any]) -> None:
    made = make(model=model, trainer=bases["rings"]["trainer"] | {"precision": precision})
    predictor = loaded(made)
    assert_allclose(predictor.posterior(predictor.scores(made.raw)), made.evaluation.posteriors["test"], atol=1e-9)
    floating = [tensor.dtype for tensor in predictor.network.state_dict().values() if tensor.is_floating_point()]
    assert set(floating) == {torch.float64 if precision == "64-true" else torch.float32}


@pytest.mark.parametrize("data", ["rings", "iris"])
def test_a_linear_model_is_scikit_learns(
    data: str, make: Make, bases: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # validation would refute an untrained network's posterior
    monkeypatch.setattr("lossbench.evaluation.calibration.fit_if_better", lambda *_: None)
    made = make(
        "cross_entropy",
        data,
        model={"_target_": "lossbench.models.linear.Linear", "_partial_": True},
        trainer=bases[data]["trainer"] | {"precision": "64-true"},
    )
    dataset, head = made.job.dataset, made.job.network.head
    train = pd.DataFrame(dataset.raw(dataset.train), columns=list(dataset.feature_names))
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(train, dataset.train.y)
    pipeline[-1].coef_ = head.weight.detach().numpy()
    pipeline[-1].intercept_ = head.bias.detach().numpy()
    said = loaded(made).predict(made.raw)
    names = [f"probability_{name}" for name in dataset.task.class_names]
    assert_allclose(said[names], pipeline.predict_proba(made.raw), rtol=0, atol=1e-6)
    scores = said[[name for name in said if str(name).startswith("score")]].to_numpy()
    assert_allclose(scores.squeeze(), pipeline.decision_function(made.raw), rtol=0, atol=1e-6)


def test_columns_are_found_by_name(make: Make) -> None:
    made = make()
    predictor = loaded(made)
    said = predictor.predict(made.raw)
    mixed = made.raw[::-1][["x2", "x1"]].assign(more="ignored")
    pd.testing.assert_frame_equal(predictor.predict(mixed), said[::-1])
    assert len(predictor.predict(made.raw.iloc[:0])) == 0
    with pytest.raises(UserError, match=r"column 'x2' is missing"):
        predictor.predict(made.raw.drop(columns="x2"))


def test_a_threshold_is_the_tuned_one_unless_another_is_asked_for(make: Make) -> None:
    made = make()
    predictor = loaded(made)
    positive = predictor.predict(made.raw)["probability_positive"]
    for asked, cut in [
        (None, predictor.thresholds["f1"]),
        ("mcc", predictor.thresholds["mcc"]),
        ("0.9", 0.9),
        (0.0, 0),
    ]:
        said = predictor.predict(made.raw, asked)["label"]
        assert (said == "positive").tolist() == (positive > cut).tolist()
    with pytest.raises(UserError, match="a threshold is a number or one tuned for f1, mcc"):
        predictor.predict(made.raw, "auroc")
    with pytest.raises(UserError, match="this model has 3"):
        loaded(make(on="iris")).threshold(0.5)


def test_a_threshold_that_could_not_be_tuned_is_a_half(make: Make) -> None:
    content = make().content
    content["thresholds"]["f1"] = float("nan")
    assert Predictor(content).decides == 0.5


@pytest.mark.parametrize("part", ["loss", "model"])
def test_a_config_that_names_code_is_refused(part: str, make: Make, tmp_path: Any) -> None:
    content = make().content
    content["config"][part] = {"_target_": "os.system", "command": f"touch {tmp_path / 'touched'}"}
    with pytest.raises(UserError, match=f"{part} names 'os.system', which is no part of lossbench or torch"):
        Predictor(content)
    assert not (tmp_path / "touched").exists()


def test_tensors_of_another_model_are_refused(make: Make) -> None:
    content = make().content
    content["network"] = {name: tensor[:1] for name, tensor in content["network"].items()}
    with pytest.raises(UserError, match="model: the tensors do not belong to Mlp"):
        Predictor(content)


@pytest.mark.parametrize("data", ["rings", "iris"])
def test_a_labelled_file_is_judged_as_the_test_split_was(data: str, make: Make) -> None:
    made = make("focal", data)
    names = np.array(made.job.dataset.task.class_names, dtype=object)
    labelled = made.raw.assign(truth=names[made.job.dataset.test.y])
    pieces = [labelled[:7], labelled[7:20], labelled[20:]]
    judged = assess(loaded(made), pieces, "truth")
    expected = {k[5:]: v for k, v in made.evaluation.metrics.items() if k.startswith("test/")}
    assert judged.metrics.keys() == expected.keys()
    assert_allclose(list(judged.metrics.values()), [expected[name] for name in judged.metrics], rtol=0, atol=1e-9)
    assert sum(judged.counts.values()) == len(labelled)


def test_one_class_leaves_metrics_undefined_with_a_reason(make: Make) -> None:
    made = make()
    only = made.raw.assign(truth="positive")
    judged = assess(loaded(made), [only], "truth")
    assert np.isnan(judged.metrics["auroc"])
    assert "auroc" in judged.undefined


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        (["no", "yes", " yes"], ("no", "yes"), [0, 1, 1]),
        ([0, 1, 1], ("0", "1"), [0, 1, 1]),
        (["0.0", "1", "1.00"], ("0", "1"), [0, 1, 1]),
        ([True, False], ("False", "True"), [1, 0]),
        (["TRUE", "false"], ("False", "True"), [1, 0]),
        ([0.5, 1.5], ("0.5", "1.5"), [0, 1]),
    ],
)
def test_labels_are_read_as_training_read_them(
    labels: list[Any], classes: tuple[str, ...], expected: list[int]
) -> None:
    assert labels_of(pd.DataFrame({"y": labels}), "y", classes).tolist() == expected


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["no", "maybe"], r"column 'y' has 'maybe' in row 12, classes are 'no', 'yes'"),
        (["no", None], r"column 'y' has a missing value in row 12"),
    ],
)
def test_a_label_that_training_had_not_is_named(labels: list[Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        labels_of(pd.DataFrame({"y": labels}), "y", ("no", "yes"), first_row=11)
    with pytest.raises(UserError, match="there is no column 'z'"):
        labels_of(pd.DataFrame({"y": labels}), "z", ("no", "yes"))
