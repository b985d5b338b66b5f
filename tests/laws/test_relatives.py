"""Losses that are one another: at a setting, in a limit, at other scores, or as a sum, product or power.

A row of ``RELATIVES`` says that a loss at some settings equals an expression of *other* losses on the same batch.
Values and slopes are compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor

from lossbench.objective.prediction import Prediction
from lossbench.objective.targets import indicator, onehot
from lossbench.task import Task

CONF = Path(__file__).parents[2] / "conf" / "loss"
SKEWED = {2: (90, 10), 4: (40, 30, 20, 10)}
EVEN = {2: (5, 5), 4: (5, 5, 5, 5)}


@dataclass
class Batch:
    """Scores (leaves of the graph) and targets; called with a loss's name it gives that loss of them."""

    counts: tuple[int, ...]
    scores: Tensor
    target: Tensor

    @property
    def k(self) -> int:
        return len(self.counts)

    @property
    def y(self) -> Tensor:
        """0/1 shaped like the scores."""
        return indicator(self.target, self.scores)

    @property
    def probs(self) -> Tensor:
        """Softmax, (N, K)."""
        return torch.cat([torch.zeros_like(self.scores), self.scores], dim=-1)[:, -self.k :].softmax(dim=-1)

    def __call__(
        self, name: str, scores: Tensor | None = None, target: Tensor | int | None = None, **changes
    ) -> Tensor:
        scores = self.scores if scores is None else scores
        target = self.target if target is None else torch.as_tensor(target).expand(len(scores))
        config = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
        loss = instantiate({**config, **changes}, _convert_="all")
        loss.bind(Task(5, tuple("abcd"[: self.k]), self.counts))
        return loss(Prediction(scores, loss.link), target)

    def every(self, name: str, **changes) -> Tensor:
        """Return the loss of every label that the row could have, (N, K)."""
        return torch.stack([self(name, target=k, **changes) for k in range(self.k)], dim=-1)

    def own(self, columns: Tensor) -> Tensor:
        """Return each row's entry at its class."""
        return columns.gather(-1, self.target[:, None])[:, 0]

    def moved(self, shift: Tensor | float) -> Tensor:
        """Return the scores with the logit of each row's own class moved by ``shift``, a number or (N,)."""
        shift = torch.as_tensor(shift, dtype=torch.float64).expand(len(self.scores))[:, None]
        return self.scores + shift * (2 * self.y - 1 if self.k == 2 else self.y)

    def by_column(self, values: Tensor | None = None) -> list[Batch]:
        """Return one two-class batch per score, class k against the others."""
        values = self.scores if values is None else values
        return [Batch((1, 1), column[:, None], own.long()) for column, own in zip(values.T, self.y.T, strict=True)]

    def of_columns(self, name: str, **changes) -> Tensor:
        """Return the mean over one-vs-rest columns of a loss for two classes."""
        return torch.stack([column(name, **changes) for column in self.by_column()]).mean(dim=0)

    def of_prob_columns(self, name: str, **changes) -> Tensor:
        """Return the same where a column's probability is that of the softmax."""
        columns = self.by_column(self.probs.logit()[:, -self.scores.shape[-1] :])
        return torch.stack([column(name, **changes) for column in columns]).mean(dim=0)

    def pairs(self, name: str, **changes) -> Tensor:
        """Return the mean over positive x negative cells of a loss of their difference, all columns together."""
        scores, own = self.scores.ravel(), self.y.ravel()
        ahead = (scores[own == 1][:, None] - scores[own == 0]).reshape(-1, 1)
        return Batch((1, 1), ahead, torch.ones(len(ahead), dtype=torch.long))(name, **changes).mean()


@dataclass
class Relative:
    """``loss`` with ``changes`` is ``to(batch)``."""

    loss: str
    changes: dict[str, Any]
    to: Callable[[Batch], Tensor]
    classes: tuple[int, ...] = (2, 4)
    counts: dict[int, tuple[int, ...]] = field(default_factory=lambda: SKEWED)
    near: float = 1e-11


def ce(b: Batch) -> Tensor:
    return b("cross_entropy")


def wrong(b: Batch) -> Tensor:
    """1 - p_y."""
    return b("generalized_cross_entropy", q=1.0)


def rival(b: Batch) -> Tensor:
    """The largest probability below that of the true class."""
    own = b.own(b.probs)[:, None]
    return torch.where(b.probs < own, b.probs, 0).amax(dim=-1)


