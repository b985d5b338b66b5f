"""The jobs of a tuned sweep: every objective in its best setting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from lossbench.config.expand import compose_all
from lossbench.sweep.jobs import PlannedJob
from lossbench.sweep.lifecycle import SweepFailed
from lossbench.sweep.progress import overall_bar
from lossbench.tracking.schema import Artifact

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader

    from lossbench.sweep.tuning.plan import Plan
    from lossbench.sweep.tuning.running import Attempt, Figures
    from lossbench.sweep.tuning.tuned import Tuned
    from lossbench.tracking.store.open import Store
    from lossbench.tracking.sweep import SweepRecord

Launch = Callable[[Sequence[Sequence[str]], Sequence[dict[str, Any]]], Sequence[JobReturn]]


def tune_objectives(
    plan: Plan, store: Store, record: SweepRecord, launch: Launch, sweep_dir: str, console: Console
) -> list[Tuned]:
    """Tune every objective with the sweep's own launcher, and keep every trial with the sweep's run."""
    from lossbench.sweep.tuning.tune import tune
    from lossbench.sweep.tuning.tuned import tabulate_trials

    def train(attempts: Sequence[Attempt]) -> list[Figures | BaseException]:
        with overall_bar(console, sweep_dir, len(attempts), "trials"):
            returns = launch([attempt.overrides for attempt in attempts], [attempt.config for attempt in attempts])
        return [
            each._return_value if each.status == JobStatus.COMPLETED else _error(each._return_value) for each in returns
        ]

    tunings = tune(plan, store, record.id, train, lambda line: console.print(Text(line)))
    record.artifacts.json(_describe(plan, tunings), Artifact.TUNING)
    record.artifacts.table(tabulate_trials(tunings), Artifact.TRIALS)
    return tunings


def apply_best_settings(
    tunings: Sequence[Tuned], jobs: Sequence[PlannedJob], config: DictConfig, loader: ConfigLoader
) -> list[PlannedJob]:
    """Return the jobs with the best setting of their objective; those of an objective that was given up are missing.

    Raises
    ------
    SweepFailed
        Where every objective was given up.
    """
    from lossbench.sweep.tuning.running import format_value

    settings = {
        one.objective: tuple(f"{key}={format_value(value)}" for key, value in one.best.values.items())
        for one in tunings
        if one.best is not None
    }
    if not settings:
        raise SweepFailed(_describe_failures(tunings))
    kept = [job for job in jobs if job.objective in settings]
    overrides = [(*job.overrides, *settings[job.objective]) for job in kept]
    return [
        replace(job, overrides=texts, config=composed, varying=(*job.varying, *settings[job.objective]))
        for job, texts, composed in zip(kept, overrides, compose_all(overrides, config, loader), strict=True)
    ]


def finish_tuning(tunings: Sequence[Tuned], sweep: str) -> None:
    """Put the journals of a sweep that ended well away, so that the same command tunes anew.

    Raises
    ------
    SweepFailed
        Where an objective was given up; the others have been compared.
    """
    from lossbench.sweep.tuning.tune import archive_journals

    archive_journals(tunings, sweep)
    if any(one.best is None for one in tunings):
        raise SweepFailed(_describe_failures(tunings))


def _describe_failures(tunings: Sequence[Tuned]) -> str:
    lost = [one for one in tunings if one.best is None]
    last = next(trial.error for trial in reversed(lost[0].trials) if trial.error)
    names = ", ".join(one.objective for one in lost)
    return f"tuning gave up {names}: {lost[0].count('failed')} trials of {lost[0].objective} failed; the last: {last}"


def _error(value: Any) -> BaseException:
    return value if isinstance(value, BaseException) else RuntimeError(f"the trial returned {value!r}")


def _describe(plan: Plan, tunings: Sequence[Tuned]) -> dict[str, Any]:
    settings = plan.settings
    return {
        "metric": settings.metric,
        "direction": "max" if settings.direction == "maximize" else "min",
        "trials": settings.trials,
        "seeds": list(settings.tuning_seeds),
        "max_failed": settings.max_failed,
        "further_seeds": list(settings.further_seeds),
        "confirm": settings.confirm,
        "objectives": [
            {
                "objective": one.objective,
                "finished": one.count("finished"),
                "failed": one.count("failed"),
                "default": one.trials[0].value,
                "best": None if one.best is None else one.best.value,
                "best_trial": None if one.best is None else one.best.number,
                "confirmed": [{"trial": each.number, "value": each.value, "p": each.p} for each in one.confirmed],
                "setting": {} if one.best is None else one.best.values,
                "space": dict(one.domains),
                "importances": dict(one.importances),
            }
            for one in tunings
        ],
    }
