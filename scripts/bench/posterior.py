"""How well calibrated every loss is on imbalanced rings, before and after its posterior.

    .venv/bin/python scripts/bench/posterior.py [--seeds 10] [--page] [overrides ...]

Every loss that serves rings is trained with the default model and optimizer, seed by seed on the same draw, and judged
by the expected calibration error (ECE) on a test draw of 100,000 rows: of the raw link, of the posterior that follows
from the loss's own gradient, and of the posterior that a run records, which is a calibrator fitted on validation where
there is no other or where validation refutes it. A posterior speaks about the minimum of the loss; so those with one
are trained towards it as well (100 epochs, the learning rate falling to 0, the last epoch). Jobs are trained in stacks,
with the figures of single runs; nothing is recorded. --page writes docs/posterior.md; without it the page is printed.
Overrides are Hydra's, for trying other settings of both: model=linear.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from lossbench.config.compose import compose, conf_dir, project
from lossbench.data.dataset import Dataset
from lossbench.errors import CannotServe
from lossbench.evaluation.metrics import compute
from lossbench.models.forward import scores_of
from lossbench.objective.posterior import recover_posterior
from lossbench.processes.workers import available, context
from lossbench.runs.execute import fit
from lossbench.runs.prepare import draw, prepare_job
from lossbench.runs.settings import read_settings
from lossbench.runs.train import evaluate_job
from lossbench.training.fit import Diverged
from lossbench.training.job import Job
from lossbench.training.stacked import eligible
from lossbench.training.stacked.engine import fit as fit_stack

TEST_ROWS = 100_000
LIMIT = 0.01  # ECE after the posterior is at most this,
NEAR = 0.005  # or at most this above cross_entropy's
BASELINE = "cross_entropy"
TO_THE_END = ["trainer.max_epochs=100", "scheduler=cosine", "select.metric=null"]
# Every YAML is run as it stands. These claim or undo something that its defaults do not.
SETTINGS = {
    "bce_with_logits pos_weight=30": ["loss=bce_with_logits", "loss.pos_weight=30"],
    "focal alpha=.75": ["loss=focal", "loss.alpha=.75"],
    "cross_entropy label_smoothing=.1": ["loss=cross_entropy", "loss.label_smoothing=.1"],
    "cross_entropy weighting=balanced": ["loss=cross_entropy", "weighting=balanced"],
    "cross_entropy sampler=balanced": ["loss=cross_entropy", "data.sampler=balanced"],
    "generalized_cross_entropy q=.5": ["loss=generalized_cross_entropy", "loss.q=.5"],
    "symmetric_cross_entropy alpha=.5": ["loss=symmetric_cross_entropy", "loss.alpha=.5"],
}


@dataclass
class Row:
    """What the seeds of one objective gave: lists of ECE, and the kinds of the recorded posteriors."""

    claims: bool = False
    raw: list[float] = field(default_factory=list)
    gradient: list[float] = field(default_factory=list)
    recorded: list[float] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def after(self) -> float:
        """The mean ECE of the posterior that the loss claims, or of its calibrator."""
        return float(np.mean(self.gradient if self.claims else self.recorded))

    def add(self, other: Row) -> None:
        self.claims = other.claims
        for name in ("raw", "gradient", "recorded"):
            getattr(self, name).extend(getattr(other, name))
        self.kinds += other.kinds


@dataclass
class Found:
    """Rows by objective, the true posterior's ECE by seed, and what was left out with the reason."""

    rows: dict[str, Row] = field(default_factory=dict)
    floor: list[float] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def bound(self) -> float:
        return max(LIMIT, self.rows[BASELINE].after + NEAR)

    def add(self, other: Found) -> None:
        for name, row in other.rows.items():
            self.rows.setdefault(name, Row()).add(row)
        self.floor += other.floor
        self.left_out |= other.left_out


def objectives() -> dict[str, list[str]]:
    losses = sorted(path.stem for path in (conf_dir() / "loss").glob("*.yaml"))
    return {**{name: [f"loss={name}"] for name in losses}, **SETTINGS}


def ece(target: np.ndarray, probs: np.ndarray) -> float:
    return float(compute(target, probs[None], ("ece",))["ece"][0])