def clipped_focal(b: Batch) -> Tensor:
    """A positive by focal loss with gamma 1, a negative by gamma 4 at the score of probability p - .05, if any."""
    p = b.scores.sigmoid() - 0.05
    shifted = torch.where(p > 0, p, 0.5).logit()
    negative = torch.where(p > 0, b("focal", shifted, 0, gamma=4.0)[:, None], 0)[:, 0]
    return torch.where(b.target == 1, b("focal", gamma=1.0), negative)


def single_label(b: Batch) -> Tensor:
    share = 0.2 / b.k
    others = (b.probs**4 * b.every("cross_entropy")).sum(dim=-1) - b.own(b.probs**4) * ce(b)
    return (0.8 + share) * b("focal", gamma=1.5) + share * others


def bregman(b: Batch) -> Tensor:
    """Bi-tempered loss with t1 .3 of the probabilities that t1 1, which is minus their logarithm, shows."""
    p = (-b.every("bi_tempered", t1=1.0, t2=1.6)).exp()
    off = (onehot(b.target, b.k, p) - p**1.7) / 1.7
    return (1 - b.own(p) ** 0.7) / 0.7 - off.sum(dim=-1)


def odds_of_misses(b: Batch, alpha: float, beta: float) -> Tensor:
    """(alpha FP + beta FN) / TP, which is linear in both."""
    value = b("tversky", alpha=alpha, beta=beta)
    return value / (1 - value)


def tversky(b: Batch) -> Tensor:
    misses = odds_of_misses(b, 0.0, 1.0)
    odds = 0.2 * (odds_of_misses(b, 1.0, 1.0) - misses) + 1.3 * misses
    return odds / (1 + odds)


def smoothed_dice(b: Batch, squared: bool) -> Tensor:
    p = b.probs[:, 1]
    size = (p**2 if squared else p).sum() + b.y.sum()
    twice_hits = (1 - b("soft_f1")) * (p.sum() + b.y.sum())
    return 1 - (twice_hits + 1.5) / (size + 1.5)


def turned(b: Batch) -> Tensor:
    """Cross-entropy at the true class's angle plus 40 degrees, scale 20."""
    own = ((2 * b.y - 1) * b.scores)[:, 0] / 2 if b.k == 2 else b.own(b.scores)
    angle = (own / 20).arccos() + math.radians(40)
    return b("cross_entropy", b.moved(20 * angle.cos() - own))


def ldam(b: Batch) -> Tensor:
    margins = 0.8 * (min(b.counts) / torch.tensor(b.counts, dtype=torch.float64)) ** 0.25
    return b("cross_entropy", 3 * b.moved(-margins[b.target]))


def shift(b: Batch, tau: float) -> Tensor:
    """tau log n as the scores see it."""
    logs = tau * torch.tensor(b.counts, dtype=torch.float64).log()
    return logs[1:] - logs[0] if b.k == 2 else logs


def relative_counts(b: Batch) -> Tensor:
    return (torch.tensor(b.counts, dtype=torch.float64) / max(b.counts))[-b.scores.shape[-1] :]


def modified_huber(b: Batch) -> Tensor:
    margin = ((2 * b.y - 1) * b.scores)[:, 0]
    return torch.where(margin < -1, -margin, b("squared_hinge") / 4)


def rivals_hinge(b: Batch, name: str) -> Tensor:
    """The sum over the other classes of a hinge of the true class's lead, over K."""
    lead = (b.own(b.scores)[:, None] - b.scores).reshape(-1, 1)
    every = Batch((1, 1), lead, torch.ones(len(lead), dtype=torch.long))(name, margin=0.6).reshape(-1, b.k)
    return (every.sum(dim=-1) - b.own(every)) / b.k


def with_impossible_classes(b: Batch, name: str) -> Tensor:
    """Four classes, of which two are neither said nor there."""
    far = torch.full_like(b.scores, -300.0)
    scores = torch.cat([torch.zeros_like(b.scores), b.scores, far, far], dim=-1)
    return Batch((4, 3, 2, 1), scores, b.target)(name)


