"""How well calibrated every loss is on imbalanced rings, before and after its posterior.

    .venv/bin/python scripts/bench/posterior.py [--seeds 10] [--page] [overrides ...]

Every loss that serves rings is trained with the default model and optimizer, seed by seed on the same draw, and judged
by the expected calibration error (ECE) on a test draw of 100,000 rows: of the raw link, and of the posterior that
follows from the loss's own gradient or, where there is none, from a calibrator fitted on validation. Nothing is
recorded. A posterior speaks about the minimum of the loss, which a network may be far from; so those that miss the rule
are trained once more, longer and to the end. --page writes docs/posterior.md; without it the page is printed. Overrides
are Hydra's, for trying other settings: select.metric=val/log_loss.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lossbench.composition import conf_dir, project
from lossbench.data.dataset import Dataset
from lossbench.errors import CannotServe
from lossbench.evaluation.metrics import compute
from lossbench.experiment import compose, draw, evaluate_job, fit, prepare
from lossbench.training.fit import Diverged

TEST_ROWS = 100_000
LIMIT = 0.01  # ECE after the posterior is at most this,
NEAR = 0.005  # or at most this above cross_entropy's
BASELINE = "cross_entropy"
LONGER = ["trainer.max_epochs=100", "scheduler=cosine", "select.metric=null"]
# Every YAML is run as it stands. These set class weights, a sampler or smoothing as well, which the posterior undoes.
SETTINGS = {
    "bce_with_logits pos_weight=30": ["loss=bce_with_logits", "loss.pos_weight=30"],
    "focal alpha=.75": ["loss=focal", "loss.alpha=.75"],
    "cross_entropy label_smoothing=.1": ["loss=cross_entropy", "loss.label_smoothing=.1"],
    "cross_entropy weighting=balanced": ["loss=cross_entropy", "weighting=balanced"],
    "cross_entropy sampler=balanced": ["loss=cross_entropy", "data.sampler=balanced"],
}


@dataclass(frozen=True)
class Row:
    """What the seeds of one objective gave: arrays (seeds,)."""

    name: str
    kind: str
    raw: np.ndarray
    after: np.ndarray


@dataclass(frozen=True)
class Found:
    """Rows in order of falling raw ECE, the true posterior's ECE by seed, and what was left out with the reason."""

    rows: list[Row]
    floor: np.ndarray
    left_out: dict[str, str]

    @property
    def baseline(self) -> np.ndarray:
        return next(row.after for row in self.rows if row.name == BASELINE)

    @property
    def bound(self) -> float:
        return max(LIMIT, float(self.baseline.mean()) + NEAR)

    @property
    def missing(self) -> list[str]:
        """Those with a posterior from the gradient that does not meet the rule."""
        return [row.name for row in self.rows if row.kind == "gradient" and row.after.mean() > self.bound]


def objectives() -> dict[str, list[str]]:
    losses = sorted(path.stem for path in (conf_dir() / "loss").glob("*.yaml"))
    return {**{name: [f"loss={name}"] for name in losses}, **SETTINGS}


def judged(config: dict[str, Any], seed: int, dataset: Dataset) -> tuple[str, float, float]:
    """Train one job; return the kind of its posterior and the test ECE before and after."""
    job = prepare({**config, "seed": seed}, dataset)
    fit(job, config, run_id="posterior")
    evaluation = evaluate_job(job)
    return evaluation.posterior_kind, evaluation.metrics["test/ece"], evaluation.metrics["test/posterior/ece"]


def bayes_ece(dataset: Dataset) -> float:
    """Return the ECE of the true posterior: what 100,000 rows leave to chance."""
    assert dataset.test is not None
    assert dataset.bayes is not None
    return float(compute(dataset.test.y, dataset.bayes(dataset.raw(dataset.test))[None], ("ece",))["ece"][0])


