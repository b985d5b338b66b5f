"""Losses that exist elsewhere, adapted by stating what they read and what is true of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from lossbench.errors import CannotServe
from lossbench.objective.hyperparameters import choice, number
from lossbench.objective.links import Link, Sigmoid, Softmax
from lossbench.objective.loss import Loss
from lossbench.objective.losses.calling import Calling
from lossbench.objective.prediction import Prediction
from lossbench.objective.targets import indicator, onehot, over_columns, signs
from lossbench.task import Task

Reads = Literal["scores", "positive_prob", "logits", "log_probs", "probs", "features"]
TargetKind = Literal["index", "indicator", "onehot", "sign"]
_LINKS: dict[str, Link] = {
    "scores": Sigmoid(),
    "positive_prob": Sigmoid(),
    "logits": Softmax(),
    "log_probs": Softmax(),
    "probs": Softmax(),
}
LAYOUTS = ("rows", "pixels")
_NEEDS = ("priors", "features", "both_classes", "two_rows_of_a_class", "parameters")


class External(Loss):
    """Any function or module of torch's signature, ``function(input, target)``, as a loss of this project.

    Every fact of :class:`lossbench.objective.loss.Loss` is an argument, hence a key of its YAML; what is not
    stated is not claimed.

    Parameters
    ----------
    function
        Called with a view of the prediction and a target; ``reduction="none"`` for torch's own, so that it
        returns (N,) or (N, K), or a scalar where ``pointwise`` is false.
    reads
        The view: ``scores``, ``positive_prob``, ``logits``, ``log_probs``, ``probs`` or ``features``.
    target
        ``index``: int64 (N,); ``indicator``: 0/1 shaped like the scores; ``sign``: -1/+1 shaped like the
        scores; ``onehot``: (N, K).
    columns
        How (N, K) becomes (N,); torch means the mean.
    similarity
        Take 1 - value.
    arguments
        Names of the function's two arguments, input and target, for one that takes them in another order; None: in
        this order.
    reduction
        ``none``: it returns a value per row (or per row and column). ``mean``: it returns the mean of a batch, as
        tutorials' losses do, and is called with one row at a time, which gives each row's own loss; all rows at once
        under vmap, or, where ``stackable`` is ``no``, in a loop.
    layout
        ``rows``, or ``pixels`` for a loss of images: the batch is seen as one image of N pixels, (1, K, N, 1) with
        the target (1, N, 1) or (1, K, N, 1).
    link
        Defaults from ``reads``: sigmoid for scores and positive_prob, softmax for logits, log_probs and
        probs.
    ignore_index
        Rows with this target leave the mean and its denominator.
    classes
        ``two`` refuses every task with more.
    proper, pointwise, kinks, finite_scores, symmetric_in_classes, posterior
        The facts; see :class:`lossbench.objective.loss.Loss`.
    stackable, needs, has_class_weight
        More facts. A module with parameters needs them without being told. Where ``ignore_index`` is a class of the
        task, no posterior is claimed.

    Raises
    ------
    ValueError
        For an argument out of its choices, and when the function's result is not shaped as ``pointwise``
        says.

    Notes
    -----
    What torch's functions are that have a YAML and no class here, by the function's name:

    BCELoss
        Per score -(y log p + (1 - y) log(1 - p)), p = sigmoid(s); more than two classes are one-vs-rest columns, and
        their mean. torch clamps the logarithms at -100, so the loss of a row ends there, which ``bce_with_logits``
        does not.

        Use it to repeat a network that ends in a sigmoid; ``bce_with_logits`` is the same and keeps more digits.

        Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.BCELoss.html.
    NLLLoss
        Per row -log p_y, p = softmax(z).

        Use it as cross-entropy: it is the same loss on log-probabilities.

        Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.NLLLoss.html.
    MSELoss
        Per row the mean over columns of (p_k - onehot_k)^2, p = softmax(z). ``brier`` is the sum.

        Use it when probabilities matter and no single row should dominate. For two classes it is ``brier``.

        Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MSELoss.html.
    L1Loss
        Per row the mean over columns of abs(p_k - onehot_k), p = softmax(z), which is 2 (1 - p_y) / K. Its minimum is
        the likeliest class alone.

        Use it when labels are wrong at random, which leaves its minimum where it is; it learns slowly, the more so
        the more classes there are.

        Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.L1Loss.html.
    CosineSimilarity
        Per row 1 - p_y / abs(p), p = softmax(z), abs(p) the length of the vector p: one minus the spherical score.

        Use it as a bounded proper loss beside ``brier``.

        Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.CosineSimilarity.html.
    SoftMarginLoss
        Per score log(1 + exp(-yt s)), yt = +-1; more than two classes are one-vs-rest columns, and their mean. It is
        ``bce_with_logits`` in another notation. It does not stack: torch has no batching rule for it.

        Use it to repeat what was trained with it; ``bce_with_logits`` is the same, stays finite, and stacks.

        Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.SoftMarginLoss.html.
    CrossEntropyLoss
        Per row -log q_y, q = softmax(p), where it reads probabilities p = softmax(z), and so takes the softmax twice.
        It cannot fall below log(1 + (K - 1) / e): .313 for two classes, .551 for three, 1.461 for ten.

        Use it only to see what this mistake costs; ``cross_entropy`` is the loss that is meant.

        Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html.

    Examples
    --------
    >>> loss = External(torch.nn.BCELoss(reduction="none"), reads="positive_prob", target="indicator")
    >>> loss(Prediction(torch.zeros(2, 1), loss.link), torch.tensor([0, 1]))
    tensor([0.6931, 0.6931])
    """

    def __init__(
        self,
        function: Callable[..., Tensor],
        reads: Reads,
        target: TargetKind,
        columns: Literal["mean", "sum"] = "mean",
        similarity: bool = False,
        arguments: Sequence[str] | None = None,
        reduction: Literal["none", "mean"] = "none",
        layout: Literal["rows", "pixels"] = "rows",
        link: Link | None = None,
        ignore_index: int | None = None,
        classes: Literal["two", "any"] = "any",
        proper: bool = False,
        pointwise: bool = True,
        kinks: str = "",
        finite_scores: float = 1e3,
        symmetric_in_classes: bool = True,
        posterior: Literal["gradient", "calibrator"] = "calibrator",
        stackable: Literal["all", "equal_hyperparameters", "no"] = "equal_hyperparameters",
        needs: Sequence[str] = (),
        has_class_weight: bool = False,
    ) -> None:
        super().__init__()
        if not callable(function):
            raise ValueError(f"External needs a function, got function={function!r}")
        self.function = function
        self.reads = choice(self.name, "reads", reads, (*_LINKS, "features"))
        self.target = choice(self.name, "target", target, ("index", "indicator", "onehot", "sign"))
        self.columns = choice(self.name, "columns", columns, ("mean", "sum"))
        self.similarity = _switch(self.name, "similarity", similarity)
        self.reduction = choice(self.name, "reduction", reduction, ("none", "mean"))
        if reduction == "mean" and not pointwise:
            raise ValueError(f"{self.name} is pointwise where it takes means, got reduction=mean, pointwise=false")
        self._calling = Calling(_names(self.name, arguments), choice(self.name, "layout", layout, LAYOUTS) == "pixels")
        if link is None and reads == "features":
            raise ValueError(f"{self.name} reads features and needs a link, got link=None")
        if link is not None and not isinstance(link, Link):
            raise ValueError(f"{self.name} needs a lossbench Link, got link={link!r}")
        self._link = _LINKS[reads] if link is None else link
        if ignore_index is not None and (isinstance(ignore_index, bool) or not isinstance(ignore_index, int)):
            raise ValueError(f"{self.name} needs ignore_index to be an integer, got ignore_index={ignore_index!r}")
        self.ignore_index = ignore_index
        self.classes = choice(self.name, "classes", classes, ("two", "any"))
        self.proper = _switch(self.name, "proper", proper)
        self.pointwise = _switch(self.name, "pointwise", pointwise)
        if ignore_index is not None and not pointwise:
            raise ValueError(f"{self.name} judges whole batches and ignores no rows, got ignore_index={ignore_index}")
        self.kinks = kinks
        self.finite_scores = number(self.name, "finite_scores", finite_scores, above=0).item()
        self.symmetric_in_classes = _switch(self.name, "symmetric_in_classes", symmetric_in_classes)
        self.posterior = choice(self.name, "posterior", posterior, ("gradient", "calibrator"))
        self.stackable = choice(self.name, "stackable", stackable, ("all", "equal_hyperparameters", "no"))
        self.needs = frozenset(choice(self.name, "needs", need, _NEEDS) for need in needs)
        if reads == "features":
            self.needs |= {"features"}
        if any(True for _ in self.parameters()):
            self.needs |= {"parameters"}
        self.has_class_weight = _switch(self.name, "has_class_weight", has_class_weight)

    @property
    def link(self) -> Link:
        return self._link

    @property
    def name(self) -> str:
        function: Any = self.function.func if isinstance(self.function, partial) else self.function
        return getattr(function, "__name__", type(function).__name__)

    def bind(self, task: Task) -> None:
        super().bind(task)
        if self.classes == "two" and not task.binary:
            raise CannotServe(f"{self.name} is for two classes, the task has {task.n_classes}")
        if self.ignore_index in range(task.n_classes):  # that class's scores are never trained
            self.proper = False
            self.posterior = "calibrator"

    def kept(self, target: Tensor) -> Tensor | None:
        if self.ignore_index is None:
            return None
        return (target != self.ignore_index).to(torch.float64)

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        kept = self.kept(target)
        if kept is not None:
            target = torch.where(kept > 0, target, 0)
        value = self._value(prediction, target)
        if self.pointwise and value.ndim == 2:
            value = over_columns(value, self.columns)
        expected = target.shape if self.pointwise else torch.Size()
        if value.shape != expected:
            raise ValueError(
                f"{self.name} needs one value {self._rule}, got shape {tuple(value.shape)} for {len(target)} rows"
            )
        if self.similarity:
            value = 1 - value
        return value if kept is None else value * kept.to(value.dtype)

    def _value(self, prediction: Prediction, target: Tensor) -> Tensor:
        """Return the function's value for rows that all count."""
        view, wanted = getattr(prediction, self.reads), self._seen(prediction, target)
        if self.reduction == "mean":
            return self._each_row(view, wanted)
        return self._calling.batch(self.function, view, wanted)

    def reduced(self, prediction: Prediction, target: Tensor) -> Tensor:
        """Return the value of a function that averages by itself: the mean over the rows of ``forward``."""
        value = self._calling.batch(self.function, getattr(prediction, self.reads), self._seen(prediction, target))
        return 1 - value if self.similarity else value

    @property
    def _rule(self) -> str:
        if not self.pointwise:
            return "per batch"
        return "per batch (reduction: mean)" if self.reduction == "mean" else "per row (reduction: none, or say mean)"

    def _each_row(self, view: Tensor, wanted: Tensor) -> Tensor:
        loop = self.stackable == "no"
        try:
            return self._calling.rows(self.function, view, wanted, loop=loop)
        except RuntimeError as error:
            if loop:
                raise
            raise ValueError(
                f"{self.name} needs stackable: no, which calls it row by row, since vmap refuses it: "
                f"{' '.join(str(error).split())}"
            ) from error

    def _seen(self, prediction: Prediction, target: Tensor) -> Tensor:
        if self.target == "index":
            return target
        if self.target == "onehot":
            return onehot(target, max(prediction.scores.shape[-1], 2), prediction.scores)
        shaped = indicator if self.target == "indicator" else signs
        return shaped(target, prediction.scores)


def _names(owner: str, names: Sequence[str] | None) -> tuple[str, str] | None:
    if names is None:
        return None
    if isinstance(names, str) or len(names) != 2 or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{owner} needs arguments to be two names, of input and target, got arguments={names!r}")
    return names[0], names[1]


def _switch(owner: str, name: str, value: bool) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{owner} needs {name} to be true or false, got {name}={value!r}")
    return value
