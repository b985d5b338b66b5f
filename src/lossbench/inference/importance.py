"""What a trained model looks at, and where it errs: permutation importance of raw columns, and its worst mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.inspection import permutation_importance

from lossbench.errors import UserError
from lossbench.evaluation import metrics
from lossbench.evaluation.catalogue import direction_of, names_for, names_from
from lossbench.inference.predictor import Floats, Predictor

# Rows that columns are permuted in, at most; each is scored once for every column and repeat.
ROWS = 5000


@dataclass(frozen=True)
class Explained:
    """What a model looks at, and where it errs, on some labelled rows.

    Attributes
    ----------
    metric, value
        The metric, and the model's on these rows.
    importances
        ``column, importance, sd``, the most important first: by how much the metric gets worse when the column's
        values change rows at random, mean and standard deviation over the repeats.
    mistakes
        By true class the rows whose wrong label the model was surest of: ``row, true, label, probability`` (of that
        label) and the raw columns.
    """

    metric: str
    value: float
    importances: pd.DataFrame
    mistakes: pd.DataFrame


def explain(
    predictor: Predictor,
    parsed: pd.DataFrame,
    target: NDArray[np.int64],
    metric: str = "auroc",
    *,
    repeats: int = 10,
    seed: int = 0,
    per_class: int = 5,
) -> Explained:
    """Explain a model on labelled rows.

    Importance is scikit-learn's, of raw columns, so that all features of a category count together
    (https://scikit-learn.org/stable/modules/permutation_importance.html). Columns that say the same share it: with one
    of them permuted, the model reads the other.

    Parameters
    ----------
    parsed
        Rows as `lossbench.data.preprocessing.Preprocessing.parsed` returns them; its index names them.
    target
        (N,) class indices.
    metric
        Of `lossbench.evaluation.metrics`, through the loss's link; log_loss, brier and ece of the posterior.
    repeats, seed
        Of the permutations.
    per_class
        Mistakes of each class, at most.

    Raises
    ------
    UserError
        For a metric that is not known, or not defined on these rows.
    """
    known = names_for(predictor.task.n_classes)
    if metric not in known:
        raise UserError(f"importance is measured by {', '.join(known)}, got {metric!r}")
    judge = _Judge(predictor, metric)
    value = judge.value(judge.predict(parsed), target)
    if np.isnan(value):
        reason = metrics.explain_undefined(target, predictor.task.n_classes, predictor.task.class_names).get(metric)
        raise UserError(f"{metric} is undefined on these rows: {reason}")
    result = permutation_importance(
        judge,
        parsed,
        target,
        scoring=judge.score,
        n_repeats=repeats,
        random_state=np.random.RandomState(seed),
        max_samples=min(ROWS, len(target)),
    )
    importances = pd.DataFrame(
        {"column": list(parsed), "importance": result.importances_mean, "sd": result.importances_std}
    ).sort_values("importance", ascending=False, kind="stable", ignore_index=True)
    return Explained(metric, value, importances, _mistakes(predictor, parsed, target, per_class))


class _Judge:
    """A predictor as scikit-learn's inspection wants one."""

    def __init__(self, predictor: Predictor, metric: str) -> None:
        self.predictor = predictor
        self.metric = metric
        self._of_posterior = metric in names_from("probability")

    def fit(self, x: Any, y: Any) -> Self:
        raise RuntimeError("the model is trained already")

    def predict(self, parsed: pd.DataFrame) -> Floats:
        scores = self.predictor.scores_of_parsed(parsed)
        return self.predictor.posterior(scores) if self._of_posterior else self.predictor.probs(scores)

    def value(self, probs: Floats, target: NDArray[np.int64]) -> float:
        return float(metrics.compute(target, probs[None], (self.metric,))[self.metric][0])

    def score(self, _: Any, parsed: pd.DataFrame, target: NDArray[np.int64]) -> float:
        sign = 1 if direction_of(self.metric) == "max" else -1
        return sign * self.value(self.predict(parsed), target)


def _mistakes(predictor: Predictor, parsed: pd.DataFrame, target: NDArray[np.int64], per_class: int) -> pd.DataFrame:
    posteriors = predictor.posterior(predictor.scores_of_parsed(parsed))
    labels = predictor.labels(posteriors, predictor.decides)
    sure = posteriors[np.arange(len(labels)), labels]
    names = np.array(predictor.task.class_names, dtype=object)
    chosen = []
    for index in range(len(names)):
        wrong = np.flatnonzero((target == index) & (labels != index))
        chosen.append(wrong[np.argsort(-sure[wrong], kind="stable")][:per_class])
    rows = np.concatenate(chosen)
    raw = readable(predictor, parsed.iloc[rows])
    head = pd.DataFrame(
        {
            "row": parsed.index[rows],
            "true": names[target[rows]],
            "label": names[labels[rows]],
            "probability": sure[rows],
        }
    )
    raw = raw.rename(columns={name: f"{name} (column)" for name in raw if name in head})
    return head.join(raw.reset_index(drop=True))


def readable(predictor: Predictor, parsed: pd.DataFrame) -> pd.DataFrame:
    """Return parsed columns as a person writes them: dates as dates, booleans as words."""
    columns = {}
    for name, kind in predictor.preprocessing.schema.items():
        column = parsed[name]
        if kind == "date":
            days = pd.to_timedelta(column, unit="D") + pd.Timestamp("1970-01-01")
            column = days.dt.round("s").astype(str)
        elif kind == "boolean":
            column = column.map({1.0: "True", 0.0: "False"})
        columns[name] = column.astype(object)
    return pd.DataFrame(columns, index=parsed.index)
