"""Laws of `Source.prepare` over every source: pairing, splits, leak-free scaling, refusals."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from lossbench.data.dataset import Dataset, Seeds
from lossbench.data.iris import Iris
from lossbench.data.one_vs_rest import OneVsRest
from lossbench.data.rings import Rings
from lossbench.data.source import Draw, Source
from lossbench.data.synthetic import Synthetic
from lossbench.data.table import Table
from lossbench.errors import DataError


@dataclass(kw_only=True)
class Columns(Source):
    """Three classes of unequal size, one constant column, one column that says the row number."""

    seeds: ClassVar[Seeds] = "splits"
    name: str = "columns"

    def draw(self) -> Draw:
        n = 200
        x = np.stack([np.arange(n, dtype=float), np.full(n, 7.0), np.sin(np.arange(n))], axis=1)
        y = np.repeat([0, 1, 2], [120, 60, 20])
        return Draw(x, y, ("row", "constant", "wave"), ("a", "b", "c"))


SOURCES: list[tuple[type[Source], dict[str, Any]]] = [
    (Iris, {}),
    (Columns, {}),
    (Rings, {"positives": 40, "negatives": 300, "test_rows": 500}),
    (Rings, {"positives": 40, "negatives": 300, "test_rows": 0}),
    (Synthetic, {"name": "synthetic", "rows": 300, "test_rows": 100, "classes": 3, "label_noise": 0.2}),
    (Synthetic, {"name": "synthetic", "rows": 300, "test_rows": 0}),
    (OneVsRest, {"name": "threes", "positive": 3, "positive_rate": 0.05}),
]
over_sources = pytest.mark.parametrize(
    ("kind", "arguments"),
    SOURCES,
    ids=["iris", "columns", "rings", "rings split", "synthetic", "synthetic split", "digits_ovr"],
)


def arrays(dataset: Dataset) -> list[np.ndarray]:
    splits = [split for split in (dataset.train, dataset.val, dataset.test) if split is not None]
    return [array for split in splits for array in (split.x, split.y, split.index)]


def same(one: Dataset, other: Dataset) -> bool:
    pairs = zip(arrays(one), arrays(other), strict=True)
    return one.digest == other.digest and all(np.array_equal(a, b) for a, b in pairs)


@over_sources
def test_seed_decides_everything_and_global_generators_nothing(kind: type[Source], arguments: dict[str, Any]) -> None:
    first = kind(**arguments, source_seed=0, split_seed=0).prepare()
    np.random.seed(123)  # noqa: NPY002 the global generator is what this is about
    random.seed(123)
    torch.manual_seed(123)
    before = (np.random.get_state()[1].copy(), random.getstate(), torch.get_rng_state())  # noqa: NPY002
    second = kind(**arguments, source_seed=0, split_seed=0).prepare()
    assert same(first, second)
    assert np.array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert random.getstate() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])


@over_sources
def test_another_split_seed_cuts_the_same_draw_elsewhere(kind: type[Source], arguments: dict[str, Any]) -> None:
    first = kind(**arguments, source_seed=0, split_seed=0).prepare()
    second = kind(**arguments, source_seed=0, split_seed=1).prepare()
    assert first.digest == second.digest
    assert set(first.train.index) != set(second.train.index)


@over_sources
def test_splits_are_disjoint_cover_the_draw_and_point_into_it(kind: type[Source], arguments: dict[str, Any]) -> None:
    source = kind(**arguments)
    dataset, draw = source.prepare(), source.draw()
    parts = [dataset.train, dataset.val]
    if draw.test is None:
        assert dataset.test is not None
        parts.append(dataset.test)
    rows = np.concatenate([part.index for part in parts])
    assert sorted(rows) == list(range(len(draw.y)))
    for part in parts:
        np.testing.assert_allclose(dataset.raw(part), draw.x[part.index], rtol=1e-12, atol=1e-12)
        assert np.array_equal(part.y, draw.y[part.index])
        assert part.x.dtype == np.float64
        assert part.y.dtype == part.index.dtype == np.int64


@over_sources
def test_the_task_counts_the_training_rows(kind: type[Source], arguments: dict[str, Any]) -> None:
    dataset = kind(**arguments).prepare()
    counts = [int((dataset.train.y == c).sum()) for c in range(dataset.task.n_classes)]
    assert dataset.task.class_counts == tuple(counts)
    assert all(type(count) is int for count in dataset.task.class_counts)
    assert dataset.task.n_features == dataset.train.x.shape[1] == len(dataset.feature_names)
    assert dataset.seeds == kind.seeds


@over_sources
def test_scaling_is_fitted_on_the_training_rows_alone(kind: type[Source], arguments: dict[str, Any]) -> None:
    source = kind(**arguments)
    dataset, draw = source.prepare(), source.draw()
    raw = draw.x[dataset.train.index]
    spread = raw.std(axis=0)
    spread[spread == 0] = 1
    columns = dataset.preprocessing.columns
    np.testing.assert_allclose([column.center for column in columns], raw.mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose([column.spread for column in columns], spread, rtol=1e-12)
    np.testing.assert_allclose(dataset.val.x, (draw.x[dataset.val.index] - raw.mean(axis=0)) / spread, atol=1e-9)


def test_rows_outside_train_cannot_change_what_is_fitted() -> None:
    @dataclass(kw_only=True)
    class Shifted(Columns):
        rows: tuple[int, ...] = ()

        def draw(self) -> Draw:
            draw = super().draw()
            draw.x[list(self.rows)] += 1e6
            return draw

    plain = Columns().prepare()
    assert plain.test is not None
    elsewhere = Shifted(rows=(*plain.val.index.tolist(), *plain.test.index.tolist())).prepare()
    assert np.array_equal(plain.train.x, elsewhere.train.x)
    assert plain.digest != elsewhere.digest
    inside = Shifted(rows=(int(plain.train.index[0]),)).prepare()
    assert not np.array_equal(plain.train.x, inside.train.x)


def test_scale_none_leaves_the_inputs() -> None:
    source = Columns(scale="none")
    dataset, draw = source.prepare(), source.draw()
    assert {(column.center, column.spread) for column in dataset.preprocessing.columns} == {(0.0, 1.0)}
    assert np.array_equal(dataset.train.x, draw.x[dataset.train.index])
    assert np.array_equal(dataset.raw(dataset.val), draw.x[dataset.val.index])


def test_test_zero_makes_no_test_split() -> None:
    dataset = Iris(test=0.0, val=0.2).prepare()
    assert dataset.test is None
    assert (len(dataset.train), len(dataset.val)) == (120, 30)


def test_the_folds_of_a_source_partition_its_rows() -> None:
    datasets = [Iris(folds=4, fold=fold, split_seed=3).prepare() for fold in range(4)]
    tested = np.concatenate([dataset.test.index for dataset in datasets if dataset.test is not None])
    assert sorted(tested) == list(range(150))
    assert len({dataset.digest for dataset in datasets}) == 1


def test_the_digest_is_of_names_and_values() -> None:
    x, y = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0, 1])
    draw = Draw(x, y, ("a", "b"), ("no", "yes"))
    assert len(draw.digest) == len(hashlib.sha256().hexdigest())
    assert draw.digest == Draw(np.asfortranarray(x), y.copy(), ("a", "b"), ("no", "yes")).digest
    others = [
        Draw(x + 1e-12, y, ("a", "b"), ("no", "yes")),
        Draw(x, 1 - y, ("a", "b"), ("no", "yes")),
        Draw(x, y, ("a", "c"), ("no", "yes")),
        Draw(x, y, ("a", "b"), ("no", "maybe")),
        Draw(x, y, ("a", "b"), ("no", "yes"), test=(x, y)),
    ]
    assert len({draw.digest, *(other.digest for other in others)}) == 6


def test_raw_rows_have_original_units() -> None:
    dataset = Columns().prepare()
    # the column `row` is the row number itself
    np.testing.assert_allclose(dataset.raw(dataset.val)[:, 0], dataset.val.index, atol=1e-9)


def test_a_fold_and_a_test_draw_of_its_own_exclude_each_other() -> None:
    @dataclass(kw_only=True)
    class WithTest(Columns):
        def draw(self) -> Draw:
            draw = super().draw()
            return Draw(draw.x, draw.y, draw.feature_names, draw.class_names, test=(draw.x, draw.y))

    assert WithTest().prepare().test is not None
    with pytest.raises(DataError, match=r"columns has its own test draw, got fold=1$"):
        WithTest(fold=1).prepare()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"val": 0}, "Iris needs 0 < val < 1, got val=0"),
        ({"val": "0.2"}, "Iris needs 0 < val < 1, got val='0.2'"),
        ({"val": True}, "Iris needs 0 < val < 1, got val=True"),
        ({"val": float("nan")}, "Iris needs 0 < val < 1, got val=nan"),
        ({"test": -0.1}, "Iris needs 0 <= test < 1, got test=-0.1"),
        ({"val": 0.5, "test": 0.5}, "Iris needs val + test < 1, got val=0.5, test=0.5"),
        ({"folds": 1}, "Iris needs an integer folds >= 2, got folds=1"),
        ({"fold": 5}, "Iris needs fold null or an integer from 0 to 4, got fold=5"),
        ({"fold": False}, "Iris needs fold null or an integer from 0 to 4, got fold=False"),
        ({"scale": "max"}, "Iris needs scale one of standard, robust, minmax, none, got scale='max'"),
        ({"batch_size": 0}, "Iris needs batch_size null or an integer >= 1, got batch_size=0"),
        ({"batch_size": 10.0}, "Iris needs batch_size null or an integer >= 1, got batch_size=10.0"),
        ({"source_seed": None}, "Iris needs an integer seed, got source_seed=None"),
        ({"split_seed": 1.0}, "Iris needs an integer seed, got split_seed=1.0"),
        ({"name": ""}, "Iris needs a name, got name=''"),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Iris(**arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((2, 0)), np.array([0, 1]), "a draw needs rows and feature columns, got 2 x 0"),
        (np.zeros((0, 1)), np.zeros(0, dtype=np.int64), "a draw needs rows and feature columns, got 0 x 1"),
        (np.zeros((2, 1)), np.array([0, 1, 1]), "a draw needs x (N, F) and y (N,), got (2, 1) and (3,)"),
        (np.zeros((2, 2)), np.array([0, 1]), "a draw needs one name per column, got 1 names for 2 columns"),
        (np.zeros((2, 1)), np.array([0, 2]), "class indices run from 0 to 1, got 0 to 2"),
        (
            np.zeros((2, 1)),
            np.array([0.0, 1.0]),
            "a draw needs float64 x and int64 y, got float64 and float64",
        ),
        (np.array([[0.0], [np.inf]]), np.array([0, 1]), "column 'a' has an infinite value in row 2"),
        (np.array([[np.nan], [np.inf]]), np.array([0, 1]), "column 'a' has a missing value in row 1"),
    ],
)
def test_a_wrong_draw_is_refused(x: np.ndarray, y: np.ndarray, message: str) -> None:
    with pytest.raises(DataError) as caught:
        Draw(x, y, ("a",), ("no", "yes"))
    assert str(caught.value) == message
    if x.ndim == 2 and x.shape[1] == 1:
        good = np.zeros((2, 1)), np.array([0, 1])
        with pytest.raises(DataError) as in_test:
            Draw(*good, ("a",), ("no", "yes"), test=(x, y))
        assert str(in_test.value) == message + " of the test draw"


def test_columns_too_large_to_scale_are_named() -> None:
    @dataclass(kw_only=True)
    class Large(Columns):
        def draw(self) -> Draw:
            draw = super().draw()
            draw.x[:, 2] *= 1e300
            return draw

    with pytest.raises(DataError, match="column 'wave' cannot be scaled"):
        Large().prepare()
    assert Large(scale="none").prepare().train.x.max() > 1e299


def test_leaves_declare_what_their_seeds_are() -> None:
    assert (Iris.seeds, Table.seeds, Rings.seeds) == ("splits", "splits", "draws")
