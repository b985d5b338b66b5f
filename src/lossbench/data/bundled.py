"""The classification tables that scikit-learn ships, beside iris; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn import datasets

from lossbench.data.checks import require
from lossbench.data.dataset import Seeds
from lossbench.data.source import Draw, Source

TABLES: dict[str, Callable[[], Any]] = {
    "breast_cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
    "wine": datasets.load_wine,
}


@dataclass(kw_only=True)
class Bundled(Source):
    """A table of scikit-learn's by name; seeds are splits of this one table.

    ``breast_cancer``: 569 rows, 30 features, 212 malignant; ``digits``: 1797 images of 8 x 8 pixels, 10 classes;
    ``wine``: 178 rows, 13 features, 3 classes. In ``breast_cancer`` the positive class is ``malignant``, which
    scikit-learn numbers 0. See https://scikit-learn.org/stable/datasets/toy_dataset.html

    Parameters
    ----------
    name
        Of the table.
    **others
        As in `Source`.

    Examples
    --------
    >>> dataset = Bundled(name="breast_cancer", test=0.2).prepare()
    >>> dataset.task.class_names, dataset.task.class_counts
    (('benign', 'malignant'), (214, 127))
    """

    seeds: ClassVar[Seeds] = "splits"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.name in TABLES, "Bundled", f"name to be one of {', '.join(TABLES)}", name=self.name)

    def draw(self) -> Draw:
        table = TABLES[self.name]()
        y = np.asarray(table.target, dtype=np.int64)
        names = class_names(self.name)
        if self.name == "breast_cancer":
            y = 1 - y
        return Draw(
            x=np.asarray(table.data, dtype=np.float64),
            y=y,
            feature_names=tuple(str(name) for name in table.feature_names),
            class_names=names,
        )


def class_names(name: str) -> tuple[str, ...]:
    """Return the classes of a table, by index.

    >>> class_names("breast_cancer")
    ('benign', 'malignant')
    """
    names = tuple(str(label) for label in TABLES[name]().target_names)
    return names[::-1] if name == "breast_cancer" else names
