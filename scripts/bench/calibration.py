"""How often a sweep's statements are wrong: sweeps with a known truth, judged by the code that judges real ones.

    .venv/bin/python scripts/bench/calibration.py [--sweeps 200] [--page]

Each scenario draws a table of values (a row a seed, a column an objective) with known effects, and the test that
`comparison.population` takes for its kind. Counted are sweeps with *any* wrong statement of a kind.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import ttest_1samp

from lossbench.comparison.best_set import find_best
from lossbench.comparison.bounds import Bounds, PairedBounds
from lossbench.comparison.corrected_t import CorrectedT
from lossbench.comparison.crossed import CrossedBounds, RowParts, auroc_parts, mean_parts
from lossbench.comparison.effects import estimate_effects
from lossbench.comparison.looks import spend
from lossbench.comparison.sign_flip import SignFlip
from lossbench.comparison.words import Statement, compare_with_baseline

Floats = NDArray[np.float64]
ROWS, TEST, FEATURES = 160, 40, 2
RATIO = TEST / (ROWS - TEST)
REGION = 0.5
PAGE = Path(__file__).parents[2] / "docs" / "calibration.md"


@dataclass(frozen=True)
class Drawn:
    """A simulated sweep.

    Parameters
    ----------
    cells
        (seeds, objectives), NaN where a run failed; the first objective is the baseline.
    truth
        (objectives,) the effects that are to be found; more is better.
    parts
        By objective and seed the row parts, where the judged rows are shared.
    """

    cells: Floats
    truth: Floats
    parts: dict[tuple[int, int], RowParts] = field(default_factory=dict)


@dataclass(frozen=True)
class Wrong:
    """What was wrong about one sweep.

    Parameters
    ----------
    word
        Any objective was called better or worse that is not.
    equivalent
        Any was called equivalent whose effect differs by the region's half-width or more.
    interval
        Any interval missed its truth.
    best
        The best was left out of its set (where several are the best: the first of them).
    regret
        Any choice costs more than its bound.
    members
        Share of objectives in the set.
    """

    word: bool
    equivalent: bool
    interval: bool
    best: bool
    regret: bool
    members: float


Draw = Callable[[np.random.Generator, int, int], Drawn]


def label(number: int) -> str:
    return f"o{number:03d}"


def bounds_of(drawn: Drawn, kind: str) -> Bounds:
    names = [label(k) for k in range(drawn.cells.shape[1])]
    values = pd.DataFrame(drawn.cells, columns=pd.Index(names, name="label")).rename_axis("seed").stack()
    effects = estimate_effects(values, ["seed"])
    if kind == "crossed":
        return CrossedBounds(effects, {(label(k), seed): one for (k, seed), one in drawn.parts.items()})
    return PairedBounds(effects, CorrectedT(RATIO) if kind == "splits" else SignFlip())


def check(drawn: Drawn, kind: str, region: float = REGION, alpha: float = 0.05) -> Wrong:
    """Make all statements about a sweep and compare them with the truth."""
    bounds = bounds_of(drawn, kind)
    effects = bounds.effects
    words = compare_with_baseline(effects, bounds, label(0), higher_is_better=True, region=region, alpha=alpha)
    best = find_best(effects, bounds, higher_is_better=True, alpha=alpha)
    truth = {label(k): value for k, value in enumerate(drawn.truth)}
    top = max(truth[name] for name in effects.labels)
    first = next(name for name in effects.labels if truth[name] == top)
    gaps = {name: truth[name] - truth[label(0)] for name in effects.labels}
    others = [name for name in effects.labels if name != label(0)]
    return Wrong(
        any(_wrong_word(words[name], gaps[name]) for name in others),
        any(words[name].word == "equivalent" and abs(gaps[name]) >= region - 1e-12 for name in others),
        any(not words[name].low - 1e-9 <= gaps[name] <= words[name].high + 1e-9 for name in others),
        first not in best.members,
        any(top - truth[name] > best.regret[name] + 1e-9 for name in effects.labels),
        len(best.members) / len(effects.labels),
    )


def _wrong_word(one: Statement, gap: float) -> bool:
    return (one.word == "better" and gap <= 0) or (one.word == "worse" and gap >= 0)


# Scenarios. Differences have a standard deviation of about 1.4.


def alike(rng: np.random.Generator, seeds: int, objectives: int) -> Drawn:
    cells = 3 * rng.normal(size=(seeds, 1)) + rng.normal(size=(seeds, objectives))
    return Drawn(cells, np.zeros(objectives))


def spread(rng: np.random.Generator, seeds: int, objectives: int) -> Drawn:
    truth = np.linspace(0, 3, objectives) ** 2 / 3
    rng.shuffle(truth)
    return Drawn(alike(rng, seeds, objectives).cells + truth, truth)


def edge(rng: np.random.Generator, seeds: int, objectives: int) -> Drawn:
    """Every objective differs from the baseline by exactly the half-width of the region."""
    truth = np.where(np.arange(objectives) > 0, REGION, 0.0)
    cells = 3 * rng.normal(size=(seeds, 1)) + 0.2 * rng.normal(size=(seeds, objectives))
    return Drawn(cells + truth, truth)


def skewed(rng: np.random.Generator, seeds: int, objectives: int) -> Drawn:
    """Each objective's noise is skewed the same way, so that differences are symmetric."""
    return Drawn(rng.exponential(size=(seeds, objectives)), np.zeros(objectives))


