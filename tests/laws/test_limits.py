"""What whole-batch losses become: the metrics that they soften, problems of their own, and what is left at a saddle."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from sklearn.metrics import average_precision_score, f1_score, matthews_corrcoef, roc_auc_score

from lossbench.objective.prediction import Prediction
from lossbench.task import Task

CONF = Path(__file__).parents[2] / "conf" / "loss"
ONE_MINUS = {
    "soft_f1": f1_score, "dice": f1_score, "tversky": f1_score, "focal_tversky": f1_score, "mcc": matthews_corrcoef,
}  # fmt: skip
SETTINGS: dict[str, dict[str, Any]] = {
    "tversky": {"alpha": 0.5, "beta": 0.5}, "focal_tversky": {"alpha": 0.5, "beta": 0.5, "gamma": 1.0},
}  # fmt: skip


def build(loss: str, n_classes: int, **changes: Any) -> Any:
    config = OmegaConf.to_container(OmegaConf.load(CONF / f"{loss}.yaml"))
    made = instantiate({**config, **changes}, _convert_="all")
    made.bind(Task(2, tuple("abcd"[:n_classes]), (1,) * n_classes))
    return made


def value(loss, scores, target, features=None):
    return loss(Prediction(torch.as_tensor(scores, dtype=torch.float64), loss.link, features), torch.as_tensor(target))


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("loss", ONE_MINUS)
def test_sure_scores_give_the_metric(loss, n_classes):
    target = np.arange(40) % n_classes
    said = np.random.default_rng(0).permutation(target)
    sure = np.eye(n_classes)[said] * 200 - 100
    sure = sure[:, 1:] - sure[:, :1] if n_classes == 2 else sure
    settings = {} if loss == "mcc" else {"average": "binary" if n_classes == 2 else "macro"}
    found = value(build(loss, n_classes, **SETTINGS.get(loss, {})), sure, target).item()
    assert found == pytest.approx(1 - ONE_MINUS[loss](target, said, **settings), abs=1e-12)


@pytest.mark.parametrize("loss", ["average_precision", "pairwise_auc"])
def test_far_scores_give_the_metric(loss):
    target = np.arange(60) % 3 % 2
    rank = np.random.default_rng(0).permutation(60)[:, None].astype(float)
    leaf = torch.tensor(rank, requires_grad=True)
    if loss == "average_precision":
        found = value(build(loss, 2, temperature=0.01), leaf, target).item()
        assert found == pytest.approx(1 - average_precision_score(target, rank[:, 0]), abs=1e-12)
        return
    # the hinge of a small margin counts wrong pairs by their distance; its slope counts them
    value(build(loss, 2, surrogate="hinge", margin=0.5), leaf, target).backward()
    wrong = -leaf.grad[torch.tensor(target) == 1].sum().item()
    assert wrong == pytest.approx(1 - roc_auc_score(target, rank[:, 0]), abs=1e-12)


@pytest.mark.parametrize(
    "loss", ["soft_f1", "dice", "tversky", "focal_tversky", "pairwise_auc", "aucm", "average_precision"]
)
def test_a_class_without_rows_is_left_out_of_the_mean(loss):
    """Class d has no row; the mean is that of the other columns as problems of their own."""
    settings = {"average": "macro"} if loss in ("pairwise_auc", "average_precision") else {}
    whole, one = build(loss, 4, **settings), build(loss, 2)
    scores, target = np.random.default_rng(0).standard_normal((12, 4)), np.arange(12) % 3
    of_softmax = whole.link.name == "softmax"  # whose columns are probabilities, here as scores of their own
    columns = torch.tensor(scores).softmax(dim=1).logit().numpy() if of_softmax else scores
    expected = [value(one, columns[:, [k]], (target == k) * 1).item() for k in range(3)]
    assert value(whole, scores, target).item() == pytest.approx(np.mean(expected), rel=1e-9)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_aucm_at_its_saddle_is_the_squared_pairwise_loss_of_the_probabilities(n_classes):
    loss, pairwise = (
        build("aucm", n_classes, margin=0.8),
        build("pairwise_auc", n_classes, surrogate="squared", margin=0.8, average="macro"),
    )
    scores = torch.randn(12, loss.a.shape[0], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target = torch.arange(12) ** 2 // 7 % n_classes
    h = scores.sigmoid().requires_grad_()
    own = torch.stack([target == k for k in ([1] if n_classes == 2 else range(4))], dim=1).double()
    high, low = (h * own).sum(dim=0) / own.sum(dim=0), (h * (1 - own)).sum(dim=0) / (1 - own).sum(dim=0)
    with torch.no_grad():
        loss.a.copy_(high)
        loss.b.copy_(low)
        loss.alpha.copy_(0.8 + low - high)
    leaf = scores.clone().requires_grad_()
    found, expected = value(loss, leaf, target), value(pairwise, h, target)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    found.backward()
    expected.backward()
    torch.testing.assert_close(leaf.grad, h.grad * (h * (1 - h)).detach(), rtol=1e-10, atol=1e-14)
    # a and b have found their minimum, and alpha its maximum: a step beside it descends on minus the slope
    for name, slope in (("a", 0.0), ("b", 0.0), ("alpha", 0.0)):
        torch.testing.assert_close(loss.get_parameter(name).grad, torch.full_like(loss.a, slope), rtol=0, atol=1e-12)
    with torch.no_grad():
        loss.alpha.add_(0.1)
    loss.alpha.grad = None
    value(loss, scores, target).backward()
    columns = loss.alpha.numel()
    torch.testing.assert_close(loss.alpha.grad, torch.full_like(loss.alpha, 2 * 0.1 / columns), rtol=1e-9, atol=0)


@pytest.mark.parametrize("temperature", [0.3, 2.0])
def test_contrast_of_known_features(temperature):
    """Classes at right angles, lengths of any size: 5 rows of one class, 3 of another, one alone that is no anchor."""
    target = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2])
    features = torch.eye(3, dtype=torch.float64)[target] * torch.linspace(0.1, 9, 9, dtype=torch.float64)[:, None]
    scores = torch.randn(9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    e = math.exp(1 / temperature)
    anchors = [5 * math.log(4 * e + 4), 3 * math.log(2 * e + 6)]
    contrast = sum(anchors) / 8 - 1 / temperature
    plain = value(build("cross_entropy", 3), scores, target).mean().item()
    for weight in (0.0, 0.3, 1.0):
        loss = build("supervised_contrastive", 3, temperature=temperature, weight=weight)
        found = value(loss, scores, target, features).item()
        assert found == pytest.approx(weight * contrast + (1 - weight) * plain, rel=1e-12)


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("loss", ["normalized_softmax", "cosface", "arcface"])
def test_a_head_says_its_scale_of_its_own_proxies(loss, n_classes):
    """Features along a proxy, of any length, at right angles to the others; two classes have opposite ones."""
    made = build(loss, n_classes)
    scale = 1 / made.temperature if loss == "normalized_softmax" else made.scale
    head = made.head(Task(5, tuple("abcd"[:n_classes]), (1,) * n_classes), 5).double()
    n_scores = head.proxies.shape[0]
    with torch.no_grad():
        head.proxies.copy_(2 * torch.eye(5)[:n_scores])
    said = head(torch.tensor([[0.3], [7.0]], dtype=torch.float64)[:, :, None] * torch.eye(5)).detach()
    expected = scale * torch.eye(5, n_scores, dtype=torch.float64) * (2 if n_classes == 2 else 1)
    torch.testing.assert_close(said, expected.expand(2, -1, -1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_an_adaptive_head_says_log_probabilities(n_classes):
    made = build("adaptive_log_softmax", n_classes, div_value=2.0)
    head = made.head(Task(5, tuple("abcd"[:n_classes]), tuple(range(1, n_classes + 1))), 5).double()
    features = torch.randn(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    by_frequency = head.layer.log_prob(features).detach()  # the last class is the most frequent
    found = Prediction(head(features).detach(), made.link).log_probs
    torch.testing.assert_close(found, by_frequency.flip(-1), rtol=1e-10, atol=1e-12)
