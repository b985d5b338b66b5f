"""Many jobs: expand, compose, check, dispatch to a launcher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig
from rich.console import Console

from lossbench.config import digests, labels
from lossbench.config.expand import compose_all, expand
from lossbench.errors import line_of
from lossbench.runs.settings import read_tracking
from lossbench.sweep.jobs import LeftOut, PlannedJob, check_jobs, names_of_data
from lossbench.sweep.lifecycle import SweepFailed, recorded
from lossbench.sweep.progress import overall_bar
from lossbench.sweep.reference_runs import distinct_data, record_references
from lossbench.sweep.resume import Resumed, deliver_waiting, find_resumed, show_plan
from lossbench.sweep.settings import SweepSettings
from lossbench.sweep.tuned_jobs import apply_best_settings, finish_tuning, tune_objectives
from lossbench.sweep.workforce import Workforce
from lossbench.tracking.schema import SELECTED_BY, Artifact, Tag

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.plugins.launcher import Launcher

    from lossbench.sweep.answer import Answer
    from lossbench.sweep.tuning.plan import Plan
    from lossbench.tracking.sweep import SweepRecord


@dataclass(frozen=True)
class FinishedSweep:
    """How the jobs of a sweep ended, one batch of them as Hydra's sweepers return it, and what they say together.

    A dry run has neither.
    """

    batches: list[Sequence[JobReturn]]
    answer: Answer | None


def run_jobs(
    grids: Sequence[Sequence[str]], config: DictConfig, loader: ConfigLoader, launcher: Launcher
) -> FinishedSweep:
    """Run every combination of the overrides and end in a leaderboard.

    Parameters
    ----------
    grids
        Hydra overrides of each grid, sweeps included; a later one wins over an earlier one with the same key.
    config
        The sweep's own composed config.
    loader, launcher
        Hydra's, set up.

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
    with Workforce.of(launcher, len(combinations)) as workforce:
        return _run(combinations, config, loader, workforce)


def _run(
    combinations: Sequence[Sequence[str]], config: DictConfig, loader: ConfigLoader, workforce: Workforce
) -> FinishedSweep:
    configs = compose_all(combinations, config, loader)

    from lossbench.tracking.store.open import import_for, open_store
    from lossbench.tracking.unfinished import repair

    tracking = read_tracking(configs[0])
    import_for(tracking.mlruns, tracking.uri)
    import_module("lossbench.sweep.answer")  # at the end it would be waited for
    # Last, since the first process waits for the server that it is forked from, which imports more than this one.
    checked = workforce.submit(_check, combinations, configs)
    del configs, combinations  # the jobs have their own, and ten thousand are large
    # Meanwhile: MLflow takes half a second to make a new one.
    store = open_store(tracking.mlruns, tracking.uri, tracking.experiment)
    jobs, left_out, files, names = checked.result()
    tuning = _tuning(jobs, config, loader)
    name = config.hydra.runtime.choices.get("comparison") or labels.sweep_name([job.config for job in jobs])
    console, tunings = Console(), []
    if SweepSettings.read(jobs[0].config).dry_run:
        show_plan(store, find_resumed(store, jobs), jobs, console)
        return FinishedSweep([], None)
    deliver_waiting(store, console)
    repair(store)
    with recorded(store, str(name), jobs, left_out, console) as sweep:
        record, earlier = sweep.record, sweep.resumed
        record.artifacts.json(names, Artifact.NAMES_OF_DATA)
        if tuning is not None:
            tunings = tune_objectives(tuning, store, record, workforce.launch, config.hydra.sweep.dir, console)
            jobs = apply_best_settings(tunings, jobs, config, loader)
        todo = earlier.todo(jobs)
        # Begun first, so that no process waits for the last job of another before it does its part.
        data = distinct_data([job.config for job in jobs])
        finish_references = workforce.share(partial(record_references, record.id), data)
        with overall_bar(console, config.hydra.sweep.dir, len(todo)):
            returns = _launch(jobs, todo, record, earlier, workforce) if todo else {}
            finish_references()
            _require_unchanged(files)
        workforce.leave()
        # Those that failed in training have a run of their own, and the leaderboard lists them.
        broken = [(jobs[index], each) for index, each in returns.items() if each.status == JobStatus.FAILED]
        if broken:
            job, first = broken[0]
            raise SweepFailed(
                f"{len(broken)} of {len(jobs)} jobs could not start; the first ({' '.join(job.varying)}): "
                f"{line_of(first._return_value)}"
            )
    if tunings:
        finish_tuning(tunings, record.id)
    batch = [returns.get(index) or _kept(job, earlier) for index, job in enumerate(jobs)]
    return FinishedSweep([batch], sweep.answer)


