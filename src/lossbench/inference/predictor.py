"""A trained model in use: from a table of raw columns to labels, probabilities and scores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lossbench.data.preprocessing import Preprocessing
from lossbench.data.tables.columns import Categorical
from lossbench.data.tables.parsing import as_text
from lossbench.errors import UserError
from lossbench.evaluation import calibration
from lossbench.evaluation.catalogue import TUNED
from lossbench.inference import model_file
from lossbench.inference.rebuild import rebuild
from lossbench.models.forward import scores_of
from lossbench.models.initial import build
from lossbench.models.network import Network
from lossbench.objective.loss import Loss
from lossbench.objective.posterior import class_posterior
from lossbench.task import Task

Floats = NDArray[np.float64]

# Labels are decided at the threshold that is best for it on validation, unless told otherwise.
THRESHOLD = TUNED[0]


class Predictor:
    """The model of a ``model.pt``, ready to predict, without any training code.

    Parameters
    ----------
    content
        As `lossbench.inference.model_file.load` returns it: tensors and plain containers.
    trust
        Build parts of packages other than lossbench and torch, which the file may name.

    Attributes
    ----------
    task
        Classes and their counts in training.
    preprocessing
        The raw columns that are needed, and what becomes of them.
    thresholds
        For two classes, on the probability of the positive one, by the metric that each is best for on validation.
    decides
        The threshold that labels use (``"f1"``'s, .5 where validation could not tune it); None for more classes,
        where the likeliest is the label.

    Raises
    ------
    UserError
        For a part that may not be built, or tensors that do not belong to the parts.
    """

    def __init__(self, content: Mapping[str, Any], *, trust: bool = False) -> None:
        task = content["task"]
        self.config: Mapping[str, Any] = content["config"]
        self.task = Task(task["n_features"], tuple(task["class_names"]), tuple(task["class_counts"]))
        self.preprocessing = Preprocessing.from_state(content["preprocessing"])
        self.thresholds = {str(name): float(value) for name, value in content["thresholds"].items()}
        self.kind = str(content["posterior"]["kind"])
        self._state = content["posterior"]["state"]
        self.loss = self._built_loss(content, trust)
        self.network = self._built_network(content, trust)

    @classmethod
    def load(cls, source: str | Path | BinaryIO, name: str = "", *, trust: bool = False) -> Predictor:
        """Read a model's file, see `lossbench.inference.model_file.load`."""
        return cls(model_file.load(source, name), trust=trust)

    def _built_loss(self, content: Mapping[str, Any], trust: bool) -> Loss:
        loss = rebuild(self.config["loss"], "loss", trust=trust)
        if not isinstance(loss, Loss):
            raise UserError(f"loss needs to be a lossbench Loss, got {type(loss).__name__}")
        loss.bind(self.task)
        _fill(loss, {name.removeprefix("loss."): tensor for name, tensor in content["objective"].items()
                     if name.startswith("loss.")}, "loss")  # fmt: skip
        return loss.eval()

    def _built_network(self, content: Mapping[str, Any], trust: bool) -> nn.Module:
        state = content["network"]
        floating = (tensor.dtype for tensor in state.values() if tensor.is_floating_point())
        dtype = next(floating, torch.float32)
        network = build(rebuild(self.config["model"], "model", trust=trust), self.task, 0, dtype)
        head = self.loss.head(self.task, network.n_features) if isinstance(network, Network) else None
        if head is not None:
            network.head = head.to(dtype)
        _fill(network, state, "model")
        return network.eval()

    @property
    def decides(self) -> float | None:
        if not self.task.binary:
            return None
        tuned = self.thresholds.get(THRESHOLD, float("nan"))
        return 0.5 if np.isnan(tuned) else tuned

    def threshold(self, wanted: str | float | None = None) -> float | None:
        """Return the threshold that is wanted: a metric's name, a number, or None for `decides`.

        Raises
        ------
        UserError
            For a metric without a threshold, or any threshold where there are more than two classes.
        """
        if wanted is None:
            return self.decides
        if not self.task.binary:
            raise UserError(f"a threshold decides between two classes, this model has {self.task.n_classes}")
        try:
            return float(wanted)
        except ValueError:
            pass
        tuned = self.thresholds.get(str(wanted), float("nan"))
        if np.isnan(tuned):
            names = [name for name, value in self.thresholds.items() if not np.isnan(value)]
            raise UserError(f"a threshold is a number or one tuned for {', '.join(names)}, got {wanted!r}")
        return tuned

    def scores(self, frame: pd.DataFrame, first_row: int = 1) -> Floats:
        """Return the network's raw scores of raw columns, (N, 1) for two classes or (N, K)."""
        return self.scores_of_parsed(self.preprocessing.parsed(frame, first_row), first_row)

    def scores_of_parsed(self, parsed: pd.DataFrame, first_row: int = 1) -> Floats:
        """Return the network's raw scores of columns that the preprocessing has parsed already."""
        x = self.preprocessing.encode(parsed, first_row)
        return scores_of(self.network, x) if len(x) else np.zeros((0, self.task.n_scores))

    def probs(self, scores: Floats) -> Floats:
        """Return the probabilities (N, K) that the loss's own link makes of scores."""
        with torch.no_grad():
            return _array(self.loss.link.probs(torch.as_tensor(scores)))

    def posterior(self, scores: Floats) -> Floats:
        """Return the class posterior (N, K) behind scores, by gradient or calibrator as the record says."""
        if self.kind != "gradient":
            return calibration.from_state(self.kind, self._state).probs(scores)
        return _array(class_posterior(self.loss, torch.as_tensor(scores), **self._state))

    def labels(self, posteriors: Floats, threshold: float | None) -> NDArray[np.int64]:
        """Return class indices (N,): above the threshold the positive class, without one the likeliest."""
        if threshold is None:
            return posteriors.argmax(axis=1)
        return (posteriors[:, 1] > threshold).astype(np.int64)

    def predict(self, frame: pd.DataFrame, threshold: str | float | None = None, *, first_row: int = 1) -> pd.DataFrame:
        """Return label, probabilities and scores of raw rows, with the index of ``frame``.

        Columns: ``label`` (a class name), ``probability_<class>`` for every class (the posterior), and ``score``, for
        more than two classes ``score_<class>`` (raw, before any link).

        Parameters
        ----------
        frame
            With the raw columns of the training table, in any order; others are ignored.
        threshold
            As `threshold` takes it.
        first_row
            What the first row is called in messages.

        Raises
        ------
        UserError
            For a column that is missing, or a value that cannot be read; column and row are named.
        """
        cut = self.threshold(threshold)
        scores = self.scores(frame, first_row)
        posteriors = self.posterior(scores)
        names = self.task.class_names
        columns: dict[str, Any] = {"label": np.array(names, dtype=object)[self.labels(posteriors, cut)]}
        columns |= {f"probability_{name}": posteriors[:, index] for index, name in enumerate(names)}
        columns |= {name: scores[:, index] for index, name in enumerate(self.score_names)}
        return pd.DataFrame(columns, index=frame.index)

    def unseen(self, frame: pd.DataFrame) -> dict[str, set[str]]:
        """Return, by categorical column, the levels of raw rows that have no feature of their own: unseen or rare ones.

        They share the feature ``<column> other``, or have none where training had no rare level.
        """
        unseen = {}
        for column in self.preprocessing.columns:
            if isinstance(column, Categorical):
                levels = {as_text(value) for value in frame[column.name].dropna().unique()} - set(column.levels)
                if levels:
                    unseen[column.name] = levels
        return unseen

    @property
    def score_names(self) -> list[str]:
        """What the columns of scores are called in a prediction."""
        return ["score"] if self.task.binary else [f"score_{name}" for name in self.task.class_names]


def _fill(module: nn.Module, state: Mapping[str, Tensor], key: str) -> None:
    try:
        module.load_state_dict(dict(state))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{key}: the tensors do not belong to {type(module).__name__}: {reason}") from error


def _array(tensor: Tensor) -> Floats:
    return tensor.detach().cpu().numpy().astype(np.float64, copy=False)
