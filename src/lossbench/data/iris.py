"""Fisher's iris flowers: 150 rows, 4 features, 3 classes of 50."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.datasets import load_iris

from lossbench.data.dataset import Seeds
from lossbench.data.source import Draw, Source


@dataclass(kw_only=True)
class Iris(Source):
    """The iris data as scikit-learn ships it; seeds are splits of this one table.

    Nothing is downloaded. See
    https://scikit-learn.org/stable/modules/generated/sklearn.datasets.load_iris.html

    Examples
    --------
    >>> dataset = Iris(val=0.2, test=0.2).prepare()
    >>> dataset.task.class_names, dataset.task.class_counts
    (('setosa', 'versicolor', 'virginica'), (30, 30, 30))
    """

    seeds: ClassVar[Seeds] = "splits"

    name: str = "iris"

    def draw(self) -> Draw:
        table = load_iris()
        return Draw(
            x=np.asarray(table.data, dtype=np.float64),
            y=np.asarray(table.target, dtype=np.int64),
            feature_names=tuple(table.feature_names),
            class_names=tuple(str(name) for name in table.target_names),
        )
