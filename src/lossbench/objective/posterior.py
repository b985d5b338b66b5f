"""The class posterior behind the scores of a trained loss, from the loss's own gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from lossbench.errors import CannotServe
from lossbench.objective.loss import Loss
from lossbench.objective.prediction import Prediction

_CHUNK = 16384  # rows times classes solved at once: each has K slopes, and no more of them stay in the caches


def recover_posterior(
    loss: Loss,
    scores: Tensor,
    class_weights: Tensor | None = None,
    sampling_rates: Tensor | None = None,
) -> Tensor:
    """Return the class posterior (N, K), float64, whose population minimum of the loss the scores are.

    At the minimum sum_c q_c grad l_c(s) = 0, where q is the posterior of the population that the loss saw. So
    q = argmin over the simplex of abs(sum_c q_c grad l_c)^2; for two classes q_1 = l_0' / (l_0' - l_1')
    clipped to [0, 1]; one-vs-rest losses (sigmoid link, more than two classes) column by column, then
    normalised. Then eta_c is proportional to q_c / (class_weights_c * sampling_rates_c), which undoes
    weighting and sampler. Where every class has the gradient 0 (scores so large that the loss is flat in
    float64) the link's probabilities stand for q.

    Parameters
    ----------
    loss
        Bound to its task, pointwise, with ``posterior == "gradient"``.
    scores
        Raw scores (N, 1) or (N, K).
    class_weights
        Weights (K,) of the weighting at the selected epoch; None for all equal.
    sampling_rates
        How often training drew a row of each class relative to the natural training split, (K,), that is
        share in the sampler's batches / prior; None for all equal. Only ratios count, of both.

    Raises
    ------
    CannotServe
        When the loss claims no posterior from its gradient.

    Examples
    --------
    The raw sigmoid of a focal score of 0 is .5; with alpha .75 the truth behind it is .25.

    >>> from lossbench.objective.losses.focus import Focal
    >>> from lossbench.task import Task
    >>> loss = Focal(gamma=2, alpha=0.75)
    >>> loss.bind(Task(1, ("negative", "positive"), (1, 1)))
    >>> recover_posterior(loss, torch.zeros(1, 1))
    tensor([[0.7500, 0.2500]], dtype=torch.float64)
    """
    if loss.posterior != "gradient":
        raise CannotServe(f"{loss.name} has no posterior from its gradient; fit a calibrator on validation rows")
    scores = scores.detach().to(torch.float64)
    rows = max(1, _CHUNK // max(scores.shape[-1], 2))
    seen = torch.cat([_seen(loss, part) for part in scores.split(rows)]) if len(scores) else _empty(scores)
    for factor in (class_weights, sampling_rates):
        if factor is not None:
            seen = seen / factor.detach().to(seen)
    return seen / seen.sum(dim=-1, keepdim=True)


def class_posterior(
    loss: Loss,
    scores: Tensor,
    class_weights: Tensor | None = None,
    sampling_rates: Tensor | None = None,
) -> Tensor:
    """Return the class posterior: a proper loss's own probabilities where no weights or sampler have to be undone.

    Else it is `recover_posterior`'s.

    >>> from lossbench.objective.losses.likelihood import Brier
    >>> class_posterior(Brier(), torch.zeros(1, 1))
    tensor([[0.5000, 0.5000]], dtype=torch.float64)
    """
    if loss.proper and class_weights is None and sampling_rates is None:
        return loss.link.probs(scores.detach().to(torch.float64)).detach()
    return recover_posterior(loss, scores, class_weights, sampling_rates)


def _empty(scores: Tensor) -> Tensor:
    return scores.new_empty((0, max(scores.shape[-1], 2)))


def _seen(loss: Loss, scores: Tensor) -> Tensor:
    """Return q (N, K), the posterior of the population that the loss saw."""
    slopes = _slopes(loss, scores)
    if scores.shape[-1] == 1:
        negative, positive = slopes[:, 0, 0], slopes[:, 1, 0]
        # each by its own quotient: 1 - q would round a small probability away
        seen = torch.stack([_two_classes(positive, negative), _two_classes(negative, positive)], dim=-1)
    elif loss.link.name == "sigmoid":
        # column k's slope is one number for the rows of class k and another for all others
        slope_of_class = slopes.diagonal(dim1=1, dim2=2)
        slope_of_others = slopes.roll(-1, dims=1).diagonal(dim1=1, dim2=2)
        seen = _two_classes(slope_of_others, slope_of_class)
        seen = seen / seen.sum(dim=-1, keepdim=True)
    else:
        seen = _simplex(slopes, loss.link.probs(scores).detach())
    # NaN is 0/0: no class has a slope
    return torch.where(seen.isnan().any(dim=-1, keepdim=True), loss.link.probs(scores).detach(), seen)


def _slopes(loss: Loss, scores: Tensor) -> Tensor:
    """Return grad l_c(s), (N, K classes, n_scores)."""
    n_rows, n_scores = scores.shape
    n_classes = max(n_scores, 2)
    # Every row once with each label.
    leaf = scores.repeat(n_classes, 1).requires_grad_()
    target = torch.arange(n_classes, device=scores.device).repeat_interleave(n_rows)
    with torch.enable_grad():
        of_rows = loss(Prediction(leaf, loss.link), target)
        slopes = torch.autograd.grad(of_rows.sum(), leaf)[0]
    return slopes.view(n_classes, n_rows, n_scores).transpose(0, 1)


def _two_classes(negative: Tensor, positive: Tensor) -> Tensor:
    return (negative / (negative - positive)).clamp(0, 1)


def _simplex(slopes: Tensor, near: Tensor) -> Tensor:
    """Return argmin over the simplex of abs(sum_c q_c slopes_c)^2, (N, K), for each row of (N, K, n_scores).

    Nearly always the least is 0. Then the equations, one per score, may be scaled each by itself, which keeps
    those of classes that are almost excluded (slopes of 1e-17); where they leave a choice, q is the nearest
    to ``near``.
    """
    scaled = slopes / slopes.abs().amax(dim=1, keepdim=True)
    system, right = _with_sum(scaled.nan_to_num())  # 0/0: an equation without any slope says nothing
    step = torch.linalg.lstsq(system, right - system @ near.unsqueeze(-1), driver="gelsd").solution
    solution = near + step.squeeze(-1)
    error = (system @ solution.unsqueeze(-1) - right).abs().amax(dim=(1, 2))
    contradict = (error > 1e-9) | (solution < -1e-9).any(dim=-1)
    solution = solution.clamp(min=0)
    solution = solution / solution.sum(dim=-1, keepdim=True)
    if contradict.any():
        solution[contradict] = _least(slopes[contradict])
    return solution


def _with_sum(slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Return sum_c x_c slopes_c = 0 and sum x = 1 as a matrix (N, n_scores + 1, K) and a right side."""
    n_rows, n_classes, n_scores = slopes.shape
    system = torch.cat([slopes.mT, slopes.new_ones(n_rows, 1, n_classes)], dim=1)
    right = slopes.new_zeros(n_rows, n_scores + 1, 1)
    right[:, -1] = 1
    return system, right


