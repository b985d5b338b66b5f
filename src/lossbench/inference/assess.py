"""A trained model's metrics on new labelled rows; thresholds and calibration stay as validation set them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lossbench.data.tables.parsing import as_text
from lossbench.errors import DataError
from lossbench.evaluation.evaluation import evaluate_at_thresholds, evaluate_rows
from lossbench.inference.predictor import Predictor

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


@dataclass(frozen=True)
class Assessment:
    """A model's metrics on some rows.

    Attributes
    ----------
    metrics
        By the names that a run's test metrics have behind the slash: through the link, ``posterior/...``, and
        ``tuned/...`` at the thresholds that validation tuned.
    undefined
        The reason, for every metric that is NaN.
    counts
        Rows of each class, by class name.
    """

    metrics: dict[str, float]
    undefined: dict[str, str]
    counts: dict[str, int]


def assess(
    predictor: Predictor, tables: Iterable[pd.DataFrame], target: str, collection: MetricCollection | None = None
) -> Assessment:
    """Return a model's metrics on labelled rows, of which only scores and labels are held in memory.

    Parameters
    ----------
    tables
        Of raw columns and the target, block by block.
    target
        The column of true classes.
    collection
        Further torchmetrics, see `lossbench.evaluation.collection.build`.

    Raises
    ------
    DataError
        For a column that is missing, a label that training did not have, or no rows.
    """
    scores, labels, rows = [], [], 0
    for table in tables:
        labels.append(labels_of(table, target, predictor.task.class_names, rows + 1))
        scores.append(predictor.scores(table, rows + 1))
        rows += len(table)
    if rows == 0:
        raise DataError("the table has no rows to evaluate")
    all_scores, target_index = np.concatenate(scores), np.concatenate(labels)
    posteriors, task = predictor.posterior(all_scores), predictor.task
    metrics, undefined = evaluate_rows(target_index, predictor.probs(all_scores), posteriors, task, collection)
    tuned, untuned = evaluate_at_thresholds(predictor.thresholds, target_index, posteriors, task)
    counts = np.bincount(target_index, minlength=task.n_classes).tolist()
    return Assessment(metrics | tuned, undefined | untuned, dict(zip(task.class_names, counts, strict=True)))


def labels_of(frame: pd.DataFrame, target: str, class_names: tuple[str, ...], first_row: int = 1) -> NDArray[np.int64]:
    """Return the class indices (N,) of a column of labels; numbers and booleans are read as training's were.

    >>> labels_of(pd.DataFrame({"y": ["1.0", 0, True]}), "y", ("0", "1")).tolist()
    [1, 0, 1]
    """
    if target not in frame:
        raise DataError(f"there is no column {target!r} with the true classes (--target names another)")
    index_of = {name: index for index, name in enumerate(class_names)}
    codes, distinct = pd.factorize(frame[target])
    indices = np.array([_index(value, index_of) for value in distinct] + [-1], dtype=np.int64)[codes]
    wrong = np.flatnonzero(indices < 0)
    if len(wrong):
        value = frame[target].iloc[wrong[0]]
        what = "a missing value" if pd.isna(value) else repr(value)
        classes = ", ".join(map(repr, class_names))
        raise DataError(f"column {target!r} has {what} in row {wrong[0] + first_row}, classes are {classes}")
    return indices


def _index(value: object, index_of: dict[str, int]) -> int:
    """Return the class of a label, -1 where there is none."""
    texts = [as_text(value), str(value).strip()]
    try:
        texts.append(as_text(float(texts[1])))
    except ValueError:
        texts += [texts[1].capitalize(), {"true": "1", "false": "0"}.get(texts[1].lower(), "")]
    return next((index_of[text] for text in texts if text in index_of), -1)
