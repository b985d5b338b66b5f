"""Two noisy concentric rings whose Bayes rule is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from scipy.special import expit

from lossbench import randomness
from lossbench.data.checks import is_integer, is_number, require
from lossbench.data.dataset import Seeds
from lossbench.data.source import Draw, Source


@dataclass(kw_only=True)
class Rings(Source):
    """Two rings in the plane: r ~ N(centre, spread^2), angle a uniform, the point is (r cos a, r sin a).

    Class 0 is ``negative``, class 1 ``positive``. The numbers of rows per class are exact, their order is
    random. Every source seed is an independent draw, and its test rows are a second independent draw, from
    the stream ``test``, with the same class proportions (to the nearest row, at least one row each).

    Parameters
    ----------
    positives, negatives
        Rows of each class, >= 1.
    positive_radius, negative_radius
        Centre of each class's radius, >= 0, in the units of the plane.
    spread
        Standard deviation of the radius in both classes, > 0.
    test_rows
        Rows of the independent test draw, >= 2; 0 splits the test rows off the draw, by ``test`` or ``fold``.
    **others
        As in `Source`.

    Examples
    --------
    >>> rings = Rings(source_seed=0, split_seed=0)
    >>> dataset = rings.prepare()
    >>> dataset.task.class_counts, len(dataset.val), len(dataset.test)
    ((4800, 160), 1240, 20000)
    >>> round(rings.bayes_auroc, 5)
    0.98305

    Halfway between the radii the two densities are equal, and only the prior 200 / 6200 is left:

    >>> rings.posterior(np.array([[6.5, 0.0]]))[0, 1].round(6) == round(200 / 6200, 6)
    np.True_
    """

    seeds: ClassVar[Seeds] = "draws"

    name: str = "rings"
    positives: int = 200
    negatives: int = 6000
    positive_radius: float = 5.0
    negative_radius: float = 8.0
    spread: float = 1.0
    test_rows: int = 20_000

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("positives", "negatives"):
            count = getattr(self, name)
            require(is_integer(count) and count >= 1, "Rings", f"an integer {name} >= 1", **{name: count})
        for name in ("positive_radius", "negative_radius"):
            radius = getattr(self, name)
            require(is_number(radius) and radius >= 0, "Rings", f"{name} >= 0", **{name: radius})
        require(is_number(self.spread) and self.spread > 0, "Rings", "spread > 0", spread=self.spread)
        enough = is_integer(self.test_rows) and (self.test_rows == 0 or self.test_rows >= 2)
        require(enough, "Rings", "an integer test_rows >= 2, or 0", test_rows=self.test_rows)
        if self.test_rows > 0:
            require(self.fold is None, "Rings", "test_rows=0 with a fold (a fold is a test split)", fold=self.fold)

    def draw(self) -> Draw:
        test = None
        if self.test_rows > 0:
            share = round(self.test_rows * self.positives / (self.positives + self.negatives))
            positives = min(max(share, 1), self.test_rows - 1)
            test = self._sample(positives, self.test_rows - positives, "test")
        x, y = self._sample(self.positives, self.negatives, "source")
        return Draw(x=x, y=y, feature_names=("x1", "x2"), class_names=("negative", "positive"), test=test)

    def _sample(self, positives: int, negatives: int, stream: randomness.Stream) -> tuple[np.ndarray, np.ndarray]:
        rows = positives + negatives
        generator = randomness.generator(self.source_seed, stream)
        y = (torch.randperm(rows, generator=generator) < positives).numpy()
        noise = torch.randn(rows, generator=generator, dtype=torch.float64).numpy()
        angle = 2 * math.pi * torch.rand(rows, generator=generator, dtype=torch.float64).numpy()
        radius = np.where(y, self.positive_radius, self.negative_radius) + self.spread * noise
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), y.astype(np.int64)

    def posterior(self, x: np.ndarray) -> np.ndarray:
        """Return the true class probabilities at points in original units, (N, 2) -> (N, 2).

        A drawn r may be negative (for the default positives three times in ten million); the point then lies
        opposite, at distance d = |r|, which is all that can be seen. So a class with centre c has at distance
        d the density of a folded normal, proportional to exp(-(d-c)^2 / 2s^2) + exp(-(d+c)^2 / 2s^2), and

            log-odds = log(n1/n0) + ((d-c0)^2 - (d-c1)^2) / 2s^2
                       + log(1 + exp(-2 d c1/s^2)) - log(1 + exp(-2 d c0/s^2)).

        This is exact for every parameter. The second line is what negative radii add: below 1e-12 for the
        default rings beyond d = 3, and the first line alone is the familiar form. n1/n0 are the class sizes
        of the draw.
        """
        distance = np.hypot(x[:, 0], x[:, 1])
        c1, c0, variance = self.positive_radius, self.negative_radius, self.spread**2
        # (d-c0)^2 - (d-c1)^2 = (c1-c0)(2d-c0-c1), which does not cancel far out
        log_odds = (c1 - c0) * (2 * distance - c0 - c1) / (2 * variance)
        log_odds += math.log(self.positives / self.negatives)
        log_odds += np.log1p(np.exp(-2 * distance * c1 / variance))
        log_odds -= np.log1p(np.exp(-2 * distance * c0 / variance))
        return np.stack([expit(-log_odds), expit(log_odds)], axis=1)

    def bayes(self) -> Callable[[np.ndarray], np.ndarray]:
        return self.posterior

    @property
    def bayes_auroc(self) -> float:
        """AUROC of the Bayes rule, the ceiling of every score: Phi(|c0 - c1| / (s sqrt 2)) for large radii.

        The log-odds fall (or rise) throughout with the distance |r|, so this is P(|r1| < |r0|) for c1 < c0.
        Since |r1| < |r0| means that r0 - r1 and r0 + r1 have the same sign, and these two are independent
        normals with means c0 - c1 and c0 + c1 and variance 2 s^2, it equals a b + (1-a)(1-b) with
        a = Phi(|c0 - c1| / (s sqrt 2)) and b = Phi((c0 + c1) / (s sqrt 2)); by default 1 - b is below 1e-19.
        """
        # Phi(t / sqrt 2) = (1 + erf(t / 2)) / 2
        a = (1 + math.erf(abs(self.negative_radius - self.positive_radius) / (2 * self.spread))) / 2
        b = (1 + math.erf((self.negative_radius + self.positive_radius) / (2 * self.spread))) / 2
        return a * b + (1 - a) * (1 - b)