def _least(slopes: Tensor) -> Tensor:
    """Return q (N, K) where the minimum is not 0: no posterior makes these scores a minimum, and q is on a face.

    With x = t q the problem min abs(S'x)^2 + (sum x - 1)^2 over x >= 0 has the same q, since its minimum over
    t grows with abs(S'q)^2. That is non-negative least squares, solved for all rows at once by block
    principal pivoting (Kim & Park 2011, https://doi.org/10.1137/110821172): guess which x are positive,
    solve, exchange those that contradict.
    """
    system, right = _with_sum(slopes / slopes.abs().amax(dim=(1, 2), keepdim=True))
    n_rows, n_classes, _ = slopes.shape
    positive = slopes.new_ones(n_rows, n_classes, dtype=torch.bool)
    fewest = torch.full((n_rows,), n_classes + 1, device=slopes.device)
    chances = torch.full_like(fewest, 3)
    x = slopes.new_zeros(n_rows, n_classes)
    open_rows = torch.arange(n_rows, device=slopes.device)
    while len(open_rows):
        part, free = system[open_rows], positive[open_rows]
        solved = torch.linalg.lstsq(part * free.unsqueeze(1), right[open_rows], driver="gelsd").solution
        dual = (part.mT @ (part @ solved - right[open_rows])).squeeze(-1)
        solved = solved.squeeze(-1)
        x[open_rows] = solved
        wrong = torch.where(free, solved < -1e-12, dual < -1e-12)
        count = wrong.sum(dim=-1)
        better = count < fewest[open_rows]
        chances[open_rows] = torch.where(better, 3, chances[open_rows] - 1)
        fewest[open_rows] = torch.where(better, count, fewest[open_rows])
        # exchange all that contradict while that helps, otherwise only the last one, which cannot cycle
        last = wrong & (wrong.flip(-1).cumsum(-1).flip(-1) == 1)
        exchange = torch.where((chances[open_rows] > 0).unsqueeze(-1), wrong, last)
        positive[open_rows] = free ^ exchange
        open_rows = open_rows[count > 0]
    x = x.clamp(min=0)
    return x / x.sum(dim=-1, keepdim=True)
