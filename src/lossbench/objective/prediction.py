"""A network's scores, seen through the link of the loss that trained it."""

from __future__ import annotations

from functools import cached_property

import torch.nn.functional as F
from torch import Tensor

from lossbench.errors import CannotServe
from lossbench.objective.links import Link, logits
from lossbench.objective.targets import at, log_others


class Prediction:
    """The raw scores of one batch and their views, computed on demand and kept.

    A loss declares its space by the view that it reads, so cross-entropy of probabilities cannot be
    configured by accident.

    Parameters
    ----------
    scores
        Raw scores, (N, 1) for two classes and (N, K) otherwise; never an activation.
    link
        The loss's link.
    features
        Last hidden layer (N, H), where the model has one.

    Examples
    --------
    >>> import torch
    >>> from lossbench.objective.links import Sigmoid
    >>> Prediction(torch.zeros(2, 1), Sigmoid()).probs
    tensor([[0.5000, 0.5000],
            [0.5000, 0.5000]])
    """

    def __init__(self, scores: Tensor, link: Link, features: Tensor | None = None) -> None:
        self.scores = scores
        self.link = link
        self._features = features

    @cached_property
    def positive_prob(self) -> Tensor:
        """Probability of each score's own class, (N, 1) or (N, K); under the sigmoid unnormalised."""
        return self.link.positive_prob(self.scores)

    @cached_property
    def logits(self) -> Tensor:
        """(N, K); for two classes ``[0, s]``."""
        return logits(self.scores)

    @cached_property
    def log_probs(self) -> Tensor:
        """Log-probabilities (N, K) of the link."""
        return self.link.log_probs(self.scores)

    @cached_property
    def probs(self) -> Tensor:
        """Probabilities (N, K) of the link; rows sum to one."""
        return self.link.probs(self.scores)

    def nll(self, target: Tensor) -> Tensor:
        """Return each row's -log p_y, (N,), of class indices (N,).

        >>> import torch
        >>> from lossbench.objective.links import Softmax
        >>> Prediction(torch.zeros(2, 4), Softmax()).nll(torch.tensor([0, 3]))
        tensor([1.3863, 1.3863])
        """
        if self._logistic:
            return -F.logsigmoid(self._for(target))
        return -at(self.log_probs, target)

    def nll_and_log_rest(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return each row's -log p_y and log(1 - p_y), (N,) each, exact also where p_y rounds to one."""
        if self._logistic:
            score = self._for(target)
            return -F.logsigmoid(score), F.logsigmoid(-score)
        return -at(self.log_probs, target), log_others(self.log_probs, target)

    @property
    def _logistic(self) -> bool:
        return self.link.logistic and self.scores.shape[-1] == 1

    def _for(self, target: Tensor) -> Tensor:
        """Return the score (N,) of each row's own class of two, whose sigmoid is p_y.

        One logarithm of N numbers then does where (N, 2) log-probabilities take two, and a look at half of them.
        torch's softplus would do as well, were its last bits not another's at the end of a tensor: those of a run
        would depend on the others in its stack.
        """
        return (2 * target.to(self.scores.dtype) - 1) * self.scores.squeeze(-1)

    @property
    def features(self) -> Tensor:
        """Last hidden layer (N, H).

        Raises
        ------
        CannotServe
            When the model gave none.
        """
        if self._features is None:
            raise CannotServe("this objective reads features, the last hidden layer, and the model gives none")
        return self._features
