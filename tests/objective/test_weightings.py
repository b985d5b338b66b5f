"""Class weights against numbers by hand and the formula of Cui et al. in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from lossbench.objective.weighting import Balanced, EffectiveNumber, InverseSqrt, Weighting
from lossbench.task import Task


def weights(weighting: Weighting, *counts: int) -> list[float]:
    weighting.bind(Task(1, tuple(f"class {i}" for i in range(len(counts))), counts))
    return weighting.class_weights.tolist()


def effective_number(beta: Fraction, counts: tuple[int, ...]) -> list[float]:
    """(1 - beta) / (1 - beta^n) scaled to the sum K, by summing the geometric series in rationals."""
    quotients = [1 / sum((beta**j for j in range(count)), Fraction(0)) for count in counts]
    return [float(len(counts) * quotient / sum(quotients)) for quotient in quotients]


def test_inverse_sqrt_by_hand() -> None:
    # 1/2, 1/3 and 1/6 sum to 1
    assert weights(InverseSqrt(), 4, 9, 36) == pytest.approx([1.5, 1.0, 0.5], rel=1e-14)


@pytest.mark.parametrize("counts", [(2, 1), (40, 30, 20, 10), (1, 1, 7)])
@pytest.mark.parametrize("beta", [Fraction(0), Fraction(1, 2), Fraction(9, 10), Fraction(99, 100)])
def test_effective_number_in_exact_arithmetic(beta: Fraction, counts: tuple[int, ...]) -> None:
    assert weights(EffectiveNumber(float(beta)), *counts) == pytest.approx(effective_number(beta, counts), rel=1e-11)


def test_effective_number_of_long_tailed_cifar() -> None:
    # (1 - .9999) / (1 - .9999^n) of n = 5000 and 50: 2.5414e-4 and 2.00491e-2, times 2 / their sum
    assert weights(EffectiveNumber(), 5000, 50) == pytest.approx([0.02503, 1.97497], abs=5e-5)


def test_effective_number_goes_from_none_to_balanced() -> None:
    counts = (970, 30)
    assert weights(EffectiveNumber(0), *counts) == [1, 1]
    balanced = torch.tensor(weights(Balanced(), *counts), dtype=torch.float64)
    nearly = weights(EffectiveNumber(1 - 1e-12), *counts)
    assert nearly == pytest.approx((balanced / balanced.mean()).tolist(), rel=1e-8)


@pytest.mark.parametrize("weighting", [InverseSqrt, EffectiveNumber, Balanced])
def test_equal_classes_weigh_one_and_rarer_ones_more(weighting: type[Weighting]) -> None:
    assert weights(weighting(), 7, 7, 7) == pytest.approx([1, 1, 1], rel=1e-14)
    found = weights(weighting(), 50, 20, 3)
    assert found == sorted(found)
    assert found[0] < 1 < found[2]


@pytest.mark.parametrize(
    ("beta", "message"),
    [
        (1.0, "EffectiveNumber needs 0 <= beta < 1, got beta=1.0"),
        (-0.1, "EffectiveNumber needs 0 <= beta < 1, got beta=-0.1"),
    ],
)
def test_wrong_beta_is_named(beta: float, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        EffectiveNumber(beta)
    assert str(caught.value) == message
