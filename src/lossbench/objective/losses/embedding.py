"""Losses with an output layer of their own, whose scores are cosines to one learned proxy per class.

The layer emits scale times the cosine, so that evaluation, which knows no target, sees scores without a margin; the
loss takes the cosine back from the score and adds the margin for the true class. For two classes a pair of opposite
proxies keeps one score: cosines c and -c, and the score is 2 scale c, since softmax([-scale c, scale c]) is its
sigmoid. Features without a direction (all zero) have the cosine 0.
"""

from __future__ import annotations

from math import radians

import torch
from torch import Tensor, nn

from lossbench.objective.hyperparameters import number
from lossbench.objective.links import Softmax, log_softmax
from lossbench.objective.loss import Loss
from lossbench.objective.prediction import Prediction
from lossbench.objective.targets import at, onehot
from lossbench.task import Task


def direction(vectors: Tensor) -> Tensor:
    """Return vectors of length 1, along the last axis; a zero vector stays zero and has a finite gradient.

    >>> direction(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    length = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors / torch.where(length > 0, length, 1)


class CosineHead(nn.Module):
    """Features (N, H) -> scores: scale * cosine to each proxy, (N, K), or 2 * scale * cosine to one, (N, 1).

    >>> head = CosineHead(n_features=2, n_scores=1, scale=torch.tensor(8.0))
    >>> _ = torch.nn.init.ones_(head.proxies)
    >>> head(torch.tensor([[1.0, 1.0], [1.0, -1.0]])).detach()
    tensor([[16.0000],
            [ 0.0000]])
    """

    scale: Tensor

    def __init__(self, n_features: int, n_scores: int, scale: Tensor) -> None:
        super().__init__()
        self.proxies = nn.Parameter(torch.randn(n_scores, n_features))
        self.register_buffer("scale", scale.clone())

    def forward(self, features: Tensor) -> Tensor:
        cosine = direction(features) @ direction(self.proxies).mT
        sides = 2 if len(self.proxies) == 1 else 1
        return sides * self.scale.to(cosine.dtype) * cosine


class NormalizedSoftmax(Loss):
    """Cross-entropy of the cosines to the class proxies over a temperature.

    Per row cross_entropy(cos / temperature, y), cos (N, K) the cosines between the features and one proxy per class.
    The scores are cos / temperature already, so the loss is cross-entropy of the scores; log-odds are limited to
    plus and minus 2 / temperature.

    Use it when features are compared by their angle afterwards, as in retrieval, and probabilities are wanted as
    well.

    Source: Zhai & Wu 2018, https://arxiv.org/abs/1811.12649.

    Parameters
    ----------
    temperature
        > 0.

    Raises
    ------
    ValueError
        Outside this range.

    Examples
    --------
    Cosines .05 and -.05: sigmoid(2).

    >>> loss = NormalizedSoftmax()
    >>> loss(Prediction(torch.tensor([[2.0]]), loss.link), torch.tensor([1])).neg().exp()
    tensor([0.8808])
    """

    link = Softmax()
    proper = True
    posterior = "gradient"
    temperature: Tensor

    def __init__(self, temperature: float = 0.05) -> None:
        super().__init__()
        self.register_buffer("temperature", number(self.name, "temperature", temperature, above=0))

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        return -at(prediction.log_probs, target)

    def head(self, task: Task, n_features: int) -> nn.Module:
        return CosineHead(n_features, task.n_scores, 1 / self.temperature)


def _both_sides(scores: Tensor) -> Tensor:
    """Return scale * cosines to every class's proxy, (N, K)."""
    return torch.cat([-scores, scores], dim=-1) / 2 if scores.shape[-1] == 1 else scores


