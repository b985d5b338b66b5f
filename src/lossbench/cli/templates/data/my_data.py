"""my_data: what it is, and where it comes from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lossbench.data.checks import is_integer, require
from lossbench.data.dataset import Seeds
from lossbench.data.source import Draw, Source


@dataclass(kw_only=True)
class MyData(Source):
    """Two normal clouds in the plane, drawn afresh per seed; splits, folds, scaling and batches are the base's.

    Parameters
    ----------
    rows
        Rows of the draw, half of each class, >= 20.
    distance
        Between the middles of the clouds.
    **others
        As in Source.
    """

    # "draws": every source_seed draws rows of its own; "splits": it is one table, and seeds cut it in other ways.
    # The statistics depend on it.
    seeds: ClassVar[Seeds] = "draws"

    name: str = "my_data"
    rows: int = 400
    distance: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(is_integer(self.rows) and self.rows >= 20, "MyData", "an integer rows >= 20", rows=self.rows)

    def draw(self) -> Draw:
        """Return raw rows, a function of the settings alone; for two classes, class 1 is the positive one."""
        generator = np.random.default_rng([self.source_seed, 1])
        y = np.arange(self.rows) % 2
        x = generator.normal(size=(self.rows, 2))
        x[:, 0] += self.distance * y
        return Draw(x=x, y=y, feature_names=("x1", "x2"), class_names=("left", "right"))

    def bayes(self) -> Callable[[np.ndarray], np.ndarray]:
        """Return the true class probabilities as a function of x; leave this method away where they are not known."""

        def probs(x: np.ndarray) -> np.ndarray:
            right = 1 / (1 + np.exp(-self.distance * (x[:, 0] - self.distance / 2)))
            return np.stack([1 - right, right], axis=1)

        return probs
