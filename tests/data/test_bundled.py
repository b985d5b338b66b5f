"""scikit-learn's tables as sources."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from lossbench.data.bundled import Bundled


@pytest.mark.parametrize(
    ("name", "rows", "features", "classes"),
    [("breast_cancer", 569, 30, 2), ("digits", 1797, 64, 10), ("wine", 178, 13, 3)],
)
def test_a_table_arrives_whole(name: str, rows: int, features: int, classes: int) -> None:
    dataset = Bundled(name=name).prepare()
    splits = (dataset.train, dataset.val, dataset.test)
    assert sorted(np.concatenate([split.index for split in splits])) == list(range(rows))
    assert (dataset.task.n_features, dataset.task.n_classes) == (features, classes)
    assert len(dataset.feature_names) == features
    assert np.isfinite(dataset.train.x).all()
    assert dataset.seeds == "splits"


def test_the_malignant_are_positive() -> None:
    draw = Bundled(name="breast_cancer").draw()
    table = load_breast_cancer()
    assert draw.class_names == ("benign", "malignant")
    assert (draw.y == 1).sum() == 212
    named = np.array(draw.class_names)[draw.y]
    assert (named == table.target_names[table.target]).all()


def test_an_unknown_table_is_named() -> None:
    with pytest.raises(ValueError) as caught:
        Bundled(name="mnist")
    assert str(caught.value) == "Bundled needs name to be one of breast_cancer, digits, wine, got name='mnist'"