class CosFace(Loss):
    """Cross-entropy of scaled cosines, the true class's less a margin.

    Per row cross_entropy(scale (cos - margin onehot), y), cos (N, K) the cosines between the features and one proxy
    per class; the scores are scale * cos. margin 0 is :class:`NormalizedSoftmax` with temperature 1 / scale. Scale
    64 is the paper's, for thousands of classes.

    Use it when features have to tell many classes apart by their angle, as with faces; with few classes lower the
    scale.

    Source: Wang et al. 2018, https://arxiv.org/abs/1801.09414.

    Parameters
    ----------
    margin
        In units of the cosine, >= 0.
    scale
        > 0.

    Raises
    ------
    ValueError
        Outside these ranges.

    Examples
    --------
    Two classes, cosines -.35 / 2 and .35 / 2, scale 4: the margin takes the lead away.

    >>> loss = CosFace(scale=4)
    >>> loss(Prediction(torch.tensor([[4 * 0.35]]), loss.link), torch.tensor([1])).neg().exp()
    tensor([0.5000])
    """

    link = Softmax()
    margin: Tensor
    scale: Tensor

    def __init__(self, margin: float = 0.35, scale: float = 64.0) -> None:
        super().__init__()
        self.register_buffer("margin", number(self.name, "margin", margin, at_least=0))
        self.register_buffer("scale", number(self.name, "scale", scale, above=0))
        self.proper = margin == 0

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        sides = _both_sides(prediction.scores)
        shift = (self.scale * self.margin).to(sides.dtype)
        return -at(log_softmax(sides - shift * onehot(target, sides.shape[-1], sides)), target)

    def head(self, task: Task, n_features: int) -> nn.Module:
        return CosineHead(n_features, task.n_scores, self.scale)


class ArcFace(Loss):
    """Cross-entropy of scaled cosines, the true class's angle enlarged by a margin.

    Per row cross_entropy(scale cos(theta + margin onehot), y), theta (N, K) the angles between the features and one
    proxy per class; the scores are scale * cos(theta). margin 0 is :class:`NormalizedSoftmax` with temperature
    1 / scale. This is the paper's formula as it stands: beyond theta = 180 degrees less the margin the cosine rises
    again (insightface and others go on with cos(theta) - margin sin(margin) there, which jumps).

    Use it as ``cosface``, with a margin that is the same angle everywhere.

    Source: Deng et al. 2019, https://arxiv.org/abs/1801.07698.

    Parameters
    ----------
    margin
        In degrees, 0 <= margin < 180; 28.6 are the paper's .5 radians.
    scale
        > 0.

    Raises
    ------
    ValueError
        Outside these ranges.

    Examples
    --------
    Orthogonal to both proxies, margin 30 degrees, scale 2: cosines -.5 and 0, so sigmoid(-1).

    >>> loss = ArcFace(margin=30, scale=2)
    >>> loss(Prediction(torch.tensor([[0.0]]), loss.link), torch.tensor([1])).neg().exp()
    tensor([0.2689])
    """

    link = Softmax()
    margin: Tensor
    scale: Tensor

    def __init__(self, margin: float = 28.6, scale: float = 64.0) -> None:
        super().__init__()
        self.register_buffer("margin", number(self.name, "margin", margin, at_least=0, below=180))
        self.register_buffer("scale", number(self.name, "scale", scale, above=0))
        self.proper = margin == 0

    def forward(self, prediction: Prediction, target: Tensor) -> Tensor:
        sides = _both_sides(prediction.scores)
        margin, scale = (self.margin * radians(1)).to(sides.dtype), self.scale.to(sides.dtype)
        side = at(sides, target)
        cosine = side / scale
        # cos(theta + m) = cos theta cos m - sin theta sin m; at sin theta = 0 its root has no gradient
        sine = (1 - cosine.square()).clamp(min=torch.finfo(sides.dtype).eps).sqrt()
        moved = scale * (cosine * margin.cos() - sine * margin.sin()) - side
        shifted = sides + moved.unsqueeze(-1) * onehot(target, sides.shape[-1], sides)
        return -at(log_softmax(shifted), target)

    def head(self, task: Task, n_features: int) -> nn.Module:
        return CosineHead(n_features, task.n_scores, self.scale)
