"""Many jobs: expand, compose, check, dispatch to a launcher."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig
from rich.console import Console

from lossbench import naming
from lossbench.expansion import compose_all, expand
from lossbench.progress import overall_bar
from lossbench.sweep.jobs import PlannedJob, check_jobs
from lossbench.sweep.record import SweepFailed, recorded
from lossbench.sweep.tuned import finish_tuning, in_best_setting, tuned

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.plugins.launcher import Launcher

    from lossbench.tracking.sweep import SweepRecord
    from lossbench.tuning.plan import Plan


def run_sweep(
    grids: Sequence[Sequence[str]], config: DictConfig, loader: ConfigLoader, launcher: Launcher
) -> list[Sequence[JobReturn]]:
    """Run every combination of the overrides and end in a leaderboard.

    Parameters
    ----------
    grids
        Hydra overrides of each grid, sweeps included; a later one wins over an earlier one with the same key.
    config
        The sweep's own composed config.
    loader, launcher
        Hydra's, set up.

    Returns
    -------
    list
        One batch of job returns, as Hydra's sweepers do.

    Raises
    ------
    UserError
        Where a job could not start; nothing has been trained then.
    SweepFailed
        After the end, where a job raised.
    KeyboardInterrupt
        After what finished has been recorded and shown.
    """
    parser = OverridesParser.create(config_loader=loader)
    combinations = expand(*(parser.parse_overrides(list(grid)) for grid in grids))
    if hasattr(launcher, "expect"):
        launcher.expect(len(combinations))
    jobs, left_out = check_jobs(combinations, compose_all(combinations, config, loader))

    from lossbench.tracking.store import open_store

    shared = jobs[0].config
    tuning = _tuning(jobs, config, loader)
    mlruns = Path(shared["paths"]["mlruns"])
    store = open_store(mlruns, shared["tracking"]["uri"], shared["tracking"]["experiment"])
    name = config.hydra.runtime.choices.get("comparison") or naming.sweep_name([job.config for job in jobs])
    console, launching, found = Console(), _Launching(launcher), []
    with recorded(store, str(name), jobs, left_out, console) as record:
        if tuning is not None:
            found = tuned(tuning, store, record, launching, config.hydra.sweep.dir, console)
            jobs = in_best_setting(found, jobs, config, loader)
        told = [_told(job, record) for job in jobs]
        overrides = [[*job.overrides, *_overrides(values)] for job, values in zip(jobs, told, strict=True)]
        configs = [_with(job.config, values) for job, values in zip(jobs, told, strict=True)]
        with overall_bar(console, config.hydra.sweep.dir, len(jobs)):
            returns = launching(overrides, configs)
    # Those that failed in training have a run of their own, and the leaderboard has listed them.
    broken = [(job, each) for job, each in zip(jobs, returns, strict=True) if each.status == JobStatus.FAILED]
    if broken:
        job, ended = broken[0]
        raise SweepFailed(
            f"{len(broken)} of {len(jobs)} jobs could not start; the first ({' '.join(job.varying)}): "
            f"{ended._return_value}"
        )
    if found:
        finish_tuning(found, record.id)
    return [returns]


class _Launching:
    """A launcher that is called more than once: the numbers of its jobs go on."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._started = 0

    def __call__(self, overrides: Sequence[Sequence[str]], configs: Sequence[dict[str, Any]]) -> Sequence[JobReturn]:
        first, self._started = self._started, self._started + len(overrides)
        if hasattr(self._launcher, "launch_composed"):
            returns: Sequence[JobReturn] = self._launcher.launch_composed(overrides, configs, initial_job_idx=first)
            return returns
        return self._launcher.launch(overrides, initial_job_idx=first)


def _tuning(jobs: Sequence[PlannedJob], config: DictConfig, loader: ConfigLoader) -> Plan | None:
    if not jobs[0].config.get("tuning"):
        return None
    from lossbench.tuning.plan import plan

    return plan(jobs, config, loader)


def _told(job: PlannedJob, record: SweepRecord) -> dict[str, Any]:
    """Return what a job has to know of its sweep, by its key under ``tracking``."""
    return {
        "sweep": record.id,
        "parent": record.objectives[job.objective],
        "objective": job.objective,
        "overrides": " ".join(job.varying),
        "job": job.number,
    }


def _overrides(told: dict[str, Any]) -> list[str]:
    return [f"tracking.{key}={_quoted(value) if isinstance(value, str) else value}" for key, value in told.items()]


def _with(config: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    return {**config, "tracking": {**config["tracking"], **told}}


def _quoted(text: str) -> str:
    """Quote a text for Hydra's grammar, with interpolations kept from resolving.

    >>> print(_quoted('a "b" ${c}'))
    "a \\"b\\" \\${c}"
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${")
    return f'"{escaped}"'
