"""What is plotted: a loss, its gradient and its probabilities as functions of one score, in float64."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from catalogue.entries import TWO, Entry
from torch import Tensor

from lossbench.objective.loss import Loss
from lossbench.objective.losses.embedding import CosineHead
from lossbench.objective.losses.likelihood import cross_entropy
from lossbench.objective.posterior import recover_posterior
from lossbench.objective.prediction import Prediction

REACH = 5.0
STEPS = 50  # to either side of 0
# The rows that a varied row joins, where a loss needs a batch: a positive and a negative each on the right side and on
# the wrong one.
FIXED_SCORES = (1.0, -0.5, -1.0, 0.5)
FIXED_TARGETS = (1, 1, 0, 0)
DIGITS = 4


@dataclass(frozen=True)
class Curves:
    """Values at every score, (M,) each.

    ``reference`` is cross-entropy of a positive row, in the same batch; ``posterior`` is empty without one.
    """

    score: list[float]
    positive: list[float]
    negative: list[float]
    reference: list[float]
    positive_slope: list[float]
    negative_slope: list[float]
    reference_slope: list[float]
    link: list[float]
    posterior: list[float]

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: np.array(values) for name, values in asdict(self).items()}


def reach(loss: Loss) -> float:
    """Return how far scores are plotted: as far as they go where an output layer limits them."""
    head = loss.head(TWO, 16)
    return float(2 * head.scale) if isinstance(head, CosineHead) else REACH


def curves(entry: Entry) -> Curves:
    """Return the curves of a loss that is bound to :data:`TWO`."""
    loss = entry.part
    _settle(loss)
    # Some losses jump at 0 or at 1: the middle is 0 to the last bit.
    scores = torch.arange(-STEPS, STEPS + 1, dtype=torch.float64) * reach(loss) / STEPS
    plain = cross_entropy()
    found = {
        "positive": _values(loss, scores, 1),
        "negative": _values(loss, scores, 0),
        "reference": _values(plain, scores, 1, in_batch=not loss.pointwise),
    }
    column = scores.unsqueeze(-1)
    with torch.no_grad():
        link = loss.link.probs(column)[:, 1]
    behind = recover_posterior(loss, column)[:, 1] if loss.posterior == "gradient" else scores.new_empty(0)
    return Curves(
        score=_rounded(scores),
        **{name: _rounded(value) for name, (value, _) in found.items()},
        **{f"{name}_slope": _rounded(slope) for name, (_, slope) in found.items()},
        link=_rounded(link),
        posterior=_rounded(behind),
    )


def _values(loss: Loss, scores: Tensor, label: int, in_batch: bool = False) -> tuple[Tensor, Tensor]:
    """Return the loss of a row of class ``label`` at each score, or of the batch that it joins, and its slope."""
    leaf = scores.clone().requires_grad_()
    if loss.pointwise and not in_batch:
        rows = loss(Prediction(leaf.unsqueeze(-1), loss.link), torch.full(scores.shape, label))
    else:
        rows = torch.stack([_of_batch(loss, score, label) for score in leaf])
    return rows.detach(), torch.autograd.grad(rows.sum(), leaf)[0]


def _of_batch(loss: Loss, score: Tensor, label: int) -> Tensor:
    batch = torch.cat([score.reshape(1, 1), torch.tensor(FIXED_SCORES, dtype=score.dtype).unsqueeze(-1)])
    target = torch.tensor([label, *FIXED_TARGETS])
    features = _features(batch[:, 0]) if "features" in loss.needs else None
    return loss(Prediction(batch, loss.link, features), target).mean()


def _features(scores: Tensor) -> Tensor:
    """Return directions (N, 2) that turn half a circle as the score rises, for losses that read features."""
    angle = torch.pi * torch.sigmoid(-scores)
    return torch.stack([angle.cos(), angle.sin()], dim=-1)


def _settle(loss: Loss) -> None:
    """Bring a loss's own parameters to where they rest on the fixed rows: at their start they say nothing yet."""
    if not list(loss.parameters()):
        return
    scores, target = torch.tensor(FIXED_SCORES, dtype=torch.float64).unsqueeze(-1), torch.tensor(FIXED_TARGETS)
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        loss(Prediction(scores, loss.link), target).backward()
        optimizer.step()
        for name, value in loss.projected(dict(loss.named_parameters())).items():
            loss.get_parameter(name).data.copy_(value)


def _rounded(values: Tensor) -> list[float]:
    return [round(value, DIGITS) + 0.0 for value in values.tolist()]  # + 0.0: no -0.0
