"""Clusters as chosen: their classes, their noise, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from lossbench.data.synthetic import Synthetic


def draw(**arguments: Any) -> Any:
    return Synthetic(name="synthetic", **arguments).draw()


def test_class_shares_and_names() -> None:
    found = draw(rows=4000, test_rows=2000, classes=3, weights=[0.7, 0.2, 0.1])
    for y in (found.y, found.test[1]):
        np.testing.assert_allclose(np.bincount(y) / len(y), [0.7, 0.2, 0.1], atol=0.03)
    assert found.class_names == ("class 0", "class 1", "class 2")
    assert draw(rows=20).class_names == ("negative", "positive")


@pytest.mark.parametrize("classes", [2, 3])
def test_noise_changes_its_share_of_the_labels_and_none_of_the_test_draw(classes: int) -> None:
    clean, noisy = (draw(rows=1000, classes=classes, label_noise=noise) for noise in (0.0, 0.3))
    assert np.array_equal(clean.x, noisy.x)
    assert (clean.y != noisy.y).sum() == 300
    assert np.array_equal(clean.test[1], noisy.test[1])
    if classes == 3:
        # each of the two other classes gets its half
        moved = (noisy.y - clean.y)[clean.y != noisy.y] % 3
        assert 120 < (moved == 1).sum() < 180


def test_separation_makes_it_easier() -> None:
    accuracies = []
    for separation in (0.3, 2.0):
        found = draw(class_sep=separation, clusters=1)
        accuracies.append(LogisticRegression().fit(found.x, found.y).score(*found.test))
    assert accuracies[0] < 0.9 < accuracies[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": 1}, "Synthetic needs an integer rows >= 10, got rows=1"),
        ({"test_rows": 1}, "Synthetic needs an integer test_rows >= 2, or 0, got test_rows=1"),
        ({"features": 6}, "Synthetic needs features >= informative + redundant = 10, got features=6"),
        (
            {"informative": 1},
            "Synthetic needs classes * clusters <= 2^informative = 2, got classes=2, clusters=2",
        ),
        ({"weights": [0.5, 0.6]}, "Synthetic needs weights null or 2 positive numbers that sum to 1, got"),
        ({"label_noise": 1.0}, "Synthetic needs 0 <= label_noise < 1, got label_noise=1.0"),
        ({"class_sep": -1}, "Synthetic needs class_sep >= 0, got class_sep=-1"),
        ({"fold": 0}, "Synthetic needs test_rows=0 with a fold (a fold is a test split), got fold=0"),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Synthetic(name="synthetic", **arguments)
    assert str(caught.value).startswith(message)
