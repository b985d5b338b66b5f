"""Rows and seeds crossed: DeLong's error, coverage with any share of seeds in the noise, and identical replicates."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from lossbench.comparison.crossed import CrossedBounds, RowParts, auroc_parts, crossed_error, mean_parts
from lossbench.comparison.effects import estimate_effects


def delong_variance(scores: np.ndarray, target: np.ndarray) -> float:
    """As in DeLong et al. 1988, by a loop over pairs."""
    positive, negative = scores[target == 1], scores[target == 0]
    kernel = np.array([[float(p > n) + 0.5 * (p == n) for n in negative] for p in positive])
    return kernel.mean(axis=1).var(ddof=1) / len(positive) + kernel.mean(axis=0).var(ddof=1) / len(negative)


def test_placements_give_the_area_and_delongs_variance() -> None:
    rng = np.random.default_rng(0)
    target = rng.permutation(np.repeat([0, 1], [30, 20]))
    scores = np.round(rng.normal(size=50) + target, 1)  # with ties
    negatives, positives = auroc_parts(scores, target).strata
    assert positives.mean() == pytest.approx(roc_auc_score(target, scores))
    assert negatives.mean() == pytest.approx(roc_auc_score(target, scores))
    error, _ = crossed_error(
        [np.tile(negatives, (3, 1)), np.tile(positives, (3, 1))], np.full(3, roc_auc_score(target, scores))
    )
    assert error**2 == pytest.approx(delong_variance(scores, target))


def test_parts_of_several_classes_move_as_the_metric_does() -> None:
    rng = np.random.default_rng(1)
    target = rng.permutation(np.repeat([0, 1, 2], [30, 20, 40]))
    scores = rng.normal(size=(90, 3)) + np.eye(3)[target]

    def area(weights: np.ndarray) -> float:
        return float(np.mean([roc_auc_score(target == c, scores[:, c], sample_weight=weights) for c in range(3)]))

    parts = auroc_parts(scores, target).strata
    for c in range(3):
        rows = np.flatnonzero(target == c)
        for one, other in ((0, 1), (3, 9), (7, 15)):
            # Let one row count for a little of another of its class: the area moves by the difference of their parts.
            weights = np.ones(90)
            weights[rows[one]] += 1e-4
            weights[rows[other]] -= 1e-4
            moved = (area(weights) - area(np.ones(90))) / 1e-4 * len(rows)
            assert moved == pytest.approx(parts[c][one] - parts[c][other], abs=1e-3)


def crossed(metrics: list[np.ndarray], parts: list[list[RowParts]], higher: bool = True) -> CrossedBounds:
    """Bounds for labels a, b ... from (seeds,) metrics and for each seed its row parts."""
    names = [chr(ord("a") + k) for k in range(len(metrics))]
    cells = pd.DataFrame(np.array(metrics).T, columns=pd.Index(names, name="label")).rename_axis("seed").stack()
    effects = estimate_effects(cells.swaplevel(), ["seed"])
    return CrossedBounds(
        effects, {(name, s): one for name, of in zip(names, parts, strict=True) for s, one in enumerate(of)}, higher
    )


def drawn(rng: np.random.Generator, seeds: int, rows: int, of_seed: float, of_row: float, rest: float) -> CrossedBounds:
    losses = (
        of_row * rng.normal(size=(2, 1, rows)) + of_seed * rng.normal(size=(2, seeds, 1))
        + rest * rng.normal(size=(2, seeds, rows))
    )  # fmt: skip
    return crossed(list(losses.mean(axis=2)), [[mean_parts(row) for row in one] for one in losses])


@pytest.mark.parametrize(
    ("seeds", "rows", "noise"),
    [(10, 60, (0.3, 1, 1)), (5, 200, (0, 1, 0)), (20, 40, (0.5, 0.2, 0)), (8, 80, (0, 0, 1))],
)
def test_intervals_hold_new_rows_and_new_seeds(seeds: int, rows: int, noise: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(seeds)
    inside = []
    for _ in range(400):
        bounds = drawn(rng, seeds, rows, *noise)
        inside.append(bounds.lower("a", "b", 0.025) <= 0 <= -bounds.lower("b", "a", 0.025))
    # Nothing but interaction is the one case that is counted twice before it is taken off.
    assert 0.93 - 0.02 <= np.mean(inside) <= (1.0 if noise == (0, 0, 1) else 0.97 + 0.02)


def test_seeds_that_are_all_alike_are_as_sure_as_one() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2, 80))
    once = stats.ttest_rel(rows[0], rows[1]).confidence_interval(0.95)
    bounds = crossed([np.full(12, one.mean()) for one in rows], [[mean_parts(one)] * 12 for one in rows])
    assert bounds.lower("a", "b", 0.025) == pytest.approx(once.low)
    assert -bounds.lower("b", "a", 0.025) == pytest.approx(once.high)
    assert bounds.p("a", "b") == pytest.approx(stats.ttest_rel(rows[0], rows[1], alternative="greater").pvalue)


def test_direction_single_seeds_and_no_difference() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2, 80)) + np.array([[0.0], [2.0]])
    metrics, parts = [np.full(3, one.mean()) for one in rows], [[mean_parts(one)] * 3 for one in rows]
    assert crossed(metrics, parts).p("b", "a") < 1e-6
    assert crossed(metrics, parts, higher=False).p("a", "b") < 1e-6
    assert crossed(metrics, parts, higher=False).lower("a", "b", 0.01) > 1
    one = crossed([m[:1] for m in metrics], [p[:1] for p in parts])
    assert (one.p("b", "a"), one.lower("b", "a", 0.01)) == (1.0, -math.inf)
    same = crossed([metrics[0]] * 2, [parts[0]] * 2)
    assert (same.p("a", "b"), same.lower("a", "b", 0.01), same.all_equal("a", "b")) == (0.5, 0.0, True)


def test_parts_of_some_of_the_rows_speak_of_all() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(6, 100))
    error, _ = crossed_error([values], values.mean(axis=1) * 0)
    many, _ = crossed_error([values], values.mean(axis=1) * 0, rows=[10_000])
    assert many == pytest.approx(error / 10)