def _check(
    combinations: Sequence[Sequence[str]], configs: Sequence[dict[str, Any]]
) -> tuple[list[PlannedJob], list[LeftOut], dict[str, str], dict[str, dict[str, list[str]]]]:
    """Return what `check_jobs` does, the digests of files that must not change while the jobs run, and `names_of_data`.

    Here, where the jobs' modules have been imported.
    """
    jobs, left_out = check_jobs(combinations, configs)
    return jobs, left_out, digests.watched(job.config for job in jobs), names_of_data(jobs)


def _require_unchanged(files: Mapping[str, str]) -> None:
    """Fail a sweep whose runs did not all see the same table or code; the same command trains them anew."""
    changed = digests.changed(files)
    if changed:
        raise SweepFailed(
            f"{', '.join(changed)} changed while the sweep ran, so that its runs may have seen different contents: "
            "the same command trains them anew"
        )


def _launch(
    jobs: Sequence[PlannedJob], todo: Sequence[int], record: SweepRecord, earlier: Resumed, workforce: Workforce
) -> dict[int, JobReturn]:
    """Have the launcher run the jobs that are to do, and return how each ended, by its index among all."""
    values = [_values_of(job, record, earlier.checkpoint(job)) for job in jobs]
    overrides = [[*job.overrides, *_overrides(own_values)] for job, own_values in zip(jobs, values, strict=True)]
    configs = [_with(job.config, own_values) for job, own_values in zip(jobs, values, strict=True)]
    return dict(zip(todo, workforce.launch(overrides, configs, todo), strict=True))


def _kept(job: PlannedJob, earlier: Resumed) -> JobReturn:
    """Return what a job of the earlier command ended with."""
    run = earlier.progress.finished.get(job.identity)
    kept = JobReturn(overrides=list(job.overrides))
    if run is None:
        kept.status = JobStatus.FAILED
        failed = earlier.progress.failed[job.identity]
        kept.return_value = RuntimeError(failed.tags.get(Tag.ERROR, "it failed"))
    else:
        kept.status = JobStatus.COMPLETED
        kept.return_value = run.metrics.get(job.config["select"]["metric"] or SELECTED_BY)
    return kept


def _tuning(jobs: Sequence[PlannedJob], config: DictConfig, loader: ConfigLoader) -> Plan | None:
    if not jobs[0].config.get("tuning"):
        return None
    from lossbench.sweep.tuning.plan import plan_tuning

    return plan_tuning(jobs, config, loader)


def _values_of(job: PlannedJob, record: SweepRecord, checkpoint: str | None) -> dict[str, Any]:
    """Return what the sweep writes into a job's config, by dotted key."""
    values = {
        "job.sweep": record.id,
        "job.parent": record.objectives[job.objective],
        "job.objective": job.objective,
        "job.overrides": " ".join(job.varying),
        "job.number": job.number,
        "job.identity": job.identity,
    }
    return values if checkpoint is None else {**values, "ckpt_path": checkpoint}


def _overrides(values: dict[str, Any]) -> list[str]:
    return [f"{key}={_quote(value) if isinstance(value, str) else value}" for key, value in values.items()]


def _with(config: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return a config with values set in its ``job`` section and at its top."""
    changed = {**config, "job": dict(config["job"])}
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        (changed[section] if section else changed)[name] = value
    return changed


def _quote(text: str) -> str:
    """Quote a text for Hydra's grammar, with interpolations kept from resolving.

    >>> print(_quote('a "b" ${c}'))
    "a \\"b\\" \\${c}"
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${")
    return f'"{escaped}"'
