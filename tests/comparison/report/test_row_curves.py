"""What figures over seeds read of recorded predictions, against scikit-learn and plain loops."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, precision_recall_curve, roc_curve

from lossbench.comparison.report.row_curves import BINS, RATES, THRESHOLDS, Predictions, curves_of


def rows(n: int = 300, classes: int = 2, ties: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    target = rng.integers(classes, size=n)
    scores = rng.normal(size=(n, 1 if classes == 2 else classes))
    scores += target[:, None] if classes == 2 else 2 * (target[:, None] == np.arange(classes))
    scores = scores.round(0 if ties else 6)
    if classes == 2:
        positive = 1 / (1 + np.exp(-scores[:, 0]))
        probs = np.stack([1 - positive, positive], axis=1)
    else:
        probs = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    columns = {"run_id": "a", "split": "test", "row": range(n), "target": target}
    columns |= {f"score_{k}": scores[:, k] for k in range(scores.shape[1])}
    columns |= {f"prob_{k}": probs[:, k] for k in range(classes)}
    columns |= {f"posterior_{k}": probs[:, k] ** 2 / (probs**2).sum(axis=1) for k in range(classes)}
    return pd.DataFrame(columns)


def cells(frame: pd.DataFrame, classes: int) -> tuple[np.ndarray, np.ndarray]:
    if classes == 2:
        return frame["target"].to_numpy(), frame["score_0"].to_numpy()
    said = frame[[f"prob_{k}" for k in range(classes)]].to_numpy()
    return (frame["target"].to_numpy()[:, None] == np.arange(classes)).astype(int).ravel(), said.ravel()


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
def test_curves_pass_through_the_points_of_scikit_learn(classes: int, ties: bool) -> None:
    frame = rows(classes=classes, ties=ties)
    found = curves_of(frame, "test")
    positive, said = cells(frame, classes)
    false_rate, true_rate, _ = roc_curve(positive, said, drop_intermediate=False)
    # At a rate where the curve climbs straight up, its top counts.
    expected = [
        max(true_rate[same])
        if (same := np.isclose(false_rate, rate, atol=1e-12)).any()
        else np.interp(rate, false_rate, true_rate)
        for rate in RATES
    ]
    np.testing.assert_allclose(found.true_rate, expected, atol=1e-12)
    precision, recall, _ = precision_recall_curve(positive, said)
    expected = [precision[:-1][recall[:-1] >= rate - 1e-12][-1] for rate in RATES]
    np.testing.assert_allclose(found.precision, expected, atol=1e-12)


def test_f1_at_every_threshold() -> None:
    frame = rows()
    found = curves_of(frame, "test")
    for said, by in (("prob_1", found.f1_link), ("posterior_1", found.f1_posterior)):
        expected = [f1_score(frame["target"], frame[said] > t, zero_division=0) for t in THRESHOLDS]
        np.testing.assert_allclose(by, expected, atol=1e-12)
    assert curves_of(rows(classes=3), "test").f1_link is None


@pytest.mark.parametrize("classes", [2, 3])
def test_reliability_counts_every_row_once(classes: int) -> None:
    frame = rows(classes=classes)
    bins = curves_of(frame, "test").link
    count, said, true = np.zeros(BINS), np.zeros(BINS), np.zeros(BINS)
    for row in frame.to_dict("records"):
        top = 1 if classes == 2 else max(range(classes), key=lambda k: row[f"prob_{k}"])
        p = row[f"prob_{top}"]
        place = min(int(p * BINS), BINS - 1)
        count[place] += 1
        said[place] += p
        true[place] += row["target"] == top
    np.testing.assert_allclose([bins.count, bins.expected, bins.true], [count, said, true], atol=1e-9)


def test_one_class_has_no_ranking_and_broken_scores_nothing() -> None:
    frame = rows()
    assert curves_of(frame.assign(target=0), "test").true_rate is None
    assert curves_of(frame.assign(score_0=np.inf), "test") is None
    assert curves_of(frame, "val") is None
    assert curves_of(pd.DataFrame(), "val") is None


@pytest.mark.parametrize("group", [50, 1000])
def test_runs_are_found_whether_they_share_a_row_group_or_not(group: int) -> None:
    frame = pd.concat([rows(50).assign(run_id=name) for name in "abc"], ignore_index=True)
    frame["score_1"] = np.where(frame["run_id"] == "c", 1.0, np.nan)
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, row_group_size=group)
    predictions = Predictions([buffer.getvalue()])
    assert "a" in predictions
    assert "d" not in predictions
    assert predictions.of("d").empty
    for name in "cab":
        expected = frame[frame["run_id"] == name].dropna(axis="columns").reset_index(drop=True)
        pd.testing.assert_frame_equal(predictions.of(name), expected)