def one_skewed(rng: np.random.Generator, seeds: int, objectives: int) -> Drawn:
    """The baseline's noise is skewed and the others' is not: differences are not symmetric."""
    cells = 0.3 * rng.normal(size=(seeds, objectives))
    cells[:, 0] = 1 - rng.exponential(size=seeds)
    return Drawn(cells, np.zeros(objectives))


def collapsing(rng: np.random.Generator, seeds: int, objectives: int) -> Drawn:
    """The second objective is a little better on 19 seeds of 20 and collapses on one; its mean is the same."""
    cells = 0.2 * rng.normal(size=(seeds, objectives))
    cells[:, 1] += np.where(rng.random(seeds) < 0.05, -3.8, 0.2)
    return Drawn(cells, np.zeros(objectives))


def missing_anywhere(rng: np.random.Generator, seeds: int, objectives: int) -> Drawn:
    drawn = spread(rng, seeds, objectives)
    return Drawn(np.where(rng.random(drawn.cells.shape) < 0.15, np.nan, drawn.cells), drawn.truth)


def failing_where_it_is_hard(rng: np.random.Generator, seeds: int, objectives: int) -> Drawn:
    """The second half of the objectives fails on the hardest third of the seeds."""
    drawn = spread(rng, seeds, objectives)
    hard = drawn.cells[:, :1] < np.quantile(drawn.cells[:, :1], 1 / 3)
    fails = np.arange(objectives) >= objectives / 2
    return Drawn(np.where(hard & fails, np.nan, drawn.cells), drawn.truth)


def datasets(rng: np.random.Generator, seeds: int, objectives: int) -> Drawn:
    """A row a dataset: objectives differ on each, some datasets more than others; on average they do not."""
    scale = rng.choice([0.3, 1.0, 3.0], size=(seeds, 1))
    return Drawn(scale * rng.normal(size=(seeds, objectives)), np.zeros(objectives))


def table(rng: np.random.Generator, rows: int, objectives: int) -> tuple[Floats, NDArray[np.int64]]:
    """Return features (rows, objectives, FEATURES), shifted by the class, and labels (rows,)."""
    y = rng.permutation(rows) % 2
    return rng.normal(size=(rows, objectives, FEATURES)) + 0.6 * (2 * y[:, None, None] - 1), y


