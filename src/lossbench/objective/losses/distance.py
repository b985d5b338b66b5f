"""torch's distances between the probabilities and the one-hot target, with the facts that depend on their settings."""

from __future__ import annotations

import torch

from lossbench.objective.hyperparameters import number
from lossbench.objective.losses.external import External


def _of_probs(function: torch.nn.Module, bend: float) -> External:
    """Adapt a distance that is quadratic up to ``bend``; probabilities are never further than 1 apart."""
    quadratic = bend >= 1
    return External(
        function,
        reads="probs",
        target="onehot",
        proper=quadratic,
        posterior="gradient" if quadratic else "calibrator",
    )


def smooth_l1(beta: float = 1.0) -> External:
    """Return torch's smooth L1 distance of the probabilities to the one-hot target, mean over columns.

    Per column, d = abs(p_k - onehot_k): d^2 / (2 beta) for d < beta, else d - beta / 2. Probabilities are at most 1
    apart, so with beta >= 1 it is the squared error over 2 beta, and proper; beta -> 0 is ``l1``.

    Use it with beta < 1 between ``mse`` and ``l1``: robust to wrong labels where far off, smooth where near.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.SmoothL1Loss.html.

    Parameters
    ----------
    beta
        Where it bends, > 0 (for 0 take ``l1``).

    Raises
    ------
    ValueError
        Outside this range.

    Examples
    --------
    Both columns are .5 off: .5 - .1.

    >>> from lossbench.objective.prediction import Prediction
    >>> loss = smooth_l1(beta=0.2)
    >>> loss(Prediction(torch.zeros(1, 1), loss.link), torch.tensor([1]))
    tensor([0.4000])
    """
    bend = number("smooth_l1", "beta", beta, above=0).item()
    return _of_probs(torch.nn.SmoothL1Loss(reduction="none", beta=bend), bend)


def huber(delta: float = 1.0) -> External:
    """Return torch's Huber distance of the probabilities to the one-hot target, mean over columns.

    Per column, d = abs(p_k - onehot_k): d^2 / 2 for d < delta, else delta (d - delta / 2), which is delta times
    ``smooth_l1``. With delta >= 1 it is half the squared error, and proper.

    Use it as ``smooth_l1``, in whichever scale is familiar.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.HuberLoss.html.

    Parameters
    ----------
    delta
        Where it bends, > 0.

    Raises
    ------
    ValueError
        Outside this range.

    Examples
    --------
    >>> from lossbench.objective.prediction import Prediction
    >>> loss = huber(delta=0.2)
    >>> loss(Prediction(torch.zeros(1, 1), loss.link), torch.tensor([1]))
    tensor([0.0800])
    """
    bend = number("huber", "delta", delta, above=0).item()
    return _of_probs(torch.nn.HuberLoss(reduction="none", delta=bend), bend)
