"""The learner against loops written out in plain torch, and its figures against scikit-learn."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torch import nn

from lossbench.data.order import shuffled_order
from lossbench.models.mlp import Mlp
from lossbench.objective.losses.likelihood import cross_entropy
from lossbench.objective.regularizers.weights import L1, L2
from lossbench.objective.weighting import Balanced
from lossbench.training.selection import Rule

# Batch normalisation makes the gradient of a bias before it rounding noise, which Adam blows up to full steps.
NORMALISED = partial(Mlp, widths=(6, 5), normalization="layer")
LAST = Rule(None)


def as_sequential(network: Mlp) -> nn.Sequential:
    """The same layers with the same weights as torch's own container, in double precision."""
    return nn.Sequential(*copy.deepcopy(list(network.body)), copy.deepcopy(network.head)).double()


def plain_loss(scores: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    if scores.shape[1] == 1:
        return nn.functional.binary_cross_entropy_with_logits(scores[:, 0], target.double())
    return nn.functional.cross_entropy(scores, target)


def plain_loop(job: Any, optimizer: Any, batch_size: int | None, after_backward: Any = None) -> Any:
    """Train a copy of the job's network as a tutorial would; yield it and the mean training loss after every epoch."""
    train = job.dataset.train
    x, y = torch.as_tensor(train.x), torch.as_tensor(train.y)
    network = as_sequential(job.network)
    steps = optimizer(network.parameters())
    for epoch in range(job.epochs):
        rows = (
            shuffled_order(job.seed, epoch, len(y))
            if batch_size is not None and batch_size < len(y)
            else torch.arange(len(y))
        )
        total = 0.0
        for batch in rows.split(batch_size or len(y)):
            steps.zero_grad()
            loss = plain_loss(network(x[batch]), y[batch])
            loss.backward()
            if after_backward is not None:
                after_backward(network)
            steps.step()
            total += loss.item() * len(batch)
        yield network, total / len(y)


def scikit_learn(target: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Every per-epoch metric, by its scikit-learn definition."""
    if scores.shape[1] == 1:
        positive = 1 / (1 + np.exp(-scores[:, 0]))
        said = (positive > 0.5).astype(int)
        return {
            "val/accuracy": sk.accuracy_score(target, said),
            "val/balanced_accuracy": sk.balanced_accuracy_score(target, said),
            "val/auroc": sk.roc_auc_score(target, positive),
            "val/average_precision": sk.average_precision_score(target, positive),
            "val/f1": sk.f1_score(target, said, zero_division=0.0),
            "val/mcc": sk.matthews_corrcoef(target, said),
            "val/log_loss": sk.log_loss(target, positive),
            "val/brier": sk.brier_score_loss(target, positive),
        }
    probs = np.exp(scores - scores.max(axis=1, keepdims=True))
    probs /= probs.sum(axis=1, keepdims=True)
    said, onehot = probs.argmax(axis=1), np.eye(probs.shape[1])[target]
    return {
        "val/accuracy": sk.accuracy_score(target, said),
        "val/balanced_accuracy": sk.balanced_accuracy_score(target, said),
        "val/auroc": sk.roc_auc_score(target, probs, multi_class="ovr", average="macro"),
        "val/average_precision": sk.average_precision_score(onehot, probs, average="macro"),
        "val/f1": sk.f1_score(target, said, average="macro", zero_division=0.0),
        "val/mcc": sk.matthews_corrcoef(target, said),
        "val/log_loss": sk.log_loss(target, probs),
        "val/brier": ((probs - onehot) ** 2).sum(axis=1).mean(),
        "val/auroc_micro": sk.roc_auc_score(onehot.ravel(), probs.ravel()),
    }


def assert_equal_networks(ours: Any, plain: nn.Sequential) -> None:
    expected = list(plain.state_dict().values())
    assert len(expected) == len(ours.state_dict())
    for (name, tensor), other in zip(ours.state_dict().items(), expected, strict=True):
        assert torch.allclose(tensor, other, rtol=0, atol=1e-12), name


OPTIMIZERS = {
    "sgd": partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True),
    "adam": partial(torch.optim.Adam, lr=0.02),
    "adamw": partial(torch.optim.AdamW, lr=0.02, weight_decay=0.1),
    "rmsprop": partial(torch.optim.RMSprop, lr=0.005),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("data", ["iris", "rings"])
def test_training_equals_a_plain_loop(request, make_job, train, data: str, optimizer) -> None:
    dataset = request.getfixturevalue(data)
    batch_size = dataset.batch_size
    # decay_on=all is what torch itself does.
    job = make_job(dataset, model=NORMALISED, optimizer=optimizer, epochs=4, rule=LAST, decay_on="all")
    reference = [(copy.deepcopy(network).eval(), loss) for network, loss in plain_loop(job, optimizer, batch_size)]
    fit = train(job)
    assert [row["epoch"] for row in fit.history] == [0, 1, 2, 3]
    assert_equal_networks(job.network, reference[-1][0])
    x = torch.as_tensor(dataset.val.x)
    for row, (network, loss) in zip(fit.history, reference, strict=True):
        assert row["train/loss"] == pytest.approx(loss, rel=1e-12)
        assert "train/objective" not in row  # it is the loss
        scores = network(x).detach()
        expected = scikit_learn(dataset.val.y, scores.numpy())
        expected["val/loss"] = plain_loss(scores, torch.as_tensor(dataset.val.y)).item()
        found = {key: value for key, value in row.items() if key.startswith("val/")}
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_batch_normalisation_and_its_running_statistics(make_job, train, rings) -> None:
    optimizer = partial(torch.optim.SGD, lr=0.05)
    job = make_job(model=partial(Mlp, widths=(6, 5), normalization="batch"), optimizer=optimizer, rule=LAST)
    *_, (expected, _) = plain_loop(job, optimizer, rings.batch_size)
    train(job)
    assert_equal_networks(job.network, expected)
    assert job.network.body[1].num_batches_tracked == 3 * 4


def test_one_step_of_gradient_descent_by_hand(make_job, train, iris) -> None:
    """No optimizer of torch's on the other side: weights minus rate times the gradient of softmax regression."""
    from lossbench.models.linear import Linear

    job = make_job(iris, model=Linear, optimizer=partial(torch.optim.SGD, lr=0.5), epochs=1, rule=LAST)
    weight, bias = (parameter.detach().clone().numpy() for parameter in job.network.head.parameters())
    x, onehot = iris.train.x, np.eye(3)[iris.train.y]
    exp = np.exp(x @ weight.T + bias)
    error = (exp / exp.sum(axis=1, keepdims=True) - onehot) / len(x)
    train(job)
    assert np.allclose(job.network.head.weight.detach(), weight - 0.5 * error.T @ x, rtol=0, atol=1e-14)
    assert np.allclose(job.network.head.bias.detach(), bias - 0.5 * error.sum(axis=0), rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("settings", "clip"),
    [
        ({"gradient_clip_val": 0.05}, lambda network: nn.utils.clip_grad_norm_(network.parameters(), 0.05)),
        (
            {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"},
            lambda network: nn.utils.clip_grad_value_(network.parameters(), 0.01),
        ),
    ],
    ids=["norm", "value"],
)
def test_gradient_clipping(make_job, train, rings, settings, clip) -> None:
    optimizer = OPTIMIZERS["sgd"]
    job = make_job(optimizer=optimizer, epochs=2, rule=LAST)
    *_, (expected, _) = plain_loop(job, optimizer, rings.batch_size, clip)
    train(job, settings)
    assert_equal_networks(job.network, expected)
    *_, (unclipped, _) = plain_loop(make_job(epochs=2), optimizer, rings.batch_size)
    assert not torch.allclose(job.network.head.weight, unclipped[-1].weight, atol=1e-3)


def test_accumulated_batches_step_once(make_job, train, rings) -> None:
    """Two batches of 64 a step, as Lightning accumulates them, are one batch of 128 rows in equal halves."""
    optimizer = partial(torch.optim.SGD, lr=0.1)
    job = make_job(optimizer=optimizer, epochs=1, rule=LAST)
    network = as_sequential(job.network)
    x, y = torch.as_tensor(rings.train.x), torch.as_tensor(rings.train.y)
    steps = optimizer(network.parameters())
    batches = shuffled_order(0, 0, len(y)).split(64)
    for pair in (batches[:2], batches[2:]):
        steps.zero_grad()
        sum(plain_loss(network(x[batch]), y[batch]) / 2 for batch in pair).backward()
        steps.step()
    train(job, {"accumulate_grad_batches": 2})
    assert_equal_networks(job.network, network)


def test_a_proximal_step_follows_every_step_of_the_optimizer(make_job, train, rings) -> None:
    """Not every batch, where two accumulate; weights outside the optimizer are left alone; each has its own rate."""
    groups = [{"pattern": "head.*", "lr": 0.02}]
    l1 = {"l1": L1(2.0, proximal=True)}
    job = make_job(regularizers=l1, optimizer=partial(torch.optim.SGD, lr=0.1), groups=groups, epochs=1, rule=LAST)
    frozen = job.network.body[2].weight.requires_grad_(False)
    before = frozen.clone()
    network = as_sequential(job.network)
    trained = [(name, p) for name, p in job.network.named_parameters() if p.requires_grad]
    copies = dict(zip((name for name, _ in trained), (p for p in network.parameters() if p.requires_grad), strict=True))
    x, y = torch.as_tensor(rings.train.x), torch.as_tensor(rings.train.y)
    batches = shuffled_order(0, 0, len(y)).split(64)
    for pair in (batches[:2], batches[2:]):
        network.zero_grad()
        sum(plain_loss(network(x[batch]), y[batch]) / 2 for batch in pair).backward()
        with torch.no_grad():
            for name, parameter in copies.items():
                rate = 0.02 if name.startswith("head") else 0.1
                parameter -= rate * parameter.grad
                if name.endswith("weight"):  # soft thresholding, biases spared
                    parameter.copy_(parameter.sign() * (parameter.abs() - rate * 2.0).clamp(min=0))
    train(job, {"accumulate_grad_batches": 2})
    assert_equal_networks(job.network, network)
    assert torch.equal(job.network.body[2].weight, before)
    assert (job.network.body[0].weight == 0).any()


def test_the_weighted_objective_is_the_one_that_is_trained(make_job, train, rings) -> None:
    job = make_job(weighting=Balanced(), optimizer=OPTIMIZERS["sgd"], epochs=2, rule=LAST)
    network = as_sequential(job.network)
    steps = OPTIMIZERS["sgd"](network.parameters())
    x, y = torch.as_tensor(rings.train.x), torch.as_tensor(rings.train.y)
    counts = np.bincount(rings.train.y)
    class_weight = torch.tensor(counts.sum() / (2 * counts))
    two = lambda scores: torch.cat([torch.zeros_like(scores), scores], dim=1)  # noqa: E731
    for epoch in range(2):
        for batch in shuffled_order(0, epoch, len(y)).split(64):
            steps.zero_grad()
            nn.functional.cross_entropy(two(network(x[batch])), y[batch], weight=class_weight).backward()
            steps.step()
    fit = train(job)
    assert_equal_networks(job.network, network)
    scores = network(torch.as_tensor(rings.val.x))
    expected = nn.functional.cross_entropy(two(scores), torch.as_tensor(rings.val.y), weight=class_weight)
    assert fit.history[-1]["val/loss"] == pytest.approx(expected.item(), rel=1e-12)


def test_deferred_weights_come_into_force_in_their_epoch(make_job, train) -> None:
    rows = {}
    for name, weighting in {"none": None, "deferred": Balanced(start=2), "always": Balanced()}.items():
        rows[name] = train(make_job(weighting=weighting, optimizer=OPTIMIZERS["sgd"], rule=LAST)).history
    assert rows["deferred"][:2] == rows["none"][:2]
    assert rows["deferred"][2]["train/loss"] != rows["none"][2]["train/loss"]
    assert rows["deferred"][0]["train/loss"] != rows["always"][0]["train/loss"]


MOMENTUM = {"lr": 0.05, "momentum": 0.9}


@pytest.mark.parametrize(
    ("optimizer", "arguments", "equal"),
    [
        (torch.optim.SGD, MOMENTUM, True),
        (torch.optim.SGD, {**MOMENTUM, "nesterov": True}, True),
        (torch.optim.Adam, {"lr": 0.02}, True),
        (torch.optim.AdamW, {"lr": 0.02}, False),
    ],
)
def test_weight_decay_is_the_l2_penalty_step_for_step(make_job, train, optimizer, arguments, equal: bool) -> None:
    def last(decay: float, **others: Any) -> tuple[Any, Any]:
        partial_optimizer = partial(optimizer, **arguments, weight_decay=decay)
        job = make_job(model=NORMALISED, optimizer=partial_optimizer, epochs=3, rule=LAST, **others)
        return job, train(job)

    (decayed, _), (penalised, fit) = last(0.3), last(0.0, regularizers={"l2": L2(0.3)})
    for name, tensor in decayed.network.state_dict().items():
        same = torch.allclose(tensor, penalised.network.state_dict()[name], rtol=0, atol=1e-12)
        assert same == equal or name.endswith("num_batches_tracked"), name
    assert fit.history[0]["train/objective"] == pytest.approx(
        fit.history[0]["train/loss"] + fit.history[0]["train/l2"], rel=1e-12
    )
    free = last(0.0)[0]
    assert not torch.allclose(free.network.head.weight, penalised.network.head.weight, atol=1e-3)


def test_decay_on_all_is_not_the_l2_penalty(make_job, train) -> None:
    jobs = []
    for decay_on in ("weights", "all"):
        job = make_job(optimizer=partial(torch.optim.SGD, **MOMENTUM, weight_decay=0.3), rule=LAST, decay_on=decay_on)
        train(job)
        jobs.append(job)
    assert not torch.allclose(jobs[0].network.head.bias, jobs[1].network.head.bias, atol=1e-3)


def test_penalties_are_on_the_matrices_alone(make_job, train, iris) -> None:
    job = make_job(iris, model=NORMALISED, regularizers={"l1": L1(0.1), "l2": L2(0.2)}, epochs=1, rule=LAST)
    with torch.no_grad():
        for parameter in job.network.parameters():
            parameter.add_(1.0)  # biases and scales start at 0 and 1: moved, they would be seen
    matrices = [layer.weight.detach().clone() for layer in job.network.modules() if isinstance(layer, nn.Linear)]
    assert len(matrices) == 3
    row = train(job).history[0]
    assert row["train/l1"] == pytest.approx(0.1 * sum(float(m.abs().sum()) for m in matrices), rel=1e-12)
    assert row["train/l2"] == pytest.approx(0.2 / 2 * sum(float(m.square().sum()) for m in matrices), rel=1e-12)
    assert row["train/objective"] == pytest.approx(row["train/loss"] + row["train/l1"] + row["train/l2"], rel=1e-12)


def test_a_loss_as_large_as_a_split_is_the_mean_over_its_rows(make_job, train, rings) -> None:
    """The training term is the mean over rows, not over batches, of which the last is smaller."""
    job = make_job(loss=cross_entropy(), optimizer=partial(torch.optim.SGD, lr=0.0), epochs=1, rule=LAST)
    with torch.no_grad():
        scores = as_sequential(job.network)(torch.as_tensor(rings.train.x))
    expected = float(plain_loss(scores, torch.as_tensor(rings.train.y)))
    assert train(job).history[0]["train/loss"] == pytest.approx(expected, rel=1e-12)