def judged(job: Job) -> Row:
    """Judge a trained job on its test draw."""
    test, loss = job.dataset.test, job.objective.loss
    assert test is not None
    evaluation = evaluate_job(job)
    row = Row(loss.posterior == "gradient", [evaluation.metrics["test/ece"]])
    row.recorded.append(evaluation.metrics["test/posterior/ece"])
    row.kinds[evaluation.posterior_kind] += 1
    if row.claims:
        scores = torch.as_tensor(scores_of(job.network, test.x))
        rates = job.dataset.sampling_rates
        rates = None if rates is None else torch.as_tensor(rates)
        found = recover_posterior(loss, scores, job.objective.class_weights, rates)
        row.gradient.append(ece(test.y, found.numpy()))
    return row


def bayes_ece(dataset: Dataset) -> float:
    """Return the ECE of the true posterior: what 100,000 rows leave to chance."""
    assert dataset.test is not None
    assert dataset.bayes is not None
    return ece(dataset.test.y, dataset.bayes(dataset.raw(dataset.test)))


def measure(seeds: list[int], overrides: list[str], claims_alone: bool) -> Found:
    """Train every objective (or those that claim a posterior) with every seed, in stacks where that is possible."""
    torch.set_num_threads(1)
    found = Found()
    common = ["data=rings", f"data.test_rows={TEST_ROWS}", *overrides]
    configs = {name: compose([*common, *own]) for name, own in objectives().items()}
    done: list[tuple[str, Job]] = []
    stacks: dict[str, list[tuple[str, Job, str]]] = {}
    for seed in seeds:
        drawn: dict[str, Dataset] = {}
        for name, config in configs.items():
            sampler = config["data"]["sampler"]
            if sampler not in drawn:  # all objectives of a seed share its draw
                drawn[sampler] = draw(compose([*common, f"seed={seed}", f"data.sampler={sampler}"]))
            try:
                job = prepare_job({**config, "seed": seed}, drawn[sampler])
                if claims_alone and job.objective.loss.posterior != "gradient":
                    continue
                asked = read_settings(config).fit
                if eligible.why_alone(job, asked) is None:
                    kind = eligible.kind_key(job)
                    stacks.setdefault(eligible.stack_key(job, asked), []).append((name, job, kind))
                    continue
                fit(job, config, run_id="posterior")
                done.append((name, job))
            except (CannotServe, Diverged) as refusal:
                found.left_out[name] = str(refusal)
        found.floor.append(bayes_ece(drawn["natural"]))
    for members in stacks.values():
        for (name, job, _), fitted in zip(
            members, fit_stack([job for _, job, _ in members], [kind for _, _, kind in members]), strict=True
        ):
            if isinstance(fitted, Diverged):
                found.left_out[name] = f"seed {job.seed}: {fitted}"
            else:
                done.append((name, job))
    for name, job in done:
        found.rows.setdefault(name, Row()).add(judged(job))
    return found


