"""The adapter: every view, every target, and what it refuses."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from lossbench.errors import CannotServe
from lossbench.objective.links import Sigmoid, Softmax
from lossbench.objective.losses.external import External
from lossbench.objective.prediction import Prediction
from lossbench.task import Task

TWO = Task(2, ("a", "b"), (3, 1))
THREE = Task(2, ("a", "b", "c"), (3, 2, 1))
F = torch.nn.functional


def seen(reads, target, scores, features=None):
    """Return what the function is called with."""
    calls = []

    def function(view, wanted):
        calls.append((view, wanted))
        return view.sum(dim=-1)

    loss = External(function, reads=reads, target=target, link=Softmax() if reads == "features" else None)
    loss(Prediction(scores, loss.link, features), torch.tensor([1, 0]))
    return calls[0]


@pytest.mark.parametrize("n_scores", [1, 3])
@pytest.mark.parametrize("reads", ["scores", "positive_prob", "logits", "log_probs", "probs", "features"])
def test_reads_the_view_that_it_names(reads, n_scores):
    scores = torch.arange(2.0 * n_scores).reshape(2, n_scores)
    features = torch.ones(2, 5)
    view, _ = seen(reads, "index", scores, features)
    link = Sigmoid() if reads in ("scores", "positive_prob") else Softmax()
    assert torch.equal(view, getattr(Prediction(scores, link, features), reads))


def test_targets():
    two, three = torch.zeros(2, 1), torch.zeros(2, 3)
    assert seen("scores", "index", two)[1].tolist() == [1, 0]
    assert seen("scores", "indicator", two)[1].tolist() == [[1], [0]]
    assert seen("scores", "sign", two)[1].tolist() == [[1], [-1]]
    assert seen("scores", "onehot", two)[1].tolist() == [[0, 1], [1, 0]]
    assert seen("scores", "indicator", three)[1].tolist() == [[0, 1, 0], [1, 0, 0]]
    assert seen("scores", "sign", three)[1].tolist() == [[-1, 1, -1], [1, -1, -1]]
    assert seen("scores", "onehot", three)[1].tolist() == [[0, 1, 0], [1, 0, 0]]


def test_columns_and_similarity():
    scores, target = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])

    def value(**settings):
        loss = External(reads="logits", target="onehot", **settings)
        return loss(Prediction(scores, loss.link), target).item()

    square = partial(F.mse_loss, reduction="none")
    assert value(function=square) == pytest.approx(1 / 3)
    assert value(function=square, columns="sum") == pytest.approx(1)
    assert value(function=torch.nn.CosineSimilarity(), similarity=True) == pytest.approx(0)


def test_name_is_the_functions():
    assert External(torch.nn.MSELoss(reduction="none"), "probs", "onehot").name == "MSELoss"
    assert External(F.mse_loss, "probs", "onehot").name == "mse_loss"
    assert External(partial(F.mse_loss, reduction="none"), "probs", "onehot").name == "mse_loss"


def test_whole_batch():
    loss = External(F.mse_loss, "probs", "onehot", pointwise=False)
    assert loss(Prediction(torch.zeros(4, 1), loss.link), torch.tensor([0, 1, 0, 1])).shape == ()


def test_a_reduced_function_is_refused():
    loss = External(torch.nn.MSELoss(), "probs", "onehot")
    with pytest.raises(
        ValueError, match=r"MSELoss needs one value per row \(reduction: none, or say mean\), got shape \(\) for 4 rows"
    ):
        loss(Prediction(torch.zeros(4, 1), loss.link), torch.tensor([0, 1, 0, 1]))
    loss = External(torch.nn.MSELoss(reduction="none"), "probs", "onehot", pointwise=False)
    with pytest.raises(ValueError, match=r"MSELoss needs one value per batch, got shape \(4, 2\) for 4 rows"):
        loss(Prediction(torch.zeros(4, 1), loss.link), torch.tensor([0, 1, 0, 1]))


def focal_mean(y_true, y_pred):
    own = torch.where(y_true > 0, y_pred, 1 - y_pred)
    return (-((1 - own) ** 2) * own.log()).mean()


@pytest.mark.parametrize("stackable", ["equal_hyperparameters", "no"])
def test_a_mean_is_taken_apart_into_rows(stackable):
    loss = External(
        focal_mean, "positive_prob", "indicator", arguments=["y_pred", "y_true"], reduction="mean", stackable=stackable
    )
    prediction, target = Prediction(torch.tensor([[0.0], [1.0], [-2.0]]), loss.link), torch.tensor([0, 1, 1])
    found = loss(prediction, target)
    own = (0.5, 1 / (1 + math.exp(-1)), 1 / (1 + math.exp(2)))  # sigmoid of 0, 1, -2
    by_hand = [-((1 - p) ** 2) * math.log(p) for p in own]
    assert found.tolist() == pytest.approx(by_hand, rel=1e-6)
    assert loss.reduced(prediction, target).item() == pytest.approx(sum(by_hand) / 3, rel=1e-6)


def test_a_mean_that_vmap_refuses_says_what_to_state():
    def counted(view, wanted):
        return F.cross_entropy(view, wanted) * (1.0 if wanted.max().item() else 2.0)

    loss = External(counted, "logits", "index", reduction="mean")
    with pytest.raises(ValueError, match="counted needs stackable: no, which calls it row by row, since vmap"):
        loss(Prediction(torch.zeros(2, 1), loss.link), torch.tensor([0, 1]))
    loss = External(counted, "logits", "index", reduction="mean", stackable="no")
    found = loss(Prediction(torch.zeros(2, 1), loss.link), torch.tensor([0, 1]))
    assert found.tolist() == pytest.approx([1.3863, 0.6931], abs=1e-4)


@pytest.mark.parametrize(("target", "shape"), [("index", (1, 4, 1)), ("onehot", (1, 3, 4, 1))])
def test_pixels_are_rows_of_one_image(target, shape):
    shapes = []

    def of_image(view, wanted):
        shapes.append((tuple(view.shape), tuple(wanted.shape)))
        return -F.log_softmax(view, dim=1)

    loss = External(of_image, "logits", target, layout="pixels", columns="sum")
    scores = torch.arange(12.0).reshape(4, 3)
    found = loss(Prediction(scores, loss.link), torch.tensor([0, 1, 2, 0]))
    assert shapes == [((1, 3, 4, 1), shape)]
    torch.testing.assert_close(found, -F.log_softmax(scores, dim=1).sum(dim=1))


def test_a_module_with_parameters_needs_them():
    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()))

        def forward(self, view, wanted):
            return F.cross_entropy(self.scale * view, wanted, reduction="none")

    assert External(Scaled(), "logits", "index").needs == {"parameters"}


def test_claims_nothing_that_is_not_stated():
    loss = External(F.mse_loss, "probs", "onehot")
    assert not loss.proper
    assert loss.posterior == "calibrator"
    assert loss.stackable == "equal_hyperparameters"
    assert External(F.mse_loss, "features", "index", link=Softmax()).needs == {"features"}


def test_two_classes_only():
    External(F.mse_loss, "scores", "sign", classes="two").bind(TWO)
    with pytest.raises(CannotServe, match="mse_loss is for two classes, the task has 3"):
        External(F.mse_loss, "scores", "sign", classes="two").bind(THREE)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reads": "odds"}, "needs reads to be one of scores"),
        ({"target": "soft"}, "needs target to be one of index"),
        ({"columns": "max"}, "needs columns to be one of mean, sum"),
        ({"reads": "features"}, "reads features and needs a link"),
        ({"link": "softmax"}, "needs a lossbench Link, got link='softmax'"),
        ({"proper": 1}, "needs proper to be true or false, got proper=1"),
        ({"posterior": "none"}, "needs posterior to be one of gradient, calibrator"),
        ({"stackable": "yes"}, "needs stackable to be one of all"),
        ({"needs": ["luck"]}, "needs needs to be one of priors"),
        ({"finite_scores": 0}, "needs finite_scores > 0"),
        ({"classes": 2}, "needs classes to be one of two, any"),
        ({"pointwise": False, "ignore_index": -100}, "judges whole batches and ignores no rows"),
        ({"reduction": "sum"}, "needs reduction to be one of none, mean"),
        ({"reduction": "mean", "pointwise": False}, "is pointwise where it takes means, got reduction=mean"),
        ({"layout": "image"}, "needs layout to be one of rows, pixels"),
        (
            {"arguments": ["y_pred"]},
            r"needs arguments to be two names, of input and target, got arguments=\['y_pred'\]",
        ),
        ({"arguments": "xy"}, "needs arguments to be two names"),
        ({"function": 3}, "needs a function, got function=3"),
    ],
)
def test_wrong_keys_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        External(**{"function": F.mse_loss, "reads": "probs", "target": "onehot", **settings})
