"""References, which nothing trained: the class prior, and the Bayes rule where it is known, on the same rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lossbench.data.dataset import Dataset


BAYES, CLASS_PRIOR = "Bayes rule", "class prior"


def measure_references(dataset: Dataset, added: Any = None) -> dict[str, dict[str, float]]:
    """Return the metrics of each reference of a dataset, by name; ``added`` is a collection of the user's own.

    The class prior predicts the training split's class frequencies for every row: the floor. The Bayes rule predicts
    the true posterior: training can beat it by luck of the draw alone.
    """
    from lossbench.evaluation import metrics

    result: dict[str, dict[str, float]] = {}
    for split, rows in (("val", dataset.val), ("test", dataset.test)):
        if rows is None:
            continue
        predicted = {CLASS_PRIOR: np.tile(dataset.task.priors, (len(rows), 1))}
        if dataset.bayes is not None:
            predicted[BAYES] = dataset.bayes(dataset.raw(rows))
        for name, probs in predicted.items():
            values = {key: float(value[0]) for key, value in metrics.compute(rows.y, probs[None]).items()}
            if added is not None:
                from lossbench.evaluation.collection import measure  # torchmetrics takes seconds to import

                values |= measure(added, rows.y, probs, dataset.task)
            result.setdefault(name, {}).update({f"{split}/{key}": value for key, value in values.items()})
    return result