def right(x: Floats, y: NDArray[np.int64], weights: Floats, test: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return (test rows, objectives): whether nearest centroids, by rows' weights (rows, objectives), are right."""
    sums = [np.einsum("no,nof->of", weights * (y == c)[:, None], x) for c in (0, 1)]
    low, high = (s / (weights * (y == c)[:, None]).sum(0)[:, None] for c, s in enumerate(sums))
    says = ((x[test] - (low + high) / 2) * (high - low)).sum(axis=2) > 0
    return says == (y[test] == 1)[:, None]


def splits(rng: np.random.Generator, seeds: int, objectives: int) -> Drawn:
    """One table of 160 rows, split anew by each seed; each objective has features of its own, of one distribution."""
    x, y = table(rng, ROWS, objectives)
    cells = []
    for _ in range(seeds):
        test = rng.permutation(ROWS) < TEST
        weights = np.repeat(~test[:, None], objectives, 1).astype(float)
        cells.append(right(x, y, weights, test).mean(axis=0))
    return Drawn(np.array(cells), np.zeros(objectives))


def _shared(rng: np.random.Generator, seeds: int, objectives: int, noise: float) -> Drawn:
    """AUROC of scores on one set of 80 rows, whose noise is partly the row's and partly the seed's."""
    target = np.arange(80) % 2
    of_rows = rng.normal(size=(objectives, 1, 80))
    scores = of_rows + noise * rng.normal(size=(objectives, seeds, 80)) + 1.5 * target
    parts = {(k, s): auroc_parts(scores[k, s], target) for k in range(objectives) for s in range(seeds)}
    cells = np.array([[parts[k, s].strata[1].mean() for k in range(objectives)] for s in range(seeds)])
    return Drawn(cells, np.zeros(objectives), parts)


def shared_rows(rng: np.random.Generator, seeds: int, objectives: int) -> Drawn:
    return _shared(rng, seeds, objectives, 0.7)


def shared_rows_convex(rng: np.random.Generator, seeds: int, objectives: int) -> Drawn:
    return _shared(rng, seeds, objectives, 0.0)


def shared_rows_mean(rng: np.random.Generator, seeds: int, objectives: int) -> Drawn:
    """A loss by row, of 60 shared rows."""
    values = rng.normal(size=(objectives, 1, 60)) + 0.3 * rng.normal(size=(objectives, seeds, 1))
    values = values + 0.7 * rng.normal(size=(objectives, seeds, 60))
    parts = {(k, s): mean_parts(values[k, s]) for k in range(objectives) for s in range(seeds)}
    return Drawn(values.mean(axis=2).T, np.zeros(objectives), parts)


@dataclass(frozen=True)
class Scenario:
    """A way to draw sweeps, the test that judges them, the sizes that are tried, and whether its assumptions hold."""

    about: str
    draw: Draw
    kind: str
    sizes: Sequence[tuple[int, int]]
    holds: bool = True


_SIZES = ((3, 2), (10, 2), (10, 12), (20, 6), (20, 43), (40, 12))
SCENARIOS = {
    "alike": Scenario("Fresh draws, all objectives alike", alike, "draws", _SIZES),
    "spread": Scenario("Fresh draws, effects from 0 to 3", spread, "draws", _SIZES),
    "edge": Scenario("Fresh draws, all at the edge of the region", edge, "draws", ((10, 2), (12, 12), (20, 6))),
    "skewed": Scenario("Noise of all objectives skewed alike", skewed, "draws", ((10, 2), (20, 6), (40, 12))),
    "missing": Scenario("Runs missing at random, 15%", missing_anywhere, "draws", ((10, 4), (20, 6), (20, 12))),
    "hard": Scenario("Half of the objectives fail on the hardest third", failing_where_it_is_hard, "draws",
        ((10, 4), (20, 6), (40, 12))),
    "datasets": Scenario("Several datasets, a seed a dataset", datasets, "datasets", ((8, 2), (14, 4), (30, 12))),
    "splits": Scenario("Repeated splits of one table (approximate)", splits, "splits", ((10, 2), (20, 6), (30, 16))),
    "shared": Scenario("Shared rows, AUROC (approximate)", shared_rows, "crossed", ((5, 2), (12, 6), (20, 12))),
    "convex": Scenario("Shared rows, seeds all alike (approximate)", shared_rows_convex, "crossed", ((12, 2), (12, 6))),
    "shared_mean": Scenario("Shared rows, a mean over rows (approximate)", shared_rows_mean, "crossed",
        ((5, 2), (12, 6), (20, 12))),
    "one_skewed": Scenario("The baseline alone is skewed", one_skewed, "draws", ((10, 2), (20, 6), (40, 6)), False),
    "collapsing": Scenario("One collapses on 1 seed in 20", collapsing, "draws", ((10, 2), (20, 2), (40, 2)), False),
    "splits_by_signs": Scenario("Splits of one table, by the sign-flip test", splits, "draws", ((20, 6),), False),
    "shared_by_signs": Scenario("Shared rows, by the sign-flip test", shared_rows, "draws", ((12, 6),), False),
}  # fmt: skip


def simulate(name: str, seeds: int, objectives: int, sweeps: int) -> dict[str, float]:
    """Return the share of sweeps with each kind of wrong statement, and the mean share of objectives in the set."""
    scenario = SCENARIOS[name]
    rng = np.random.default_rng([seeds, objectives])
    sweeps = sweeps if objectives < 40 else sweeps // 4  # a second each
    wrong = [check(scenario.draw(rng, seeds, objectives), scenario.kind) for _ in range(sweeps)]
    return {key: float(np.mean([getattr(one, key) for one in wrong])) for key in Wrong.__dataclass_fields__}


def looks(plan: Sequence[int], objectives: int, sweeps: int, planned: bool = True) -> float:
    """Return the share of sweeps of alike objectives in which any look calls one better or worse."""
    rng = np.random.default_rng(list(plan))
    levels = spend(plan) if planned else [0.05] * len(plan)
    found = []
    for _ in range(sweeps):
        drawn = alike(rng, plan[-1], objectives)
        found.append(
            any(
                check(Drawn(drawn.cells[:n], drawn.truth), "draws", alpha=level).word
                for n, level in zip(plan, levels, strict=True)
            )
        )
    return float(np.mean(found))


def power(n: int, m: int, effect: float, sweeps: int) -> tuple[float, float]:
    """Return the share of m true differences that are called better, and that of the paired t-test by Bonferroni."""
    rng = np.random.default_rng(n * 1000 + m)
    ours, theirs = [], []
    for _ in range(sweeps):
        gaps = rng.normal(effect, 1.0, size=(n, m))
        bounds = bounds_of(Drawn(np.column_stack([np.zeros(n), gaps]), np.zeros(m + 1)), "draws")
        ours.append(np.mean([bounds.p(label(k + 1), label(0)) <= 0.05 / m / 2 for k in range(m)]))
        theirs.append(np.mean(ttest_1samp(gaps, 0).pvalue <= 0.05 / m))
    return float(np.mean(ours)), float(np.mean(theirs))


POWERS = ((6, 1), (10, 1), (12, 5), (12, 15), (20, 5), (20, 15), (30, 15))
PLANS = (((5, 10, 20), 2), ((10, 20, 40), 6))


def wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


_HEAD = (
    "| scenario | seeds | objectives | false better or worse | false equivalent | an interval misses | "
    "best left out | a bound of regret misses | share in the set |"
)


def _rows(cells: dict[tuple[str, int, int], dict[str, float]], holds: bool) -> str:
    lines = [_HEAD, "|---|" + "---:|" * 8]
    for (name, seeds, objectives), one in cells.items():
        if SCENARIOS[name].holds == holds:
            shares = " | ".join(f"{value:.3f}" for key, value in one.items() if key != "members")
            about = f"{SCENARIOS[name].about} (`{name}`)"
            lines.append(f"| {about} | {seeds} | {objectives} | {shares} | {one['members']:.2f} |")
    return "\n".join(lines)


def page(
    cells: dict[tuple[str, int, int], dict[str, float]],
    powers: dict[tuple[int, int], tuple[float, float]],
    planned: dict[tuple[tuple[int, ...], int], tuple[float, float]],
    sweeps: int,
) -> str:
    chance = 0.05 + 2 * (0.05 * 0.95 / sweeps) ** 0.5
    parts = [
        "# How often is a statement wrong?",
        wrapped(
            "A statement is worth what its error is. Here sweeps are simulated whose truth is known, and are judged by "
            "the code that judges real ones."
        ),
        f"```bash\n.venv/bin/python scripts/bench/calibration.py --sweeps {sweeps} --page\n```",
        "## Where the assumptions hold",
        wrapped(
            f"Shares of {sweeps} simulated sweeps (a quarter for 43 objectives) with *any* wrong statement of a "
            f"kind. At most .05 is promised for each kind, and up to {chance:.3f} is chance. *Best left out*: the best "
            "is not in the set that holds it with 95%; where several are equally good, a given one. *A bound of "
            "regret misses*: some choice costs more than its bound says. Exact tests of few seeds stay below .05: "
            "their p-values come in steps; three seeds decide nothing. The corrected t-test (splits of one table: 160 "
            "rows, 40 of them judged) and rows x seeds crossed (shared rows: 80, or 60 for a mean) are approximate; "
            "no exact test is known. Over several datasets a value is the mean of all seeds of a dataset."
        ),
        _rows(cells, holds=True),
        "## Where they do not",
        wrapped(
            "The sign-flip test assumes that differences are symmetric about their mean. Where the baseline alone is "
            "skewed, or an objective collapses on one seed in twenty and is better on all others, the mean is the same "
            "and the test says that it is not: with few seeds mostly because no collapse was seen, which no test can "
            "know. So the worst seed and a bound of the share of collapses stand beside the mean. The last lines "
            "judge by a test that must not be taken there."
        ),
        _rows(cells, holds=False),
        "## Looking again",
        wrapped(
            "Shares of sweeps of alike objectives in which any look calls one better or worse: with the looks planned "
            "(`sweep.looks`), which spends .05 once, and with as many looks at .05 each."
        ),
        "\n".join(
            ["| looks | objectives | planned | at .05 each |", "|---|---:|---:|---:|"]
            + [f"| {', '.join(map(str, plan))} | {k} | {a:.3f} | {b:.3f} |" for (plan, k), (a, b) in planned.items()]
        ),
        "## Where all differ",
        wrapped(
            "The share of comparisons that find a true difference of 3 sd / sqrt(n), where differences are normal: the "
            f"sign-flip test beside the paired t-test, which is made for exactly that, both by Bonferroni; {sweeps} "
            "sweeps a line. With 12 seeds and 15 comparisons the least p-value of a sign-flip test, 2^-11, is still "
            " corrected to .007; with six seeds its steps cost power."
        ),
        "\n".join(
            ["| seeds | comparisons | sign-flip | paired t | difference |", "|---:|---:|---:|---:|---:|"]
            + [f"| {n} | {m} | {a:.3f} | {b:.3f} | {a - b:+.3f} |" for (n, m), (a, b) in powers.items()]
        ),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=200, help="simulated sweeps a line (default: 200)")
    parser.add_argument("--page", action="store_true", help="write docs/calibration.md")
    parser.add_argument("--processes", type=int, help="how many at a time (default: one a core)")
    arguments = parser.parse_args()
    sweeps = arguments.sweeps
    keys = [(name, *size) for name, scenario in SCENARIOS.items() for size in scenario.sizes]
    with ProcessPoolExecutor(arguments.processes) as pool:
        # The largest first, so that no process is left with one at the end.
        cells = {
            key: pool.submit(simulate, *key, sweeps) for key in sorted(keys, key=lambda key: -key[1] * key[2] ** 2)
        }
        powers = {key: pool.submit(power, *key, 3 / key[0] ** 0.5, sweeps) for key in POWERS}
        planned = {key: [pool.submit(looks, *key, sweeps, way) for way in (True, False)] for key in PLANS}
        text = page(
            {key: cells[key].result() for key in keys},
            {key: future.result() for key, future in powers.items()},
            {key: (ours.result(), theirs.result()) for key, (ours, theirs) in planned.items()},
            sweeps,
        )
    if arguments.page:
        PAGE.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