def measure(objectives: dict[str, list[str]], seeds: int, overrides: list[str]) -> Found:
    """Train every objective with every seed."""
    common = ["data=rings", f"data.test_rows={TEST_ROWS}", *overrides]
    configs = {name: compose([*common, *own]) for name, own in objectives.items()}
    found: dict[str, list[tuple[str, float, float]]] = {name: [] for name in configs}
    left_out: dict[str, str] = {}
    floor = []
    for seed in range(seeds):
        start = time.monotonic()
        drawn: dict[str, Dataset] = {}
        for name, config in configs.items():
            sampler = config["data"]["sampler"]
            if sampler not in drawn:  # all objectives of a seed share its draw
                drawn[sampler] = draw(compose([*common, f"seed={seed}", f"data.sampler={sampler}"]))
            try:
                found[name].append(judged(config, seed, drawn[sampler]))
            except (CannotServe, Diverged) as refusal:
                left_out[name] = f"seed {seed}: {refusal}"
        floor.append(bayes_ece(drawn["natural"]))
        print(f"seed {seed}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    rows = []
    for name, values in found.items():
        if name not in left_out:
            kinds, raw, after = zip(*values, strict=True)
            rows.append(Row(name, " or ".join(sorted(set(kinds))), np.array(raw), np.array(after)))
    return Found(sorted(rows, key=lambda row: -row.raw.mean()), np.array(floor), left_out)


def spread(values: np.ndarray) -> str:
    return f"{values.mean():.4f} ± {values.std(ddof=1):.4f}" if len(values) > 1 else f"{values.mean():.4f}"


def page(found: Found, longer: Found | None, overrides: list[str]) -> str:
    seeds = len(found.floor)
    gradient = [row for row in found.rows if row.kind == "gradient"]
    off = sum(0.05 <= row.raw.mean() <= 0.15 for row in gradient)
    command = " ".join([".venv/bin/python scripts/bench/posterior.py", f"--seeds {seeds}", "--page", *overrides])
    parts = [
        "# Is the posterior a probability?",
        wrapped(
            "For most losses the raw link is no probability: the score at the minimum is not the log-odds. lossbench "
            "recovers the class posterior from the loss's own gradient, and undoes class weights and sampler, or, "
            "where that is impossible, fits a calibrator on validation. This page measures by how much that helps."
        ),
        f"```bash\n{command}\n```",
        wrapped(
            f"Imbalanced rings (200 positives, 6,000 negatives), a fresh draw per seed, {seeds} seeds; the default "
            "network, optimizer and selection of the epoch (by validation AUROC). Expected calibration error (ECE, 15 "
            f"bins of equal width, positive class) on a fresh test draw of {TEST_ROWS:,} rows: mean ± standard "
            f"deviation over the seeds. The true posterior has {spread(found.floor)}, which is chance."
        ),
        wrapped(
            f"**The rule.** ECE after the posterior is at most {LIMIT:g}, or within {NEAR:g} of {BASELINE}'s "
            f"({found.baseline.mean():.4f}), on the mean over seeds: at most {found.bound:.4f} here."
        ),
        "## The posterior from the loss's own gradient",
        wrapped(
            f"{len(gradient) - len(found.missing)} of {len(gradient)} meet the rule. The raw ECE of {off} lies in .05 "
            "to .15."
        ),
        _table(found, gradient),
    ]
    if longer is not None:
        parts += [
            "## Those that miss the rule, trained to the end",
            wrapped(
                "The posterior is that of the minimum of the loss. Selection by AUROC takes an epoch as soon as it "
                "ranks well, which may be long before; where a loss is nearly flat, or its posterior magnifies small "
                "differences of the score, more is lost on the way. What misses the rule here too does not come to its "
                "minimum where the loss is flat, and a calibrator would serve it better. The same objectives and seeds "
                f"with `{' '.join(LONGER)}` (the bound is then {longer.bound:.4f}):"
            ),
            _table(longer, longer.rows),
        ]
    parts += [
        "## Calibrated on validation, reported apart",
        "\n".join(
            [
                "| objective | raw link | calibrated | calibrated less cross_entropy's | by |",
                "|---|---:|---:|---:|---|",
                *(f"{_line(row, found)} {row.kind} |" for row in found.rows if row.kind != "gradient"),
            ]
        ),
    ]
    left_out = {**found.left_out, **({} if longer is None else longer.left_out)}
    if left_out:
        parts += ["Left out:", "\n".join(f"- `{name}`: {reason}" for name, reason in left_out.items())]
    return "\n\n".join(parts) + "\n"


def wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def _table(found: Found, rows: list[Row]) -> str:
    lines = [
        "| objective | raw link | posterior | posterior less cross_entropy's | meets the rule |",
        "|---|---:|---:|---:|---|",
        *(f"{_line(row, found)} {'**no**' if row.name in found.missing else 'yes'} |" for row in rows),
    ]
    return "\n".join(lines)


def _line(row: Row, found: Found) -> str:
    difference = f"{(row.after - found.baseline).mean():+.4f}"
    return f"| `{row.name}` | {spread(row.raw)} | {spread(row.after)} | {difference} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--page", action="store_true", help="write docs/posterior.md")
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    every = objectives()
    found = measure(every, arguments.seeds, arguments.overrides)
    longer = None
    if found.missing:
        again = {name: every[name] for name in (*found.missing, BASELINE)}
        longer = measure(again, arguments.seeds, [*arguments.overrides, *LONGER])
    text = page(found, longer, arguments.overrides)
    if arguments.page:
        (project() / "docs" / "posterior.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
