"""Many jobs: expand, compose, check, dispatch; the sweep's run is opened and closed here, whatever happens."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from lossbench import composition, naming
from lossbench.errors import CannotServe, UserError
from lossbench.expansion import compose_all, expand
from lossbench.progress import overall_bar

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.plugins.launcher import Launcher

    from lossbench.answer import Answer
    from lossbench.data.dataset import Dataset
    from lossbench.tracking.run import Status
    from lossbench.tracking.store import Store
    from lossbench.tracking.sweep import SweepRecord


class SweepFailed(Exception):
    """At least one job of a sweep raised; it is recorded and shown, and the exit status is 1."""


@dataclass(frozen=True)
class PlannedJob:
    """One job of a sweep, before it runs; ``varying`` are those of its overrides in which the jobs differ."""

    number: int
    overrides: tuple[str, ...]
    config: dict[str, Any]
    varying: tuple[str, ...]
    objective: str = ""


@dataclass(frozen=True)
class LeftOut:
    """A job whose components cannot serve the task or each other, which is no failure."""

    varying: tuple[str, ...]
    reason: str


def run_sweep(
    arguments: Sequence[str], config: DictConfig, loader: ConfigLoader, launcher: Launcher
) -> list[Sequence[JobReturn]]:
    """Run every combination of the overrides and end in a leaderboard.

    Parameters
    ----------
    arguments
        Hydra overrides, sweeps included; a later one wins over an earlier one with the same key.
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
    combinations = expand(OverridesParser.create(config_loader=loader).parse_overrides(list(arguments)))
    if hasattr(launcher, "expect"):
        launcher.expect(len(combinations))
    jobs, left_out = check_jobs(combinations, compose_all(combinations, config, loader))

    from lossbench.tracking.store import open_store

    shared = jobs[0].config
    mlruns = Path(shared["paths"]["mlruns"])
    store = open_store(mlruns, shared["tracking"]["uri"], shared["tracking"]["experiment"])
    name = config.hydra.runtime.choices.get("comparison") or naming.sweep_name([job.config for job in jobs])
    console = Console()
    with (
        recorded(store, str(name), jobs, left_out, console) as record,
        overall_bar(console, config.hydra.sweep.dir, len(jobs)),
    ):
        told = [_told(job, record) for job in jobs]
        overrides = [[*job.overrides, *_overrides(values)] for job, values in zip(jobs, told, strict=True)]
        if hasattr(launcher, "launch_composed"):
            configs = [_with(job.config, values) for job, values in zip(jobs, told, strict=True)]
            returns = launcher.launch_composed(overrides, configs, initial_job_idx=0)
        else:
            returns = launcher.launch(overrides, initial_job_idx=0)
    # Those that failed in training have a run of their own, and the leaderboard has listed them.
    broken = [(job, each) for job, each in zip(jobs, returns, strict=True) if each.status == JobStatus.FAILED]
    if broken:
        job, ended = broken[0]
        raise SweepFailed(
            f"{len(broken)} of {len(jobs)} jobs could not start; the first ({' '.join(job.varying)}): "
            f"{ended._return_value}"
        )
    return [returns]


def check_jobs(
    combinations: Sequence[Sequence[str]], configs: Sequence[dict[str, Any]]
) -> tuple[list[PlannedJob], list[LeftOut]]:
    """Build every objective's parts once, so that a wrong override costs no training.

    Jobs that differ in their seed or fold alone have the same parts.

    Raises
    ------
    UserError
        For the first job that is refused, naming it; or where every job is left out.
    """
    from lossbench import preparation

    common = set.intersection(*(set(overrides) for overrides in combinations))
    drawn: dict[str, Dataset] = {}
    refusals: dict[tuple[str, type], CannotServe | None] = {}
    jobs: list[PlannedJob] = []
    left_out: list[LeftOut] = []
    for number, (overrides, config) in enumerate(zip(combinations, configs, strict=True)):
        objective = composition.objective_fingerprint(config), type(config["seed"])
        try:
            # One draw serves all objectives: parts are checked against its task, not its rows.
            key = composition.fingerprint({"data": config["data"]}, composition.REPLICATE_KEYS)
            if key not in drawn:
                drawn[key] = preparation.draw(config)
            if objective not in refusals:
                refusals[objective] = _refusal(config, drawn[key])
            preparation.check_around(config, drawn[key].task)
        except UserError as error:
            raise UserError(f"job {number} ({' '.join(_varying(overrides, common))}): {error}") from error
        refusal = refusals[objective]
        if refusal is not None:
            left_out.append(LeftOut(_varying(overrides, common), str(refusal)))
        else:
            jobs.append(PlannedJob(number, tuple(overrides), config, _varying(overrides, common)))
    if not jobs:
        raise UserError(f"no job of this sweep can run; the first: {left_out[0].reason}")
    labels = naming.objective_labels([job.config for job in jobs])
    _check_comparison(jobs[0].config["compare"], _compared(jobs, labels))
    jobs = [replace(job, objective=label) for job, label in zip(jobs, labels, strict=True)]
    return jobs, left_out


def _refusal(config: dict[str, Any], dataset: Dataset) -> CannotServe | None:
    """Build a job's parts; return why they cannot serve the task or each other, if so."""
    from lossbench.preparation import prepare

    try:
        prepare(config, dataset)
    except CannotServe as refusal:
        return refusal
    return None


