"""How often the verdicts of a sweep are wrong: simulated sweeps in which no objective differs, or by a known amount.

    .venv/bin/python scripts/bench/calibration.py [--sweeps 400] [--page]

An objective is a nearest-centroid classifier on features of its own, judged by accuracy. All objectives' features have
one distribution, so none is better than another, though on any one table one is; and they share a table's labels and
splits, as the runs of a sweep do. The protocols are those of `comparison.population`:

draws    every seed draws a table and its test rows
splits   every seed splits one table anew, 60 train and validation to 20 test: the corrected resampled t-test
fixed    one table and one split; every seed and objective draws its own training rows from the split's
"""

from __future__ import annotations

import argparse
import itertools
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import ttest_1samp

from lossbench.comparison.corrected_t import CorrectedT
from lossbench.comparison.sign_flip import SignFlip
from lossbench.comparison.verdicts import PairedTest, all_pairs, holm, judge, winners

ROWS, TEST, FEATURES = 160, 40, 2
RATIO = TEST / (ROWS - TEST)
SEEDS, OBJECTIVES = (10, 20, 30), (2, 6, 16)
ROPE = 0.05
POWERS = ((6, 1), (10, 1), (12, 1), (12, 5), (12, 15), (20, 1), (20, 5), (20, 15), (30, 1), (30, 15))
PAGE = Path(__file__).parents[2] / "docs" / "calibration.md"
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


@dataclass(frozen=True)
class Protocol:
    """A simulated protocol, the test that lossbench takes for it, and the one that it must not take."""

    sweep: Sweep
    test: PairedTest
    about: str
    other: PairedTest | None = None


PROTOCOLS = {
    "draws": Protocol(draws, SignFlip(), "Fresh draws per seed, test rows included: sign-flip test, exact"),
    "splits": Protocol(
        splits,
        CorrectedT(RATIO),
        "Repeated splits of one table: corrected resampled t-test, approximate",
        SignFlip(),
    ),
    "fixed": Protocol(fixed, SignFlip(), "One fixed split, for that test set: sign-flip test, exact"),
}


@dataclass(frozen=True)
class Cell:
    """Shares of simulated sweeps with any false verdict; ``other`` by the test that a protocol must not take."""

    verdict: float
    winner: float
    equivalent: float
    other: float | None


def cell(name: str, seeds: int, objectives: int, sweeps: int) -> Cell:
    protocol = PROTOCOLS[name]
    rng = np.random.default_rng([seeds, objectives])
    drawn = [protocol.sweep(rng, seeds, objectives) for _ in range(sweeps)]
    other = protocol.other
    return Cell(
        share(any_false(s, protocol.test) for s in drawn),
        share(any_false_winner(s, protocol.test) for s in drawn),
        share(any_false_equivalent(s, protocol.test, ROPE) for s in drawn),
        None if other is None else share(any_false(s, other) for s in drawn),
    )


def wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def page(
    cells: dict[tuple[str, int, int], Cell], powers: dict[tuple[int, int], tuple[float, float]], sweeps: int
) -> str:
    other = {key: one.other for key, one in cells.items() if one.other is not None}
    two = [value for (_, _, objectives), value in other.items() if objectives == 2]
    chance = 0.05 + 2 * (0.05 * 0.95 / sweeps) ** 0.5
    parts = [
        "# How often is a verdict wrong?",
        wrapped(
            "A verdict is worth what its error is. Here sweeps are simulated in which no objective is better than "
            "another, and in which all are better by a known amount, and are judged by the code that judges real ones."
        ),
        f"```bash\n.venv/bin/python scripts/bench/calibration.py --sweeps {sweeps} --page\n```",
        wrapped(
            "An objective is a nearest-centroid classifier on features of its own, judged by accuracy on 40 rows; 120 "
            "are learnt from. The features of all objectives have one distribution, so none is better than another, "
            "though on any one table one is. They share labels and splits, as the runs of a sweep do."
        ),
        "## Where nothing differs",
        wrapped(
            f"Shares of {sweeps} simulated sweeps with *any* false verdict among all comparisons: any *better* or "
            "*worse*; any objective left out of the set that won, to which all belong; any *equivalent* where every "
            "difference lies exactly on the edge of the region of practical equivalence, its worst case. At most .05 "
            f"is promised, and up to {chance:.3f} is chance. For splits of one table the corrected t-test is "
            "approximate, and no exact test is known; a plain sign-flip test, shown beside it, would be wrong in "
            f"{min(two):.0%} to {max(two):.0%} of sweeps of two objectives and in up to {max(other.values()):.0%} of "
            "larger ones. Exact tests of few seeds stay "
            "below .05, since their p-values come in steps; a 0 says that so few seeds decide nothing at all."
        ),
    ]
    for name, protocol in PROTOCOLS.items():
        headers = ["seeds", "objectives", "false better or worse", "left out of what won", "false equivalent"]
        headers += ["sign-flip would be wrong"] * (protocol.other is not None)
        lines = [f"| {' | '.join(headers)} |", "|" + "---:|" * len(headers)]
        for seeds, objectives in itertools.product(SEEDS, OBJECTIVES):
            one = cells[name, seeds, objectives]
            shares = [one.verdict, one.winner, one.equivalent, *([] if one.other is None else [one.other])]
            lines.append(f"| {seeds} | {objectives} | " + " | ".join(f"{value:.3f}" for value in shares) + " |")
        parts += [f"**{protocol.about}**", "\n".join(lines)]
    lines = ["| seeds | comparisons | sign-flip | paired t | difference |", "|---:|---:|---:|---:|---:|"]
    lines += [
        f"| {n} | {m} | {ours:.3f} | {theirs:.3f} | {ours - theirs:+.3f} |" for (n, m), (ours, theirs) in powers.items()
    ]
    parts += [
        "## Where all differ",
        wrapped(
            "The share of comparisons that find a true difference of 3 sd / sqrt(n), where differences are normal: the "
            f"sign-flip test beside the paired t-test, which is made for exactly that, both by Holm; {sweeps} sweeps a "
            "line. With 12 seeds and 15 comparisons the least p-value that a sign-flip test can have, 2^-11, is still "
            "corrected to .007; with six seeds its steps cost power."
        ),
        "\n".join(lines),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=400, help="simulated sweeps a line (default: 400)")
    parser.add_argument("--page", action="store_true", help="write docs/calibration.md")
    given = parser.parse_args()
    with ProcessPoolExecutor() as pool:
        # The largest first, so that no process is left with one at the end.
        keys = sorted(itertools.product(PROTOCOLS, SEEDS, OBJECTIVES), key=lambda key: -key[1] * key[2])
        cells = {key: pool.submit(cell, *key, given.sweeps) for key in keys}
        powers = {key: pool.submit(power, SignFlip(), *key, 3 / key[0] ** 0.5, given.sweeps) for key in POWERS}
        text = page(
            {key: found.result() for key, found in cells.items()},
            {key: found.result() for key, found in powers.items()},
            given.sweeps,
        )
    if given.page:
        PAGE.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