def in_parts(seeds: int, overrides: list[str], claims_alone: bool) -> Found:
    """Share the seeds among the processors."""
    workers = min(available(), seeds)
    parts = [list(range(seeds))[start::workers] for start in range(workers)]
    found, start = Found(), time.monotonic()
    with ProcessPoolExecutor(workers, mp_context=context()) as pool:
        for part in pool.map(partial(measure, overrides=overrides, claims_alone=claims_alone), parts):
            found.add(part)
    found.rows = {name: row for name, row in found.rows.items() if name not in found.left_out}
    print(f"{' '.join(overrides) or 'defaults'}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return found


def spread(values: list[float]) -> str:
    return f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else f"{np.mean(values):.4f}"


def page(end: Found, default: Found, overrides: list[str]) -> str:
    seeds = len(end.floor)
    claimed = sorted(
        (name for name, row in end.rows.items() if row.claims), key=lambda name: -np.mean(end.rows[name].raw)
    )
    met = [name for name in claimed if end.rows[name].after <= end.bound]
    off = [name for name in claimed if np.mean(end.rows[name].raw) >= 0.05]
    others = sorted(
        (name for name, row in default.rows.items() if not row.claims),
        key=lambda name: -np.mean(default.rows[name].raw),
    )
    worst = max(float(np.mean(row.recorded)) for row in default.rows.values())
    kept = sum(end.rows[name].kinds["gradient"] for name in claimed)
    default_kept = sum(default.rows[name].kinds["gradient"] for name in claimed)
    runs = seeds * len(claimed)
    command = " ".join([".venv/bin/python scripts/bench/posterior.py", f"--seeds {seeds}", "--page", *overrides])
    parts = [
        "# Is the posterior a probability?",
        wrapped(
            "For most losses the raw link is no probability: the score at the minimum is not the log-odds. lossbench "
            "recovers the class posterior from the loss's own gradient, and undoes class weights and sampler; where "
            "that is impossible, or where validation rows refute it, a calibrator is fitted on them. This page "
            "measures by how much that helps."
        ),
        f"```bash\n{command}\n```",
        wrapped(
            f"Imbalanced rings (200 positives, 6,000 negatives), a fresh draw per seed, {seeds} seeds, the default "
            "network and optimizer. Expected calibration error (ECE, 15 bins of equal width, positive class) on a "
            f"fresh test draw of {TEST_ROWS:,} rows: mean ± standard deviation over the seeds. The true posterior has "
            f"{spread(end.floor)}, which is chance."
        ),
        wrapped(
            "**Two ways to train.** The posterior is that of the loss's minimum, so the claim is judged near it: "
            f"`{' '.join(TO_THE_END)}`, which are 100 epochs, the learning rate falling to 0, and the last epoch. "
            "The defaults are 20 epochs and the one that ranks validation rows best, which may come long before: "
            "there every posterior says less."
        ),
        wrapped(
            f"**The rule.** Near the minimum the ECE of the posterior from the gradient is at most {LIMIT:g}, or "
            f"within {NEAR:g} of {BASELINE}'s ({end.rows[BASELINE].after:.4f}), on the mean over seeds: at most "
            f"{end.bound:.4f} here."
        ),
        "## The posterior from the loss's own gradient",
        wrapped(
            f"**{len(met)} of {len(claimed)} meet the rule**, among them "
            f"{len([name for name in met if name in off])} of the {len(off)} whose raw link is off by .05 or more."
            + ("" if len(met) == len(claimed) else f" Not: {', '.join(f'`{n}`' for n in claimed if n not in met)}.")
        ),
        wrapped(
            "*Recorded* is what a run of the defaults records as its posterior: that of the gradient, unless a "
            "calibrator predicts validation rows better that it has not been fitted on (five folds; mean log-loss, by "
            f"more than one standard error). Near the minimum the gradient's stood in {kept} of {runs} runs; by the "
            f"defaults in {default_kept}, and the largest recorded mean ECE is {worst:.4f}."
        ),
        "\n".join(
            [
                "| objective | near the minimum: raw link | posterior | less cross_entropy's | meets the rule "
                "| defaults: raw link | posterior | recorded | kept |",
                "|---|---:|---:|---:|---|---:|---:|---:|---:|",
                *(_claimed(name, end, default) for name in claimed),
            ]
        ),
        "## Calibrated on validation, reported apart",
        wrapped(
            "Losses that claim no posterior: whole-batch losses, those whose minimum says no more than which class is "
            "likelier, and those that are nearly flat between their minimum and a posterior far from the truth "
            "(`generalized_cross_entropy` with q above 1/2, `symmetric_cross_entropy` with beta above 2 alpha; a law "
            "draws the line). By the defaults:"
        ),
        "\n".join(
            [
                "| objective | raw link | calibrated | by |",
                "|---|---:|---:|---|",
                *(_calibrated(name, default.rows[name]) for name in others),
            ]
        ),
    ]
    left_out = {**default.left_out, **end.left_out}
    if left_out:
        parts += ["Left out:", "\n".join(f"- `{name}`: {reason}" for name, reason in left_out.items())]
    return "\n\n".join(parts) + "\n"


def wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def _claimed(name: str, end: Found, default: Found) -> str:
    last, first = end.rows[name], default.rows[name]
    difference = last.after - end.rows[BASELINE].after
    meets = "yes" if last.after <= end.bound else "**no**"
    return (
        f"| `{name}` | {spread(last.raw)} | {spread(last.gradient)} | {difference:+.4f} | {meets} "
        f"| {spread(first.raw)} | {spread(first.gradient)} | {spread(first.recorded)} "
        f"| {first.kinds['gradient']} of {first.kinds.total()} |"
    )


def _calibrated(name: str, row: Row) -> str:
    return f"| `{name}` | {spread(row.raw)} | {spread(row.recorded)} | {' or '.join(sorted(row.kinds))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--page", action="store_true", help="write docs/posterior.md")
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_intermixed_args()
    default = in_parts(arguments.seeds, arguments.overrides, claims_alone=False)
    end = in_parts(arguments.seeds, [*arguments.overrides, *TO_THE_END], claims_alone=True)
    text = page(end, default, arguments.overrides)
    if arguments.page:
        (project() / "docs" / "posterior.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
