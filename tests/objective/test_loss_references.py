"""Values and gradients of every loss in float64 against formulas written out in NumPy, loop by loop.

The references take complex scores: the imaginary part of f(s + i h), h = 1e-30, over h is the gradient to the last
digit, without autograd and without a difference quotient.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from scipy.optimize import brentq

from lossbench.objective.losses.focus import Focal
from lossbench.objective.prediction import Prediction
from lossbench.task import Task

CONF = Path(__file__).parents[2] / "conf" / "loss"
TASKS = {
    "two": Task(3, ("negative", "positive"), (970, 30)),
    "four": Task(3, ("a", "b", "c", "d"), (40, 30, 20, 10)),
}
N = 12
STEP = 1e-30


# --- pieces, for complex numbers -------------------------------------------------------------------------------


def logits(row):
    return np.array([0, row[0]]) if len(row) == 1 else row


def softmax(z):
    e = np.exp(z - z.real.max())
    return e / e.sum()


def sigmoid(s):
    return 1 / (1 + np.exp(-s))


def positive(x):
    return x if x.real > 0 else 0 * x


def ce(z, y):
    return -np.log(softmax(z)[y])


def signs(row, y):
    """Yield the margin yt s of each score."""
    for k, s in enumerate(row):
        speaks_for = 1 if len(row) == 1 else k
        yield s if y == speaks_for else -s


def per_row(function):
    """Lift f(z, y, counts) of logits to batches."""
    return lambda scores, target, counts: np.array(
        [function(logits(row), y, counts) for row, y in zip(scores, target, strict=True)]
    )


def per_margin(function):
    """Lift f(margin yt s) to batches, mean over columns."""
    return lambda scores, target, counts: np.array(
        [np.mean([function(m) for m in signs(row, y)]) for row, y in zip(scores, target, strict=True)]
    )


def per_column(function):
    """Lift f(scores (N,), 0/1 (N,)) to the mean over one-vs-rest columns."""

    def mean(scores, target, counts):
        n = scores.shape[1]
        labels = [1] if n == 1 else range(n)
        return np.mean([function(scores[:, k], (target == label) * 1) for k, label in enumerate(labels)])

    return mean


def pooled(function):
    """Lift f(scores, 0/1) to all columns ranked together."""

    def together(scores, target, counts):
        labels = [1] if scores.shape[1] == 1 else range(scores.shape[1])
        own = np.array([[y == label for label in labels] for y in target]) * 1
        return function(scores.ravel(), own.ravel())

    return together


def per_prob_column(function):
    """Lift f(probs (N,), 0/1 (N,)): the positive class of two, else every class."""

    def mean(scores, target, counts):
        probs = np.array([softmax(logits(row)) for row in scores])
        labels = [1] if scores.shape[1] == 1 else range(scores.shape[1])
        return np.mean([function(probs[:, k], (target == k) * 1) for k in labels])

    return mean


# --- the losses ------------------------------------------------------------------------------------------------


def label_smoothed(e):
    return lambda z, y, n: (1 - e) * ce(z, y) + e / len(z) * sum(ce(z, k) for k in range(len(z)))


def focal(gamma, alpha=None):
    return lambda z, y, n: (1 if alpha is None else alpha[y]) * (1 - softmax(z)[y]) ** gamma * ce(z, y)


def dual_focal(z, y, n):
    p = softmax(z)
    lower = [q for q in p if q.real < p[y].real]
    rival = max(lower, key=lambda q: q.real) if lower else 0
    return (1 - p[y] + rival) ** 5 * ce(z, y)


def flsd53(z, y, n):
    p = softmax(z)[y]
    return (1 - p) ** (5 if p.real < 0.2 else 3) * -np.log(p)


def asymmetric(m, own):
    p = sigmoid(m if own else -m)
    if own:
        return -(1 - p) * np.log(p)
    shifted = positive(p - 0.05)
    return -(shifted**4) * np.log(1 - shifted)


def asymmetric_rows(scores, target, counts):
    labels = [1] if scores.shape[1] == 1 else range(scores.shape[1])
    return np.array(
        [
            np.mean([asymmetric(s if y == k else -s, y == k) for s, k in zip(row, labels, strict=True)])
            for row, y in zip(scores, target, strict=True)
        ]
    )


def asl_single(z, y, n):
    p, k = softmax(z), len(z)
    return sum(
        -(0.9 * (j == y) + 0.1 / k) * ((1 - p[j]) ** 0.5 if j == y else p[j] ** 4) * np.log(p[j]) for j in range(k)
    )


def ldam(scale):
    def row(z, y, n):
        margins = 0.5 * (np.array(n) / min(n)) ** -0.25
        z = z.copy()
        z[y] -= margins[y]
        return ce(scale * z, y)

    return row


def vector_scaling(z, y, n):
    n = np.array(n)
    return ce(z * (n / n.max()) ** 0.3 + np.log(n / n.sum()), y)


def tempered_softmax(z, t):
    def exp_t(x):
        return (1 + (1 - t) * x) ** (1 / (1 - t))

    real = z.real
    shift = brentq(lambda c: exp_t(real - c).sum() - 1, real.max(), real.max() + 60, xtol=1e-15)
    for _ in range(4):  # Newton carries the imaginary part
        e = exp_t(z - shift)
        shift = shift + (e.sum() - 1) / (e**t).sum()
    return exp_t(z - shift)


def bi_tempered(t1, t2):
    def row(z, y, n):
        p = tempered_softmax(z, t2)
        return sum(
            (j == y) * (0 - (p[j] ** (1 - t1) - 1) / (1 - t1)) - ((j == y) - p[j] ** (2 - t1)) / (2 - t1)
            for j in range(len(z))
        )

    return row


def sparsemax(z, y, n):
    tau = brentq(lambda c: np.maximum(z.real - c, 0).sum() - 1, z.real.min() - 1, z.real.max())
    support = z[z.real > tau]
    tau = (support.sum() - 1) / len(support)
    return (support**2 - tau**2).sum() / 2 + 0.5 - z[y]


def distance(function):
    def row(z, y, n):
        off = softmax(z)
        off[y] = 1 - off[y]  # all in (0, 1)
        return np.mean([function(d) for d in off])

    return row


def multi_margin(p):
    return lambda z, y, n: sum(positive(1 - z[y] + z[k]) ** p for k in range(len(z)) if k != y) / len(z)


def counts_of(p, y):
    return (p * y).sum(), (p * (1 - y)).sum(), ((1 - p) * y).sum(), ((1 - p) * (1 - y)).sum()


def soft_f1(p, y):
    tp, fp, fn, _ = counts_of(p, y)
    return 1 - 2 * tp / (2 * tp + fp + fn)


def tversky(p, y):
    tp, fp, fn, _ = counts_of(p, y)
    return 1 - tp / (tp + 0.3 * fp + 0.7 * fn)


def mcc(scores, target, counts):
    probs = np.array([softmax(logits(row)) for row in scores])
    k = probs.shape[1]
    if k == 2:
        tp, fp, fn, tn = counts_of(probs[:, 1], target)
        return 1 - (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    confusion = np.array([[probs[target == true, said].sum() for said in range(k)] for true in range(k)])
    rows, columns, total = confusion.sum(axis=1), confusion.sum(axis=0), confusion.sum()
    above = np.trace(confusion) * total - rows @ columns
    return 1 - above / np.sqrt((total**2 - columns @ columns) * (total**2 - rows @ rows))


def pairwise(phi):
    def column(s, y):
        return np.mean([phi(i - j) for i in s[y == 1] for j in s[y == 0]])

    return column


def aucm(s, y):
    a, b, alpha = 0.3, 0.1, 0.4
    h = sigmoid(s)
    pos, neg = h[y == 1], h[y == 0]
    near = ((pos - a) ** 2).mean() + ((neg - b) ** 2).mean()
    return near + 2 * alpha * (1 + neg.mean() - pos.mean()) - alpha**2


def average_precision(temperature):
    def column(s, y):
        terms = []
        for i in np.flatnonzero(y):
            g = sigmoid((s - s[i]) / temperature)
            others = np.arange(len(s)) != i
            terms.append((1 + g[others & (y == 1)].sum()) / (1 + g[others].sum()))
        return 1 - np.mean(terms)

    return column


def cosines(row, scale):
    return np.array([-row[0], row[0]]) / 2 / scale if len(row) == 1 else row / scale


def cosface(scores, target, counts):
    values = []
    for row, y in zip(scores, target, strict=True):
        c = cosines(row, 64)
        c[y] -= 0.35
        values.append(ce(64 * c, y))
    return np.array(values)


def arcface(scores, target, counts):
    values = []
    for row, y in zip(scores, target, strict=True):
        c = cosines(row, 64)
        c[y] = np.cos(np.arccos(c[y]) + 28.6 * np.pi / 180)
        values.append(ce(64 * c, y))
    return np.array(values)


def vscore(smoothing, squared):
    def column(p, y):
        sizes = (p**2 + y).sum() if squared else (p + y).sum()
        return 1 - (2 * (p * y).sum() + smoothing) / (sizes + smoothing)

    return column


def bend(at):
    return lambda d: d**2 / (2 * at) if d.real < at else d - at / 2


CASES = {
    "cross_entropy": [({}, per_row(label_smoothed(0))), ({"label_smoothing": 0.1}, per_row(label_smoothed(0.1)))],
    "nll": [({}, per_row(label_smoothed(0)))],
    "bce": [({}, per_margin(lambda m: np.log(1 + np.exp(-m))))],
    "bce_with_logits": [({}, per_margin(lambda m: np.log(1 + np.exp(-m))))],
    "soft_margin": [({}, per_margin(lambda m: np.log(1 + np.exp(-m))))],
    "mse": [({}, per_row(distance(lambda d: d**2)))],
    "l1": [({}, per_row(distance(lambda d: d)))],
    "smooth_l1": [({"beta": b}, per_row(distance(bend(b)))) for b in (1.0, 0.3)],
    "huber": [({"delta": b}, per_row(distance(lambda d, b=b: b * bend(b)(d)))) for b in (1.0, 0.3)],
    "brier": [({}, per_row(lambda z, y, n: distance(lambda d: d**2)(z, y, n) * (1 if len(z) == 2 else len(z))))],
    "cosine_similarity": [({}, per_row(lambda z, y, n: 1 - softmax(z)[y] / np.sqrt((softmax(z) ** 2).sum())))],
    "multi_margin": [({"p": p}, per_row(multi_margin(p))) for p in (1, 2)],
    "focal": [
        ({}, per_row(focal(2))),
        ({"gamma": 0.5}, per_row(focal(0.5))),
    ],
    "dual_focal": [({}, per_row(dual_focal))],
    "focal_flsd53": [({}, per_row(flsd53))],
    "asymmetric": [({}, asymmetric_rows)],
    "asymmetric_single_label": [({"gamma_pos": 0.5}, per_row(asl_single))],
    "poly1": [({"epsilon": e}, per_row(lambda z, y, n, e=e: ce(z, y) + e * (1 - softmax(z)[y]))) for e in (1.0, -0.5)],
    "bi_tempered": [({}, per_row(bi_tempered(0.8, 1.4))), ({"t1": 0.3, "t2": 3.0}, per_row(bi_tempered(0.3, 3.0)))],
    "sparsemax": [({}, per_row(sparsemax))],
    "balanced_softmax": [({}, per_row(lambda z, y, n: ce(z + np.log(n), y)))],
    "logit_adjusted": [
        ({"tau": t}, per_row(lambda z, y, n, t=t: ce(z + t * np.log(np.array(n) / sum(n)), y))) for t in (1.0, 1.7)
    ],
    "ldam": [({"scale": s}, per_row(ldam(s))) for s in (1.0, 30.0)],
    "vector_scaling": [({}, per_row(vector_scaling))],
    "generalized_cross_entropy": [({}, per_row(lambda z, y, n: (1 - softmax(z)[y] ** 0.7) / 0.7))],
    "symmetric_cross_entropy": [
        (
            {},
            per_row(
                lambda z, y, n: 0.1 * ce(z, y) - sum(softmax(z)[k] * np.log(1e-4) for k in range(len(z)) if k != y)
            ),
        )
    ],
    "normalized_cross_entropy": [({}, per_row(lambda z, y, n: ce(z, y) / sum(ce(z, k) for k in range(len(z)))))],
    "hinge": [({"margin": a}, per_margin(lambda m, a=a: positive(a - m))) for a in (1.0, 0.5)],
    "squared_hinge": [({"margin": a}, per_margin(lambda m, a=a: positive(a - m) ** 2)) for a in (1.0, 0.5)],
    "exponential": [({}, per_margin(lambda m: np.exp(-m)))],
    "soft_f1": [({}, per_prob_column(soft_f1))],
    "dice": [
        ({"smoothing": s, "squared": q}, per_prob_column(vscore(s, q)))
        for s, q in ((0.0, False), (1.0, False), (0.5, True))
    ],
    "tversky": [({}, per_prob_column(tversky))],
    "focal_tversky": [({}, per_prob_column(lambda p, y: tversky(p, y) ** 0.75))],
    "mcc": [({}, mcc)],
    "pairwise_auc": [
        ({"surrogate": "squared"}, pooled(pairwise(lambda d: (1 - d) ** 2))),
        ({"surrogate": "hinge"}, pooled(pairwise(lambda d: positive(1 - d)))),
        ({"surrogate": "squared_hinge", "margin": 0.6}, pooled(pairwise(lambda d: positive(0.6 - d) ** 2))),
        ({"surrogate": "logistic"}, pooled(pairwise(lambda d: np.log(1 + np.exp(-d))))),
        ({"surrogate": "squared", "average": "macro"}, per_column(pairwise(lambda d: (1 - d) ** 2))),
        ({"average": "macro"}, per_column(pairwise(lambda d: positive(1 - d) ** 2))),
        ({"surrogate": "logistic", "average": "macro"}, per_column(pairwise(lambda d: np.log(1 + np.exp(-d))))),
    ],
    "aucm": [({}, per_column(aucm))],
    "average_precision": [
        ({}, pooled(average_precision(0.1))),
        ({"temperature": 1.0, "average": "macro"}, per_column(average_precision(1.0))),
    ],
    "normalized_softmax": [({}, per_row(label_smoothed(0)))],
    "cosface": [({}, cosface)],
    "arcface": [({}, arcface)],
    "adaptive_log_softmax": [({}, per_row(label_smoothed(0)))],
}


def cases():
    for name, settings in CASES.items():
        for changes, reference in settings:
            for task_name, task in TASKS.items():
                label = "-".join([name, *(f"{k}={v}" for k, v in changes.items()), task_name])
                yield pytest.param(name, changes, reference, task, id=label)


@pytest.mark.parametrize(("name", "changes", "reference", "task"), list(cases()))
def test_value_and_gradient(name, changes, reference, task):
    config = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
    loss = instantiate({**config, **changes}, _convert_="all")
    loss.bind(task)
    if name == "aucm":
        for parameter, start in (("a", 0.3), ("b", 0.1), ("alpha", 0.4)):
            torch.nn.init.constant_(loss.get_parameter(parameter), start)
    random = np.random.default_rng(len(name))
    scores = 1.5 * random.standard_normal((N, task.n_scores))
    target = np.arange(N) % task.n_classes if loss.pointwise else (np.arange(N) ** 2 // 7) % task.n_classes
    leaf = torch.tensor(scores, requires_grad=True)
    value = loss(Prediction(leaf, loss.link), torch.tensor(target))
    torch.atleast_1d(value).mean().backward()
    np.testing.assert_allclose(
        value.detach(), reference(scores + 0j, target, task.class_counts).real, rtol=1e-9, atol=1e-9
    )
    slopes = np.empty_like(scores)
    for place in np.ndindex(*scores.shape):
        moved = scores.astype(complex)
        moved[place] += 1j * STEP
        slopes[place] = np.mean(reference(moved, target, task.class_counts)).imag / STEP
    np.testing.assert_allclose(leaf.grad, slopes, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_weighted_focal(task):
    alpha = [0.1, 0.2, 0.3, 0.4] if task.n_classes == 4 else [0.25, 0.75]
    loss = Focal(gamma=1.5, alpha=alpha if task.n_classes == 4 else 0.75)
    loss.bind(task)
    scores = np.random.default_rng(0).standard_normal((N, task.n_scores))
    target = np.arange(N) % task.n_classes
    value = loss(Prediction(torch.tensor(scores), loss.link), torch.tensor(target))
    np.testing.assert_allclose(value, per_row(focal(1.5, alpha))(scores + 0j, target, None).real, rtol=1e-12)
