"""Clusters of points whose separation, class sizes and label noise are chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.datasets import make_classification

from lossbench import randomness
from lossbench.data.checks import is_integer, is_number, require
from lossbench.data.dataset import Seeds
from lossbench.data.source import Draw, Source


@dataclass(kw_only=True)
class Synthetic(Source):
    """scikit-learn's ``make_classification``: normal clusters on the corners of a hypercube.

    Every source seed is a problem of its own, with a test draw of the same problem: verdicts speak about problems of
    this kind. https://scikit-learn.org/stable/modules/generated/sklearn.datasets.make_classification.html

    Parameters
    ----------
    rows, test_rows
        Rows to learn and select on, and of the test draw (0: the test rows are split off).
    features, informative, redundant
        Columns; informative ones tell the classes apart, redundant ones are linear combinations of those, and the
        others are noise.
    classes, clusters
        Number of classes, and of clusters in each; 2^informative corners have to suffice for all.
    class_sep
        Half the side of the hypercube: the larger, the easier.
    weights
        Share of each class, one number per class; None: equal.
    label_noise
        Share of the labels that are replaced by another class, drawn at random, in [0, 1). The test draw keeps its
        true labels: with noise it shows what was learnt of the truth.
    **others
        As in `Source`.

    Raises
    ------
    ValueError
        For an argument of the wrong type or out of range.

    Examples
    --------
    >>> source = Synthetic(name="synthetic", rows=200, test_rows=50, weights=[0.9, 0.1])
    >>> draw = source.draw()
    >>> draw.x.shape, np.bincount(draw.y).tolist(), len(draw.test[1])
    ((200, 20), [180, 20], 50)
    """

    seeds: ClassVar[Seeds] = "draws"

    rows: int = 2000
    test_rows: int = 5000
    features: int = 20
    informative: int = 5
    redundant: int = 5
    classes: int = 2
    clusters: int = 2
    class_sep: float = 1.0
    weights: list[float] | None = None
    label_noise: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        me = "Synthetic"
        for name, least in (("rows", 10), ("informative", 1), ("redundant", 0), ("classes", 2), ("clusters", 1)):
            value = getattr(self, name)
            require(is_integer(value) and value >= least, me, f"an integer {name} >= {least}", **{name: value})
        enough = is_integer(self.test_rows) and (self.test_rows == 0 or self.test_rows >= 2)
        require(enough, me, "an integer test_rows >= 2, or 0", test_rows=self.test_rows)
        least = self.informative + self.redundant
        holds = is_integer(self.features) and self.features >= least
        require(holds, me, f"features >= informative + redundant = {least}", features=self.features)
        corners = 2**self.informative
        fits = self.classes * self.clusters <= corners
        rule = f"classes * clusters <= 2^informative = {corners}"
        require(fits, me, rule, classes=self.classes, clusters=self.clusters)
        require(is_number(self.class_sep) and self.class_sep >= 0, me, "class_sep >= 0", class_sep=self.class_sep)
        noise = self.label_noise
        require(is_number(noise) and 0 <= noise < 1, me, "0 <= label_noise < 1", label_noise=noise)
        if self.weights is not None:
            shares = (
                isinstance(self.weights, list)
                and len(self.weights) == self.classes
                and all(is_number(share) and share > 0 for share in self.weights)
                and abs(sum(self.weights) - 1) < 1e-6
            )
            rule = f"weights null or {self.classes} positive numbers that sum to 1"
            require(shares, me, rule, weights=self.weights)
        if self.test_rows > 0:
            require(self.fold is None, me, "test_rows=0 with a fold (a fold is a test split)", fold=self.fold)

    def draw(self) -> Draw:
        x, y = make_classification(
            n_samples=self.rows + self.test_rows,
            n_features=self.features,
            n_informative=self.informative,
            n_redundant=self.redundant,
            n_classes=self.classes,
            n_clusters_per_class=self.clusters,
            weights=self.weights,
            class_sep=self.class_sep,
            flip_y=0.0,
            random_state=randomness.integer(self.source_seed, "source", bits=32),
        )
        y = y.astype(np.int64)
        noisy = self._with_noise(y[: self.rows])
        return Draw(
            x=x[: self.rows],
            y=noisy,
            feature_names=tuple(f"x{number + 1}" for number in range(self.features)),
            class_names=tuple(f"class {number}" for number in range(self.classes))
            if self.classes > 2
            else ("negative", "positive"),
            test=(x[self.rows :], y[self.rows :]) if self.test_rows else None,
        )

    def _with_noise(self, y: np.ndarray) -> np.ndarray:
        """Return labels of which exactly the wanted share is another class."""
        generator = np.random.default_rng(randomness.integer(self.source_seed, "noise"))
        flipped = generator.permutation(len(y))[: round(self.label_noise * len(y))]
        away = generator.integers(1, self.classes, size=len(flipped))
        noisy = y.copy()
        noisy[flipped] = (y[flipped] + away) % self.classes
        return noisy
