"""How often the verdicts of a sweep are wrong: simulated sweeps in which no objective differs, or by a known amount.

    .venv/bin/python scripts/bench/calibration.py [--sweeps 400]

An objective is a nearest-centroid classifier on features of its own, judged by accuracy. All objectives' features have
one distribution, so none is better than another, though on any one table one is; and they share a table's labels and
splits, as the runs of a sweep do. The protocols are those of `comparison.population`:

draws    every seed draws a table and its test rows
splits   every seed splits one table anew, 60 train and validation to 20 test: the corrected resampled t-test
fixed    one table and one split; every seed and objective draws its own training rows from the split's
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from scipy.stats import ttest_1samp

from lossbench.comparison.corrected_t import CorrectedT
from lossbench.comparison.sign_flip import SignFlip
from lossbench.comparison.statistics import PairedTest, all_pairs, holm, judge, winners

ROWS, TEST, FEATURES = 160, 40, 2
RATIO = TEST / (ROWS - TEST)
Sweep = Callable[[np.random.Generator, int, int], np.ndarray]


def table(rng: np.random.Generator, rows: int, objectives: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features (rows, objectives, FEATURES), shifted by the class, and labels (rows,)."""
    y = rng.permutation(rows) % 2
    return rng.normal(size=(rows, objectives, FEATURES)) + 0.6 * (2 * y[:, None, None] - 1), y


def accuracy(x: np.ndarray, y: np.ndarray, weights: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return the test accuracy of each objective; weights (rows, objectives) say how often a row is trained on."""
    sums = [np.einsum("no,nof->of", weights * (y == c)[:, None], x) for c in (0, 1)]
    low, high = (s / (weights * (y == c)[:, None]).sum(0)[:, None] for c, s in enumerate(sums))
    says = ((x[test] - (low + high) / 2) * (high - low)).sum(axis=2) > 0
    return (says == (y[test] == 1)[:, None]).mean(axis=0)


def draws(rng: np.random.Generator, seeds: int, objectives: int) -> np.ndarray:
    def one() -> np.ndarray:
        x, y = table(rng, ROWS, objectives)
        test = np.arange(ROWS) < TEST
        return accuracy(x, y, np.repeat(~test[:, None], objectives, 1).astype(float), test)

    return np.array([one() for _ in range(seeds)])


def splits(rng: np.random.Generator, seeds: int, objectives: int) -> np.ndarray:
    x, y = table(rng, ROWS, objectives)

    def one() -> np.ndarray:
        test = rng.permutation(ROWS) < TEST
        return accuracy(x, y, np.repeat(~test[:, None], objectives, 1).astype(float), test)

    return np.array([one() for _ in range(seeds)])


def fixed(rng: np.random.Generator, seeds: int, objectives: int) -> np.ndarray:
    """Objectives learn from the same features: on this test set, none is better in expectation over seeds."""
    x, y = table(rng, ROWS, 1)
    x = np.repeat(x, objectives, axis=1)
    test = np.arange(ROWS) < TEST

    def one() -> np.ndarray:
        weights = rng.multinomial(30, ~test / (~test).sum(), size=objectives).T.astype(float)
        return accuracy(x, y, weights + 1e-9, test)

    return np.array([one() for _ in range(seeds)])


def gaps(scores: np.ndarray) -> dict[str, np.ndarray]:
    """Return the differences to the first objective."""
    return {str(k): scores[:, k] - scores[:, 0] for k in range(1, scores.shape[1])}


def any_false(scores: np.ndarray, test: PairedTest) -> bool:
    """Is anything called better or worse in a sweep where nothing is?"""
    return any(found.verdict in ("better", "worse") for found in judge(gaps(scores), test, rope=None).values())


def any_false_winner(scores: np.ndarray, test: PairedTest) -> bool:
    """Is any objective left out of the set that won, where all belong to it?"""
    names = [str(k) for k in range(scores.shape[1])]
    pairs = {(a, b): scores[:, int(a)] - scores[:, int(b)] for a, b in all_pairs(names)}
    return len(winners(pairs, names[int(scores.mean(0).argmax())], test)) < len(names)


def any_false_equivalent(scores: np.ndarray, test: PairedTest, rope: float) -> bool:
    """Is anything called equivalent where every objective lies exactly on the edge of the region?"""
    shifted = {name: gap + rope for name, gap in gaps(scores).items()}
    return any(found.verdict == "equivalent" for found in judge(shifted, test, rope=rope).values())


def share(found: Iterator[bool]) -> float:
    return float(np.mean(list(found)))


def power(test: PairedTest, n: int, m: int, effect: float, sweeps: int) -> tuple[float, float]:
    """Return the power of a verdict and of the paired t-test, Holm over m comparisons that all have the effect."""
    rng = np.random.default_rng(n * 1000 + m)
    ours, theirs = [], []
    for _ in range(sweeps):
        found = {str(k): rng.normal(effect, 1.0, size=n) for k in range(m)}
        ours.append(np.mean([one.verdict == "better" for one in judge(found, test, rope=None).values()]))
        theirs.append(np.mean(np.array(holm([ttest_1samp(gap, 0).pvalue for gap in found.values()])) <= 0.05))
    return float(np.mean(ours)), float(np.mean(theirs))


def report(name: str, sweep: Sweep, test: PairedTest, sweeps: int, others: dict[str, PairedTest]) -> None:
    for seeds in (10, 20, 30):
        for objectives in (2, 6, 16):
            rng = np.random.default_rng([seeds, objectives])
            drawn = [sweep(rng, seeds, objectives) for _ in range(sweeps)]
            line = f"{name:7}{seeds:3} seeds{objectives:3} objectives   false better/worse"
            line += f" {share(any_false(s, test) for s in drawn):.3f}"
            line += f"   left out of what won {share(any_false_winner(s, test) for s in drawn):.3f}"
            line += f"   false equivalent {share(any_false_equivalent(s, test, 0.05) for s in drawn):.3f}"
            for label, other in others.items():
                line += f"   ({label} {share(any_false(s, other) for s in drawn):.3f})"
            print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=400, help="simulated sweeps a line (default: 400)")
    sweeps = parser.parse_args().sweeps
    print(f"shares of {sweeps} sweeps; 0.05 is promised, and {0.05 + 2 * (0.05 * 0.95 / sweeps) ** 0.5:.3f} is chance")
    report("draws", draws, SignFlip(), sweeps, {})
    report("splits", splits, CorrectedT(RATIO), sweeps, {"sign-flip would be": SignFlip()})
    report("fixed", fixed, SignFlip(), sweeps, {})
    print("power at an effect of sd / sqrt(n) times 3, beside the paired t-test with Holm")
    for n, m in ((6, 1), (10, 1), (12, 1), (12, 5), (12, 15), (20, 1), (20, 5), (20, 15), (30, 15)):
        ours, theirs = power(SignFlip(), n, m, 3 / n**0.5, sweeps)
        print(f"sign-flip{n:3} seeds{m:3} comparisons   {ours:.3f}   paired t {theirs:.3f}", flush=True)


if __name__ == "__main__":
    main()
