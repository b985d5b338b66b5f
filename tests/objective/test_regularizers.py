"""Values, gradients and proximal steps of penalties against numpy, scipy, scikit-learn and hand derivations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.stats import entropy
from sklearn.linear_model import ElasticNet as SklearnElasticNet
from sklearn.linear_model import Lasso
from torch import nn

from lossbench.errors import CannotServe
from lossbench.objective.links import Sigmoid, Softmax
from lossbench.objective.losses.likelihood import cross_entropy
from lossbench.objective.objective import Objective
from lossbench.objective.prediction import Prediction
from lossbench.objective.regularizer import Regularizer, Step
from lossbench.objective.regularizers.groups import GroupLasso
from lossbench.objective.regularizers.inputs import InputGradient
from lossbench.objective.regularizers.outputs import ConfidencePenalty, FeatureL2
from lossbench.objective.regularizers.spectrum import Nuclear, Orthogonal, Spectral
from lossbench.objective.regularizers.weights import L1, L2, ElasticNet
from lossbench.objective.weighting import NoWeighting
from lossbench.task import Task

RANDOM = np.random.default_rng(5)
TALL, WIDE, KERNEL = RANDOM.normal(size=(5, 3)), RANDOM.normal(size=(2, 5)), RANDOM.normal(size=(4, 2, 3))


def step_with(**given: Any) -> Step:
    parts: dict[str, Any] = {"weights": {}, "inputs": None, "features": None, "prediction": None, "target": None}
    return Step(**parts | given)


def value_and_slopes(regularizer: Regularizer, *matrices: np.ndarray) -> tuple[float, list[np.ndarray]]:
    leaves = [torch.tensor(matrix, requires_grad=True) for matrix in matrices]
    value = regularizer.penalty(step_with(weights={str(i): leaf for i, leaf in enumerate(leaves)}))
    value.backward()
    return value.item(), [leaf.grad.numpy() for leaf in leaves]


def singular(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return scipy.linalg.svd(matrix.reshape(len(matrix), -1), full_matrices=False)


def by_singular_values(value: Any, slope: Any) -> tuple[float, list[np.ndarray]]:
    """A function of the singular values: its gradient is U diag(slope) V'."""
    decomposed = [singular(matrix) for matrix in (TALL, WIDE, KERNEL)]
    slopes = [
        (u * slope(s) @ vt).reshape(matrix.shape)
        for (u, s, vt), matrix in zip(decomposed, (TALL, WIDE, KERNEL), strict=True)
    ]
    return sum(value(s) for _, s, _ in decomposed), slopes


def only_first(s: np.ndarray) -> np.ndarray:
    return np.where(np.arange(len(s)) == 0, s, 0)