def _varying(overrides: Sequence[str], common: set[str]) -> tuple[str, ...]:
    """Return how a job differs from the others; all of its overrides where there is no other."""
    return tuple(text for text in overrides if text not in common) or tuple(overrides)


def _compared(jobs: Sequence[PlannedJob], labels: Sequence[str]) -> list[str]:
    """Return the names under which the leaderboard compares the jobs' objectives."""
    from lossbench.comparison.pairs import without_data

    return without_data(labels, [job.config["choices"].get("data") for job in jobs])


def _check_comparison(compare: dict[str, Any], labels: Sequence[str]) -> None:
    from lossbench.comparison.direction import direction
    from lossbench.comparison.rope import rope

    rope("", compare["rope"])
    if compare["metric"] is not None:
        direction(compare["metric"], compare["direction"])
    # The shipped default may be absent from a sweep; another baseline was named by a person.
    if compare["baseline"] not in (None, "cross_entropy", *labels):
        raise UserError(f"compare.baseline is one of {', '.join(dict.fromkeys(labels))}, got {compare['baseline']!r}")


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


@contextmanager
def recorded(
    store: Store, name: str, jobs: Sequence[PlannedJob], left_out: Sequence[LeftOut], console: Console
) -> Iterator[SweepRecord]:
    """Own a sweep's run around its jobs: whatever happens in the block, it ends with a leaderboard and a true status.

    Raises
    ------
    SweepFailed
        After the end, where a job raised.
    """
    from lossbench.tracking.sweep import SweepRecord

    compare, select = jobs[0].config["compare"], jobs[0].config["select"]
    compared = _compared(jobs, [job.objective for job in jobs])
    metric = compare["metric"] or (select["metric"] or "val/auroc").replace("val/", "test/", 1)
    record = SweepRecord.open(
        store,
        name,
        objectives={job.objective: _defining(job) for job in jobs},
        tags={
            "lossbench.metric": metric,
            "lossbench.baseline": compare["baseline"] if compare["baseline"] in compared else None,
            "lossbench.rope": compare["rope"],
            "lossbench.direction": compare["direction"],
            "lossbench.jobs": len(jobs),
            "lossbench.command": shlex.join(["lossbench", *sys.argv[1:]]),
        },
        left_out=[(" ".join(job.varying), job.reason) for job in left_out],
    )
    status: Status = "FINISHED"
    traceback = None
    try:
        yield record
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    except Exception:
        import traceback as format_traceback

        status, traceback = "FAILED", format_traceback.format_exc()
        raise
    finally:
        # Nothing may interrupt the closing: a second Ctrl-C would leave runs that claim to be RUNNING.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            found = _close(store, record, jobs, status, traceback, console)
            _show_places(store, record.id, found, console)
        finally:
            signal.signal(signal.SIGINT, before)
    failed = 0 if found is None else int((found.runs["status"] != "FINISHED").sum())
    if failed:
        raise SweepFailed(f"{failed} of {len(jobs)} jobs failed; the list above has their overrides")


def _defining(job: PlannedJob) -> dict[str, Any]:
    choices = job.config["choices"]
    return {part: choices[part] for part in (*naming.PARTS, *naming.OTHERS) if choices.get(part) is not None}


def _close(
    store: Store,
    record: SweepRecord,
    jobs: Sequence[PlannedJob],
    status: Status,
    traceback: str | None,
    console: Console,
) -> Answer | None:
    """End every run of the sweep, with its answer where there is one, which is shown before the report is drawn."""
    from lossbench.answer import answer
    from lossbench.comparison.summary import summaries
    from lossbench.recording import merge_predictions
    from lossbench.references import record_references
    from lossbench.reporting import keep_report

    found = None
    try:
        record.end_unfinished("KILLED" if status == "KILLED" else "FAILED")
        if status == "FINISHED":
            record_references(store, record.id, [job.config for job in jobs])
        found = answer(store, record.id)
        if found is None:
            console.print("no job finished")
        else:
            found.show(console)
        merge_predictions(record, store.mlruns)
        if found is not None:
            found = keep_report(store, record, found, [job.config for job in jobs])
    finally:
        failed = found is not None and (found.runs["status"] == "FAILED").any()
        baseline = None if found is None else found.table.attrs["baseline"]
        record.close(
            "FAILED" if status == "FINISHED" and failed else status,
            unfinished="KILLED" if status == "KILLED" else "FAILED",
            summaries=None if found is None else summaries(found.runs, baseline),
            leaderboard=None if found is None else found.table,
            note=None if found is None else found.markdown,
            metrics=None if found is None else {"jobs": len(jobs), "failed": len(found.failures)},
            error=traceback,
        )
    return found


def _show_places(store: Store, sweep: str, found: Answer | None, console: Console) -> None:
    from lossbench.answer import chart_link

    if found is None:
        return
    console.print(Text(f"sweep {sweep}; again with: lossbench compare {sweep[:8]}"))
    if found.report is not None:
        console.print(Text(f"report: {found.report}"), soft_wrap=True)
    console.print(Text("charts, after `lossbench ui`:"))
    console.print(Text(chart_link(store, sweep, found)), soft_wrap=True)
