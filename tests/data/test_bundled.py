"""scikit-learn's tables as sources."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits

from lossbench.data.bundled import Bundled
from lossbench.data.one_vs_rest import OneVsRest
from lossbench.errors import DataError


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


@pytest.mark.parametrize(("rate", "rows"), [(None, 1797), (0.02, 1614 + 33), (0.5, 2 * 183), (0.9, 183 + 20)])
def test_one_digit_against_the_rest_at_any_imbalance(rate: float | None, rows: int) -> None:
    draw = OneVsRest(name="threes", positive=3, positive_rate=rate).draw()
    table = load_digits()
    assert draw.class_names == ("rest", "3")
    assert len(draw.y) == rows
    if rate is not None:
        assert abs(draw.y.mean() - rate) < 1 / rows
    # every row is one of the table's, with its label
    known = {row.tobytes(): label for row, label in zip(table.data, table.target, strict=True)}
    assert all((known[row.tobytes()] == 3) == bool(label) for row, label in zip(draw.x, draw.y, strict=True))


def test_the_source_seed_draws_which_rows_stay() -> None:
    one, again, other = (OneVsRest(name="t", positive_rate=0.02, source_seed=seed).draw() for seed in (0, 0, 1))
    assert one.digest == again.digest != other.digest


def test_every_table_has_a_class_against_its_rest() -> None:
    assert OneVsRest(name="w", table="wine", positive="class_1").prepare().task.class_names == ("rest", "class_1")
    draw = OneVsRest(name="b", table="breast_cancer", positive="malignant").draw()
    assert draw.y.tolist() == Bundled(name="breast_cancer").draw().y.tolist()


def test_what_cannot_be_thinned_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        OneVsRest(name="t", positive=3, positive_rate=0.001).draw()
    assert str(caught.value) == (
        "positive_rate=0.001 leaves 2 rows of '3' and 1614 of 'rest' in digits: ten of each are needed"
    )
    for arguments, message in [
        ({"table": "mnist"}, "OneVsRest needs table to be one of breast_cancer, digits, wine, got table='mnist'"),
        ({"positive": "x"}, "OneVsRest needs positive to be a class of digits: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, got"),
        ({"positive_rate": 1}, "OneVsRest needs positive_rate null or in (0, 1), got positive_rate=1"),
    ]:
        with pytest.raises(ValueError) as refused:
            OneVsRest(name="t", **arguments)
        assert str(refused.value).startswith(message)