@pytest.mark.parametrize(
    ("regularizer", "value", "slope"),
    [
        (L2(0.7), lambda s: 0.35 * (s**2).sum(), lambda s: 0.7 * s),
        (Nuclear(0.7), lambda s: 0.7 * s.sum(), lambda s: 0.7 * np.ones_like(s)),
        (Spectral(0.7), lambda s: 0.35 * s[0] ** 2, lambda s: 0.7 * only_first(s)),
        (Spectral(0.7, method="power", iterations=600), lambda s: 0.35 * s[0] ** 2, lambda s: 0.7 * only_first(s)),
        (Orthogonal(0.7), lambda s: 0.7 * ((s**2 - 1) ** 2).sum(), lambda s: 2.8 * s * (s**2 - 1)),
    ],
    ids=["l2", "nuclear", "spectral", "power", "orthogonal"],
)
def test_functions_of_singular_values_equal_scipys(regularizer: Regularizer, value: Any, slope: Any) -> None:
    found, slopes = value_and_slopes(regularizer, TALL, WIDE, KERNEL)
    expected, expected_slopes = by_singular_values(value, slope)
    assert found == pytest.approx(expected, rel=1e-9)
    for one, other in zip(slopes, expected_slopes, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


def test_power_iteration_keeps_its_stated_tolerance() -> None:
    for seed in range(20):
        matrix = np.random.default_rng(seed).normal(size=(20, 12))
        _, s, vt = singular(matrix)
        start = np.sin(np.arange(1, 13) ** 2)
        along = (vt[0] @ start) ** 2
        across = start @ start - along
        for iterations in (1, 5, 30):
            found, _ = value_and_slopes(Spectral(2.0, method="power", iterations=iterations), matrix)
            shortfall = 1 - found / s[0] ** 2
            assert -1e-12 <= shortfall <= across / along * (s[1] / s[0]) ** (4 * iterations) + 1e-12


def test_penalties_on_single_weights_by_hand() -> None:
    matrix = np.array([[1.0, -2.0], [0.5, 4.0]])
    value, (slope,) = value_and_slopes(L1(0.1), matrix)
    assert value == pytest.approx(0.75)
    np.testing.assert_allclose(slope, [[0.1, -0.1], [0.1, 0.1]])
    value, (slope,) = value_and_slopes(ElasticNet(0.1, l1_ratio=0.25), matrix)
    assert value == pytest.approx(0.1 * (0.25 * 7.5 + 0.75 / 2 * 21.25))
    np.testing.assert_allclose(slope, 0.1 * (0.25 * np.sign(matrix) + 0.75 * matrix))


@pytest.mark.parametrize("groups", ["rows", "columns"])
def test_group_lasso_equals_a_loop(groups: str) -> None:
    value, slopes = value_and_slopes(GroupLasso(0.7, groups=groups), TALL, KERNEL)
    expected = 0.0
    for matrix, slope in zip((TALL, KERNEL), slopes, strict=True):
        members = matrix if groups == "rows" else matrix.swapaxes(0, 1)
        moved = slope if groups == "rows" else slope.swapaxes(0, 1)
        for group, of_group in zip(members, moved, strict=True):
            norm = np.sqrt((group**2).sum())
            expected += 0.7 * np.sqrt(group.size) * norm
            np.testing.assert_allclose(of_group, 0.7 * np.sqrt(group.size) * group / norm, rtol=1e-9)
    assert value == pytest.approx(expected, rel=1e-9)


X = RANDOM.normal(size=(40, 6))
Y = X @ np.array([3.0, 0.0, 0.0, -2.0, 0.0, 0.1]) + 0.1 * RANDOM.normal(size=40)


def test_elastic_net_is_stationary_at_sklearns_solution() -> None:
    fitted = SklearnElasticNet(alpha=0.3, l1_ratio=0.6, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(X, Y)
    coefficients = fitted.coef_
    _, (slope,) = value_and_slopes(ElasticNet(0.3, l1_ratio=0.6), coefficients[None])
    of_data = -X.T @ (Y - X @ coefficients) / len(Y)
    used = coefficients != 0
    assert 0 < used.sum() < 6
    np.testing.assert_allclose(slope[0][used], -of_data[used], atol=1e-9)


def descend(regularizer: Regularizer, rate: float, steps: int) -> np.ndarray:
    """Gradient descent on squared error with the proximal step after each."""
    x, y = torch.tensor(X), torch.tensor(Y)
    weights = {"w": torch.zeros(1, 6, dtype=torch.float64)}
    for _ in range(steps):
        slope = -(y - x @ weights["w"][0]) @ x / len(y)
        weights = regularizer.shrunk({"w": weights["w"] - rate * slope}, {"w": rate})
    return weights["w"][0].numpy()


def test_proximal_l1_reaches_sklearns_lasso_with_its_zeros() -> None:
    expected = Lasso(alpha=0.2, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(X, Y).coef_
    found = descend(L1(0.2, proximal=True), rate=0.3, steps=2000)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert ((found == 0) == (expected == 0)).all()
    assert 0 < (found == 0).sum() < 6


def test_proximal_group_lasso_of_groups_of_one_is_lasso() -> None:
    found = descend(GroupLasso(0.2, groups="columns", proximal=True), rate=0.3, steps=2000)
    np.testing.assert_allclose(found, descend(L1(0.2, proximal=True), rate=0.3, steps=2000), atol=1e-12)


def test_proximal_group_lasso_by_hand() -> None:
    weight = torch.tensor([[3.0, 0.1, 0.0], [4.0, 0.1, 0.0]], dtype=torch.float64)
    part = GroupLasso(1 / 2**0.5, groups="columns", proximal=True)  # threshold: rate * 1
    moved = part.shrunk({"w": weight}, {"w": 0.5})["w"]
    np.testing.assert_allclose(moved, [[2.7, 0, 0], [3.6, 0, 0]], rtol=1e-14)
    assert (moved[:, 1:] == 0).all()


def test_a_proximal_penalty_is_reported_and_not_differentiated() -> None:
    weight = torch.tensor([[1.0, -3.0]], requires_grad=True)
    task = Task(2, ("a", "b"), (1, 1))
    objective = Objective(cross_entropy(), NoWeighting(), {"l1": L1(0.1, proximal=True)}, task)
    assert objective.acts_after_step
    inputs, target = torch.tensor([[1.0, 2.0], [0.0, 1.0]]), torch.tensor([0, 1])
    terms = objective(step_with(weights={"w": weight}, prediction=objective.predict(inputs @ weight.T), target=target))
    assert terms["l1"].item() == pytest.approx(0.4)
    assert terms["objective"].item() == pytest.approx(terms["loss"].item() + 0.4)
    own = torch.autograd.grad(terms["loss"], weight, retain_graph=True)[0]
    assert torch.equal(torch.autograd.grad(terms["objective"], weight)[0], own)
    objective.after_step({"w": weight}, {"w": 5.0})
    torch.testing.assert_close(weight.detach(), torch.tensor([[0.5, -2.5]]))


def test_the_schedule_reaches_the_proximal_step_through_the_objective() -> None:
    part = L1(0.1, proximal=True, schedule="warm_up", until=4)
    objective = Objective(cross_entropy(), NoWeighting(), {"l1": part}, Task(1, ("a", "b"), (1, 1)))
    weight = nn.Parameter(torch.ones(1, 1, dtype=torch.float64))
    for epoch, expected in ((0, 1.0), (2, 0.95), (9, 0.85)):
        objective.at_epoch(epoch)
        objective.after_step({"w": weight}, {"w": 1.0})
        assert weight.item() == pytest.approx(expected)


def test_confidence_penalty_is_minus_scipys_entropy() -> None:
    scores = torch.tensor(RANDOM.normal(size=(7, 4)))
    step = step_with(prediction=Prediction(scores, Softmax()))
    expected = -0.3 * entropy(scores.softmax(1).numpy(), axis=1).mean()
    assert ConfidencePenalty(0.3).penalty(step).item() == pytest.approx(expected, rel=1e-12)


def test_confidence_penalty_by_hand_and_at_certainty() -> None:
    # two classes: d/ds of p log p + q log q is s p q
    scores = torch.tensor([[1.3], [-0.4]], dtype=torch.float64, requires_grad=True)
    ConfidencePenalty(2.0).penalty(step_with(prediction=Prediction(scores, Sigmoid()))).backward()
    s = scores.detach().numpy()
    p = 1 / (1 + np.exp(-s))
    np.testing.assert_allclose(scores.grad, 2 * s * p * (1 - p) / 2, rtol=1e-9)
    certain = torch.tensor([[1e3], [-1e3]], requires_grad=True)
    value = ConfidencePenalty(2.0).penalty(step_with(prediction=Prediction(certain, Sigmoid())))
    value.backward()
    assert value == 0
    assert (certain.grad == 0).all()


def test_feature_l2_is_the_mean_norm() -> None:
    features = RANDOM.normal(size=(7, 3))
    value = FeatureL2(0.3).penalty(step_with(features=torch.tensor(features))).item()
    assert value == pytest.approx(0.3 * np.mean([np.linalg.norm(row) for row in features]), rel=1e-12)
    with pytest.raises(CannotServe, match="FeatureL2 reads features"):
        FeatureL2(0.3).penalty(step_with())


def test_input_gradient_of_logistic_regression_by_hand() -> None:
    # l = softplus(-yt s), s = w.x: grad_x l = (sigmoid(s) - y) w, and its penalty's gradient in w again by hand
    x, target = torch.tensor(X[:9]), torch.arange(9) % 2
    leaf, w = x.clone().requires_grad_(), torch.tensor(RANDOM.normal(size=(1, 6)), requires_grad=True)
    objective = Objective(cross_entropy(), NoWeighting(), {"input_gradient": InputGradient(0.3)}, Task(6, "ab", (5, 4)))
    prediction = objective.predict(leaf @ w.T)

    def input_gradient() -> torch.Tensor:
        return 9 * torch.autograd.grad(objective.mean_loss(prediction, target), leaf, create_graph=True)[0]

    step = step_with(inputs=leaf, prediction=prediction, target=target, input_gradient=input_gradient)
    value = objective(step)["input_gradient"]
    value.backward()
    plain, y = w.detach().numpy()[0], target.numpy()
    p = 1 / (1 + np.exp(-X[:9] @ plain))
    square = plain @ plain
    assert value.item() == pytest.approx(0.3 * np.mean((p - y) ** 2 * square), rel=1e-9)
    by_row = 2 * ((p - y) * p * (1 - p))[:, None] * X[:9] * square + 2 * ((p - y) ** 2)[:, None] * plain
    np.testing.assert_allclose(w.grad.numpy()[0], 0.3 * by_row.mean(axis=0), rtol=1e-9)
    with pytest.raises(CannotServe, match="InputGradient reads the input gradient"):
        InputGradient(0.3).penalty(step_with())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ElasticNet(1, l1_ratio=1.5), "ElasticNet needs 0 <= l1_ratio <= 1, got l1_ratio=1.5"),
        (lambda: GroupLasso(1, groups="all"), "GroupLasso needs groups to be one of rows, columns, got groups='all'"),
        (lambda: L1(1, proximal=1), "L1 needs proximal to be true or false, got proximal=1"),
        (lambda: Spectral(1, iterations=0), "Spectral needs iterations to be an integer >= 1, got iterations=0"),
        (lambda: Spectral(1, method="svd"), "Spectral needs method to be one of exact, power, got method='svd'"),
        (
            lambda: L2(1, schedule="cosine"),
            "L2 needs until, the epoch in which schedule=cosine ends, got until=None",
        ),
        (lambda: L2(1, until=0), "L2 needs until >= 1, got until=0"),
    ],
)  # fmt: skip
def test_wrong_settings_are_named(build: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        build()
    assert str(caught.value) == message
