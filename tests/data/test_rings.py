"""Rings: exact counts, the law of the draw, and the Bayes rule against scipy, scikit-learn and simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, norm
from sklearn.metrics import log_loss, roc_auc_score

from lossbench.data.rings import Rings


def auroc_error(auroc: float, positives: int, negatives: int) -> float:
    """Standard error of an AUROC (Hanley and McNeil 1982), an upper bound for what is needed here."""
    q1, q2 = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    variance = auroc * (1 - auroc) + (positives - 1) * (q1 - auroc**2) + (negatives - 1) * (q2 - auroc**2)
    return float(np.sqrt(variance / (positives * negatives)))


def test_class_counts_are_exact() -> None:
    draw = Rings(positives=7, negatives=93, test_rows=1000).draw()
    assert np.bincount(draw.y).tolist() == [93, 7]
    assert draw.test is not None
    assert np.bincount(draw.test[1]).tolist() == [930, 70]
    default = Rings().draw()
    assert np.bincount(default.y).tolist() == [6000, 200]
    assert default.test is not None
    # 20000 * 200 / 6200 = 645.16
    assert np.bincount(default.test[1]).tolist() == [19355, 645]
    tiny = Rings(test_rows=2).draw()
    assert tiny.test is not None
    assert sorted(tiny.test[1]) == [0, 1]


def test_radius_and_angle_follow_their_laws() -> None:
    draw = Rings(positives=4000, negatives=4000, positive_radius=6, negative_radius=9, spread=0.5).draw()
    radius, angle = np.hypot(*draw.x.T), np.arctan2(draw.x[:, 1], draw.x[:, 0])
    for label, centre in [(1, 6), (0, 9)]:
        assert kstest(radius[draw.y == label], norm(centre, 0.5).cdf).pvalue > 1e-3
        uniform = (angle[draw.y == label] + np.pi) / (2 * np.pi)
        assert kstest(uniform, "uniform").pvalue > 1e-3


def test_every_seed_is_a_draw_of_its_own_and_its_test_rows_another() -> None:
    # as many test rows as others: one stream for both would give the same points twice
    zero, one = (Rings(positives=50, negatives=50, test_rows=100, source_seed=seed).draw() for seed in (0, 1))
    assert zero.test is not None
    assert one.test is not None
    rows = [set(map(tuple, x.tolist())) for x in (zero.x, zero.test[0], one.x, one.test[0])]
    for first in range(4):
        for second in range(first):
            assert rows[first].isdisjoint(rows[second])


def test_source_seed_fixes_the_draw_and_split_seed_the_split() -> None:
    first, second = (Rings(source_seed=4, split_seed=seed, test_rows=100).prepare() for seed in (0, 1))
    assert first.digest == second.digest
    assert first.test is not None
    assert second.test is not None
    assert np.array_equal(first.raw(first.test).round(9), second.raw(second.test).round(9))
    assert not np.array_equal(first.train.index, second.train.index)


def test_the_rows_stand_in_random_order() -> None:
    y = Rings(positives=500, negatives=500).draw().y
    assert 180 < y[:500].sum() < 320


# r may be drawn negative, so a distance has the folded density; scipy's pdf is the independent reference
centres, spreads, sizes = st.floats(0, 12), st.floats(0.2, 5), st.integers(1, 10_000)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(c1=centres, c0=centres, spread=spreads, n1=sizes, n0=sizes)
def test_posterior_is_bayes_rule_on_folded_normals(c1: float, c0: float, spread: float, n1: int, n0: int) -> None:
    rings = Rings(positives=n1, negatives=n0, positive_radius=c1, negative_radius=c0, spread=spread)
    distance = np.linspace(0.01, 13, 27)
    angle = np.linspace(0, 6, 27)
    probs = rings.posterior(np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=1))

    def log_density(centre: float) -> np.ndarray:
        return np.logaddexp(norm.logpdf(distance, centre, spread), norm.logpdf(-distance, centre, spread))

    log_odds = np.log(n1) + log_density(c1) - np.log(n0) - log_density(c0)
    np.testing.assert_allclose(probs[:, 1], 1 / (1 + np.exp(-np.clip(log_odds, -700, 700))), rtol=1e-8, atol=1e-200)
    np.testing.assert_allclose(probs.sum(axis=1), 1, rtol=1e-15)


def test_posterior_is_the_familiar_form_away_from_the_centre() -> None:
    distance = np.linspace(3, 12, 50)
    probs = Rings().posterior(np.stack([np.zeros(50), distance], axis=1))
    log_odds = np.log(200 / 6000) + ((distance - 8) ** 2 - (distance - 5) ** 2) / 2
    np.testing.assert_allclose(np.log(probs[:, 1] / probs[:, 0]), log_odds, rtol=1e-9)


def test_posterior_is_calibrated_where_negative_radii_are_common() -> None:
    rings = Rings(positives=60_000, negatives=90_000, positive_radius=0.5, negative_radius=2, spread=1.5)
    draw = rings.draw()
    probs = rings.posterior(draw.x)[:, 1]
    for low, high in zip(
        np.quantile(probs, np.arange(0, 1, 0.1)), np.quantile(probs, np.arange(0.1, 1.1, 0.1)), strict=True
    ):
        chosen = (probs >= low) & (probs <= high)
        error = np.sqrt(probs[chosen].mean() * (1 - probs[chosen].mean()) / chosen.sum())
        assert abs(draw.y[chosen].mean() - probs[chosen].mean()) < 4 * error
    error = auroc_error(rings.bayes_auroc, 60_000, 90_000)
    assert abs(roc_auc_score(draw.y, probs) - rings.bayes_auroc) < 4 * error


def test_bayes_auroc_of_the_default_rings() -> None:
    rings = Rings()
    assert rings.bayes_auroc == pytest.approx(0.98305, abs=5e-6)
    assert rings.bayes_auroc == pytest.approx(norm.cdf(3 / np.sqrt(2)), abs=1e-12)


def test_the_bayes_rule_reaches_its_ceiling_on_a_large_test_draw() -> None:
    rings = Rings(source_seed=0, positives=5000, negatives=150_000, test_rows=200_000)
    draw = rings.draw()
    assert draw.test is not None
    x, y = draw.test
    auroc = roc_auc_score(y, rings.posterior(x)[:, 1])
    assert abs(auroc - 0.98305) < 4 * auroc_error(0.98305, int(y.sum()), int((1 - y).sum()))


def test_no_score_of_the_distance_beats_the_posterior_in_log_loss() -> None:
    draw = Rings(positives=2000, negatives=20_000, test_rows=0).draw()
    rings = Rings(positives=2000, negatives=20_000)
    probs = rings.posterior(draw.x)[:, 1]
    best = log_loss(draw.y, probs)
    logit = np.log(probs / (1 - probs))
    for changed in (logit + 0.3, logit - 0.3, 1.2 * logit, 0.8 * logit):
        assert log_loss(draw.y, 1 / (1 + np.exp(-changed))) > best


@pytest.mark.parametrize(("c1", "c0"), [(5, 5), (8, 5), (0, 0), (0, 3)])
def test_bayes_auroc_in_special_cases(c1: float, c0: float) -> None:
    rings = Rings(positive_radius=c1, negative_radius=c0)
    if c1 == c0:
        assert rings.bayes_auroc == pytest.approx(0.5)
    else:
        assert rings.bayes_auroc == Rings(positive_radius=c0, negative_radius=c1).bayes_auroc > 0.5


def test_the_dataset_carries_the_posterior_in_original_units() -> None:
    rings = Rings(test_rows=2000)
    dataset = rings.prepare()
    assert dataset.test is not None
    assert dataset.bayes is not None
    assert roc_auc_score(dataset.test.y, dataset.bayes(dataset.raw(dataset.test))[:, 1]) > 0.96


def test_far_out_the_posterior_stays_finite() -> None:
    probs = Rings().posterior(np.array([[1e150, 0.0], [0.0, 0.0]]))
    assert np.isfinite(probs).all()
    assert probs[0].tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"positives": 0}, "Rings needs an integer positives >= 1, got positives=0"),
        ({"negatives": 10.0}, "Rings needs an integer negatives >= 1, got negatives=10.0"),
        ({"positives": True}, "Rings needs an integer positives >= 1, got positives=True"),
        ({"positive_radius": -1}, "Rings needs positive_radius >= 0, got positive_radius=-1"),
        ({"negative_radius": float("inf")}, "Rings needs negative_radius >= 0, got negative_radius=inf"),
        ({"spread": 0}, "Rings needs spread > 0, got spread=0"),
        ({"spread": "1"}, "Rings needs spread > 0, got spread='1'"),
        ({"test_rows": 1}, "Rings needs an integer test_rows >= 2, or 0, got test_rows=1"),
        ({"fold": 2}, "Rings needs test_rows=0 with a fold (a fold is a test split), got fold=2"),
        ({"val": 1.5}, "Rings needs 0 < val < 1, got val=1.5"),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Rings(**arguments)
    assert str(caught.value) == message