RELATIVES = [
    Relative("cross_entropy", {}, lambda b: b("nll")),
    Relative(
        "cross_entropy", {"label_smoothing": 0.1}, lambda b: 0.9 * ce(b) + 0.1 * b.every("cross_entropy").mean(dim=-1)
    ),
    Relative("double_softmax", {}, lambda b: b("cross_entropy", b.probs if b.k > 2 else b.probs.diff(dim=-1))),
    Relative("bce", {}, ce, (2,)),
    Relative("bce", {}, lambda b: b("bce_with_logits")),
    Relative("bce_with_logits", {}, lambda b: b("soft_margin")),
    Relative("bce_with_logits", {}, lambda b: b.of_columns("cross_entropy")),
    Relative("bce_with_logits", {"pos_weight": 3.0}, lambda b: ce(b) * (1 + 2 * b.target), (2,)),
    Relative("brier", {}, lambda b: wrong(b) ** 2, (2,)),
    Relative("brier", {}, lambda b: 4 * b("mse"), (4,)),
    Relative("brier", {}, lambda b: b("bi_tempered", t1=0.0, t2=1.0) * (1 if b.k == 2 else 2)),
    Relative("l1", {}, lambda b: 2 * wrong(b) / b.k),
    Relative("smooth_l1", {"beta": 2.0}, lambda b: b("mse") / 4),
    Relative("smooth_l1", {"beta": 1e-9}, lambda b: b("l1"), near=1e-8),
    Relative("huber", {"delta": 0.2}, lambda b: 0.2 * b("smooth_l1", beta=0.2)),
    Relative("cosine_similarity", {}, lambda b: b("generalized_cross_entropy", 2 * b.scores, q=0.5) / 2),
    Relative("poly1", {"epsilon": 0.7}, lambda b: ce(b) + 0.7 * wrong(b)),
    Relative("focal", {"gamma": 0.0}, ce),
    Relative("focal", {"gamma": 1.7}, lambda b: ce(b) * wrong(b) ** 1.7),
    Relative("focal", {"alpha": 0.75}, lambda b: b("focal") * (0.25 + 0.5 * b.target.double()), (2,)),
    Relative("focal", {"alpha": [0.4, 0.3, 0.2, 0.1]}, lambda b: b("focal") * (0.4 - 0.1 * b.target.double()), (4,)),
    Relative("dual_focal", {"gamma": 0.0}, ce),
    Relative("dual_focal", {"gamma": 1.7}, lambda b: ce(b) * (wrong(b) + rival(b)) ** 1.7),
    Relative("focal_flsd53", {}, lambda b: torch.where(wrong(b) > 0.8, b("focal", gamma=5.0), b("focal", gamma=3.0))),
    Relative("asymmetric", {}, clipped_focal, (2,)),
    Relative(
        "asymmetric",
        {"gamma_neg": 1.7, "gamma_pos": 1.7, "clip": 0.0},
        lambda b: b.of_columns("focal", gamma=1.7),
    ),
    Relative("asymmetric", {}, lambda b: b.of_columns("asymmetric"), (4,)),
    Relative("asymmetric_single_label", {"gamma_pos": 1.5, "eps": 0.2}, single_label),
    Relative("asymmetric_single_label", {"gamma_neg": 0.0}, lambda b: b("cross_entropy", label_smoothing=0.1)),
    Relative("balanced_softmax", {}, lambda b: b("cross_entropy", b.scores + shift(b, 1))),
    Relative("balanced_softmax", {}, ce, counts=EVEN),
    Relative("logit_adjusted", {"tau": 1.7}, lambda b: b("cross_entropy", b.scores + shift(b, 1.7))),
    Relative("logit_adjusted", {"tau": 2.0}, ce, counts=EVEN),
    Relative("ldam", {"max_m": 0.8, "scale": 3.0}, ldam),
    Relative("ldam", {"max_m": 0.0}, ce),
    Relative("vector_scaling", {"gamma": 0.0, "tau": 1.7}, lambda b: b("logit_adjusted", tau=1.7)),
    Relative(
        "vector_scaling",
        {"gamma": 0.6, "tau": 1.7},
        lambda b: b("logit_adjusted", b.scores * relative_counts(b) ** 0.6, tau=1.7),
    ),
    Relative("vector_scaling", {"gamma": 2.0, "tau": 2.0}, ce, counts=EVEN),
    Relative("generalized_cross_entropy", {"q": 1e-8}, ce, near=1e-6),
    Relative("generalized_cross_entropy", {"q": 0.3}, lambda b: (1 - (1 - wrong(b)) ** 0.3) / 0.3),
    Relative(
        "symmetric_cross_entropy", {"alpha": 0.3, "beta": 0.7}, lambda b: 0.3 * ce(b) + 0.7 * math.log(1e4) * wrong(b)
    ),
    Relative("normalized_cross_entropy", {}, lambda b: ce(b) / b.every("cross_entropy").sum(dim=-1)),
    Relative("bi_tempered", {"t1": 1.0, "t2": 1.0}, ce),
    Relative("bi_tempered", {"t1": 0.3, "t2": 1.6}, bregman),
    Relative("sparsemax", {}, modified_huber, (2,)),
    Relative("sparsemax", {}, lambda b: with_impossible_classes(b, "sparsemax"), (2,)),
    Relative("hinge", {"margin": 0.6}, lambda b: 0.6 * b("hinge", b.scores / 0.6)),
    Relative("hinge", {}, lambda b: b.of_columns("hinge"), (4,)),
    Relative("squared_hinge", {"margin": 0.6}, lambda b: b("hinge", margin=0.6) ** 2, (2,)),
    Relative("squared_hinge", {}, lambda b: b.of_columns("squared_hinge"), (4,)),
    Relative("multi_margin", {"margin": 0.6}, lambda b: b("hinge", margin=0.6) / 2, (2,)),
    Relative("multi_margin", {"p": 2}, lambda b: b("squared_hinge") / 2, (2,)),
    Relative("multi_margin", {"margin": 0.6}, lambda b: rivals_hinge(b, "hinge"), (4,)),
    Relative("multi_margin", {"p": 2, "margin": 0.6}, lambda b: rivals_hinge(b, "squared_hinge"), (4,)),
    Relative("exponential", {}, lambda b: ce(b).exp() - 1, (2,)),
    Relative("exponential", {}, lambda b: b.of_columns("exponential"), (4,)),
    Relative("dice", {}, lambda b: b("soft_f1")),
    Relative("dice", {"smoothing": 1.5}, lambda b: smoothed_dice(b, False), (2,)),
    Relative("dice", {"smoothing": 1.5, "squared": True}, lambda b: smoothed_dice(b, True), (2,)),
    Relative("soft_f1", {}, lambda b: b("tversky", alpha=0.5, beta=0.5)),
    Relative("soft_f1", {}, lambda b: b.of_prob_columns("soft_f1"), (4,)),
    Relative("tversky", {"alpha": 0.2, "beta": 1.3}, tversky, (2,)),
    Relative("tversky", {}, lambda b: b.of_prob_columns("tversky"), (4,)),
    Relative("focal_tversky", {"gamma": 1.7}, lambda b: b("tversky") ** 1.7, (2,)),
    Relative("focal_tversky", {}, lambda b: b.of_prob_columns("focal_tversky"), (4,)),
    Relative("mcc", {}, lambda b: with_impossible_classes(b, "mcc"), (2,)),
    Relative("pairwise_auc", {"surrogate": "hinge", "margin": 0.6}, lambda b: b.pairs("hinge", margin=0.6)),
    Relative("pairwise_auc", {"margin": 0.6}, lambda b: b.pairs("squared_hinge", margin=0.6)),
    Relative("pairwise_auc", {"surrogate": "logistic"}, lambda b: b.pairs("soft_margin")),
    Relative("pairwise_auc", {"surrogate": "squared", "margin": 20.0}, lambda b: b.pairs("squared_hinge", margin=20.0)),
    Relative("pairwise_auc", {"average": "macro"}, lambda b: b.of_columns("pairwise_auc")),
    Relative(
        "average_precision", {"temperature": 0.4}, lambda b: b("average_precision", b.scores / 0.4, temperature=1.0)
    ),
    Relative("average_precision", {"average": "macro"}, lambda b: b.of_columns("average_precision")),
    Relative("normalized_softmax", {}, ce),
    Relative("adaptive_log_softmax", {}, ce),
    Relative("cosface", {"margin": 0.2, "scale": 20.0}, lambda b: b("cross_entropy", b.moved(-4.0))),
    Relative("arcface", {"margin": 40.0, "scale": 20.0}, turned),
    Relative("arcface", {"margin": 0.0}, ce),
]


def cases() -> Iterator[Any]:
    for number, relative in enumerate(RELATIVES):
        for k in relative.classes:
            label = "-".join([relative.loss, *(f"{key}={value}" for key, value in relative.changes.items()), str(k)])
            yield pytest.param(relative, k, id=f"{label}-{number}")


def batch(counts: tuple[int, ...]) -> Batch:
    k = len(counts)
    random = torch.randn(12, 1 if k == 2 else k, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Batch(counts, (2 * random).requires_grad_(), torch.tensor([0, 1, 1, 2, 3, 0, 0, 2, 1, 0, 3, 0]) % k)


def slopes(value: Tensor, leaf: Tensor) -> Tensor:
    return torch.autograd.grad(value.sum(), leaf, retain_graph=True)[0]


@pytest.mark.parametrize(("relative", "k"), list(cases()))
def test_is_its_relative(relative: Relative, k: int) -> None:
    b = batch(relative.counts[k])
    value, expected = b(relative.loss, **relative.changes), relative.to(b)
    torch.testing.assert_close(value, expected, rtol=relative.near, atol=relative.near)
    near = 100 * relative.near
    torch.testing.assert_close(slopes(value, b.scores), slopes(expected, b.scores), rtol=near, atol=near)
