"""Laws about the minimum of a loss: a claimed posterior is there, rises with the score, and the loss is not flat."""

from __future__ import annotations

import torch

from lossbench.errors import CannotServe
from lossbench.objective.posterior import recover_posterior
from lossbench.objective.prediction import Prediction
from lossbench.testing.cases import Case
from lossbench.testing.checks import check, check_close, check_refuses
from lossbench.testing.minimum import find_minimum

TRUTHS = {
    2: ((0.9677, 0.0323), (0.8, 0.2), (0.3, 0.7), (0.05, 0.95)),
    4: ((0.7, 0.2, 0.07, 0.03), (0.1, 0.05, 0.25, 0.6)),
}


def proper_exactly_where_claimed(case: Case) -> None:
    loss = case.bound()
    if not loss.pointwise or "features" in loss.needs:
        check(not loss.proper, "proper=True is claimed of a pointwise loss of scores alone")
        return
    gaps = {}
    for truth in TRUTHS[case.task.n_classes]:
        eta = torch.tensor(truth, dtype=torch.float64)
        gaps[truth] = (loss.link.probs(find_minimum(loss, eta))[0] - eta).abs().max().item()
    worst = max(gaps, key=lambda truth: gaps[truth])
    check(
        (gaps[worst] < 1e-4) == loss.proper,
        f"proper={loss.proper}, but its minimum is off by {gaps[worst]:.2g} where the class probabilities are {worst}",
    )


def posterior_recovers_skewed_truths(case: Case) -> None:
    loss = case.bound()
    if loss.posterior != "gradient":
        check_refuses(
            lambda: recover_posterior(loss, case.scores()), CannotServe, "posterior", "posterior='calibrator'"
        )
        return
    k = case.task.n_classes
    weights = torch.linspace(1, 3, k, dtype=torch.float64)
    rates = torch.linspace(2, 0.5, k, dtype=torch.float64)
    for truth in TRUTHS[k]:
        eta = torch.tensor(truth, dtype=torch.float64)
        recovered = recover_posterior(loss, find_minimum(loss, eta))
        message = f"posterior='gradient', which at the minimum for class probabilities {truth}"
        check_close(recovered[0], eta, f"{message} is another", atol=1e-4)
        seen = eta * weights * rates
        recovered = recover_posterior(loss, find_minimum(loss, seen / seen.sum()), weights, rates)
        check_close(
            recovered[0], eta, f"{message}, class weights {weights.tolist()} and a sampler, is another", atol=2e-4
        )


def posterior_rises_with_the_score(case: Case) -> None:
    loss = case.bound()
    if loss.posterior != "gradient":
        return
    line = torch.linspace(-8, 8, 321, dtype=torch.float64)
    scores = case.scores(1).repeat(len(line), 1)
    scores[:, -1] = line
    recovered = recover_posterior(loss, scores)[:, -1]
    steps = recovered.diff()
    check((steps >= -1e-9).all(), f"posterior='gradient', which falls at the score {line[steps.argmin()]:g}")
    rise = (recovered[-1] - recovered[0]).item()
    # one-vs-rest columns share with the others
    check(rise > 0.2, f"posterior='gradient', which rises by {rise:.3g} alone from score -8 to 8")


def near_its_minimum_the_posterior_is_near_the_truth(case: Case) -> None:
    """The loss is strongly proper in its posterior: excess risk >= c H abs(found - truth)^2 / 2 with c >= 1/4.

    H is the loss's own scale: what knowing nothing costs more than knowing all. Cross-entropy has c = 2.9 for two
    classes and 1.5 for four. Where c is 0, as at rare classes for generalized cross-entropy with q > 1/2, a network can
    be as good as at its minimum and say anything.
    """
    loss = case.bound()
    k = case.task.n_classes
    if loss.posterior != "gradient" or (loss.link.name == "sigmoid" and k > 2):  # whose columns are two classes each
        return
    if k == 2:
        scores = torch.linspace(-70, 70, 561, dtype=torch.float64)[:, None]
    else:
        ends = 12 * torch.randn(60, 1, k, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        scores = (ends * torch.linspace(0, 1, 12, dtype=torch.float64)[:, None] ** 3).reshape(-1, k)
    recovered = recover_posterior(loss, scores)
    values = [loss(Prediction(scores, loss.link), torch.full((len(scores),), label)) for label in range(k)]
    inside = (recovered > 1e-5).all(dim=-1)  # a truth on the edge may have its minimum elsewhere, or nowhere
    recovered = recovered[inside]
    risks = recovered @ torch.stack(values)[:, inside]  # of truth i at scores j
    least = risks.diagonal()
    distance = (recovered[:, None] - recovered).square().sum(dim=-1)
    apart = distance > 1e-11
    scale = least.max() - least.min()
    c = (2 * (risks - least[:, None])[apart] / (scale * distance[apart])).min().item()
    check(c >= 0.25, f"posterior='gradient', and a posterior far off costs little: c is {c:.2g}, expected 1/4 or more")
