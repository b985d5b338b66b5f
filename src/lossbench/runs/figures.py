"""Pictures of one run: training curves, ROC, and for two features the data with the decision regions."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import roc_auc_score, roc_curve

from lossbench.data.dataset import Dataset
from lossbench.evaluation.evaluation import Evaluation
from lossbench.evaluation.metrics import Floats

# Okabe & Ito's palette, which the common kinds of colour blindness can tell apart.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
LINES = ("-", "--", "-.", ":")


def png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def training_curves(history: Sequence[Mapping[str, float]], selected_epoch: int) -> Figure:
    """Draw loss and accuracy over epochs, the selected one marked.

    ``train/loss`` is the mean over the epoch's batches while the weights moved, ``val/loss`` the same loss on the
    validation split afterwards; neither includes penalties.
    """
    frame = pd.DataFrame(list(history)).set_index("epoch")
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for key, color, line in (("train/loss", COLORS[1], "--"), ("val/loss", COLORS[0], "-")):
        left.plot(frame.index, frame[key], color=color, linestyle=line, label=key)
    right.plot(frame.index, frame["val/accuracy"], color=COLORS[0], label="val/accuracy")
    right.plot(frame.index, frame["val/auroc"], color=COLORS[2], linestyle="-.", label="val/auroc")
    for axes, title in ((left, "Loss"), (right, "Validation metrics")):
        axes.axvline(selected_epoch, color="0.6", linewidth=1, label=f"selected epoch, {selected_epoch}")
        axes.set(xlabel="epoch", title=title)
        axes.legend(frameon=False)
    return figure


def roc(dataset: Dataset, evaluation: Evaluation, scores_of: Callable[[Floats], Floats]) -> Figure:
    """Draw the ROC of the last split (test, else validation); for K > 2 classes one-vs-rest and micro-averaged.

    The micro-average ranks all N K cells of the one-hot target at once. From raw scores, as tutorials compute it, a
    row whose scores are all high outranks another; from probabilities, every row sums to one.
    """
    split, rows = ("test", dataset.test) if dataset.test is not None else ("val", dataset.val)
    probs = evaluation.probs[split]
    figure = Figure(figsize=(4.8, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    if dataset.task.binary:
        _draw(axes, roc_points(rows.y, probs[:, 1]), "AUROC", 0)
    else:
        _draw(axes, micro_roc_points(rows.y, probs), "micro-average", 0)
        _draw(axes, micro_roc_points(rows.y, scores_of(rows.x)), "micro-average of raw scores", 1)
        for index, name in enumerate(dataset.task.class_names):
            positive = (rows.y == index).astype(np.int64)
            if 0 < positive.sum() < len(positive):
                _draw(axes, roc_points(positive, probs[:, index]), name, index + 2)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title=f"ROC on {split}", aspect="equal")
    axes.legend(frameon=False, loc="lower right")
    return figure


def _draw(axes: Axes, curve: Curve, name: str, index: int) -> None:
    axes.plot(
        curve.x,
        curve.y,
        color=COLORS[index % len(COLORS)],
        linestyle=LINES[index % len(LINES)],
        label=f"{name} {curve.area:.4f}",
    )


def decision_regions(dataset: Dataset, predictions: pd.DataFrame) -> Figure:
    """Draw the training rows of two features over the regions in which each class is decided.

    ``predictions`` is what :func:`lossbench.evaluation.row_table.build_row_table` returned, with its grid.
    """
    grid = predictions[predictions["split"] == "grid"]
    scores = grid[[str(column) for column in grid if str(column).startswith("score_")]].to_numpy()
    decided = (scores[:, 0] > 0).astype(int) if scores.shape[1] == 1 else scores.argmax(axis=1)
    side = round(len(grid) ** 0.5)
    x, y = (grid[name].to_numpy().reshape(side, side) for name in ("x_0", "x_1"))
    names = dataset.task.class_names
    palette = [COLORS[index % len(COLORS)] for index in range(len(names))]
    figure = Figure(figsize=(5.4, 4.8), layout="constrained")
    axes = figure.subplots()
    axes.pcolormesh(
        x, y, decided.reshape(side, side), cmap=ListedColormap(palette), vmin=0, vmax=len(names) - 1, alpha=0.25,
        shading="nearest", rasterized=True,
    )  # fmt: skip
    raw, target = dataset.raw(dataset.train), dataset.train.y
    # The rarest class is drawn last, on top.
    for index in np.argsort(dataset.task.class_counts)[::-1]:
        rows = raw[target == index]
        axes.scatter(rows[:, 0], rows[:, 1], s=6, color=palette[index], label=names[index], linewidths=0)
    axes.set(
        xlabel=dataset.feature_names[0],
        ylabel=dataset.feature_names[1],
        title="Decision regions, training rows",
    )
    axes.legend(frameon=False, markerscale=2)
    return figure


@dataclass(frozen=True)
class Curve:
    """A curve from its first to its last threshold, with the number that sums it up.

    Attributes
    ----------
    x, y
        (M,) each: false against true positive rate.
    area
        AUROC.
    """

    x: Floats
    y: Floats
    area: float


def roc_points(target: ArrayLike, score: ArrayLike) -> Curve:
    """Return the ROC curve from (0, 0) to (1, 1), without points inside straight pieces.

    Parameters
    ----------
    target
        (N,), 0 or 1.
    score
        (N,), anything that rises with the positive class: raw scores or probabilities.

    Raises
    ------
    ValueError
        Unless both classes have rows and every score is finite.

    Examples
    --------
    >>> curve = roc_points([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> curve.area, curve.x, curve.y
    (0.75, array([0. , 0. , 0.5, 0.5, 1. ]), array([0. , 0.5, 0.5, 1. , 1. ]))
    """
    y, s = _checked(target, score)
    if y.min() == y.max():
        raise ValueError(f"a ROC curve needs rows of both classes, got only class {y[0]}")
    false_rate, true_rate, _ = roc_curve(y, s)
    return Curve(np.asarray(false_rate), np.asarray(true_rate), float(roc_auc_score(y, s)))


def micro_roc_points(target: ArrayLike, scores: ArrayLike) -> Curve:
    """Return the micro-averaged ROC curve of K classes: one curve over all N K cells of the one-hot target.

    The classic tutorial draws it from raw scores; probabilities give another curve, since a link moves the
    columns of one row against those of another. Both are right about what they were given.

    Parameters
    ----------
    target
        (N,), class indices.
    scores
        (N, K) raw scores or probabilities.

    References
    ----------
    https://scikit-learn.org/stable/auto_examples/model_selection/plot_roc.html

    Examples
    --------
    >>> micro_roc_points([0, 1, 2], [[3.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.5, 2.5, 1.5]]).area.__round__(4)
    0.8889
    """
    s = np.asarray(scores, dtype=np.float64)
    y = np.asarray(target)
    if s.ndim != 2 or s.shape[1] < 2 or y.shape != s.shape[:1]:
        raise ValueError(f"a micro-averaged ROC needs target (N,) and scores (N, K), got {y.shape} and {s.shape}")
    if y.min() < 0 or y.max() >= s.shape[1]:
        raise ValueError(f"a micro-averaged ROC needs target in 0..{s.shape[1] - 1}, got {y.min()}..{y.max()}")
    return roc_points((y[:, None] == np.arange(s.shape[1])).astype(np.int64).ravel(), s.ravel())


def _checked(target: ArrayLike, score: ArrayLike) -> tuple[NDArray[np.int64], Floats]:
    y, s = np.asarray(target), np.asarray(score, dtype=np.float64)
    if y.ndim != 1 or y.shape != s.shape or y.size == 0 or not np.isin(y, (0, 1)).all():
        raise ValueError(f"a curve needs target (N,) of 0 and 1 and score (N,), got {y.shape} and {s.shape}")
    if not np.isfinite(s).all():
        raise ValueError(f"a curve needs finite scores, got {int((~np.isfinite(s)).sum())} that are not")
    return y.astype(np.int64), s
