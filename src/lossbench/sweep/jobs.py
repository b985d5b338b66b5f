"""The jobs of a sweep: every one checked before the first trains, and named by what it compares."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lossbench.config import digests
from lossbench.config.identity import REPLICATE_KEYS, fingerprint, objective_fingerprint
from lossbench.config.labels import objective_labels
from lossbench.errors import CannotServe, UserError
from lossbench.evaluation.catalogue import AddedMetric, direction_of, rope_of

if TYPE_CHECKING:
    from lossbench.data.dataset import Dataset
    from lossbench.runs.settings import RunSettings


@dataclass(frozen=True)
class PlannedJob:
    """One job of a sweep, before it runs.

    ``varying`` are those of its overrides in which the jobs differ; ``identity`` is the hash of all that decides its
    result, contents of files included; ``added`` is what is known of the metrics that a person added.
    """

    number: int
    overrides: tuple[str, ...]
    config: dict[str, Any]
    varying: tuple[str, ...]
    objective: str = ""
    identity: str = ""
    added: Mapping[str, AddedMetric] = field(default_factory=dict)


@dataclass(frozen=True)
class LeftOut:
    """A job whose components cannot serve the task or each other, which is no failure."""

    varying: tuple[str, ...]
    reason: str


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
    from lossbench.runs.metrics import added_facts
    from lossbench.runs.prepare import prepare_data
    from lossbench.runs.settings import read_settings
    from lossbench.runs.validate import check_around

    common = set.intersection(*(set(overrides) for overrides in combinations))
    drawn: dict[str, Dataset] = {}
    refusals: dict[str, CannotServe | None] = {}
    jobs: list[PlannedJob] = []
    left_out: list[LeftOut] = []
    twins: Counter[str] = Counter()
    digests.forget()
    for number, (overrides, config) in enumerate(zip(combinations, configs, strict=True)):
        objective = objective_fingerprint(config)
        try:
            settings = read_settings(config)
            # One draw serves all objectives: parts are checked against its task, not its rows.
            key = fingerprint({"data": settings.data}, REPLICATE_KEYS)
            if key not in drawn:
                drawn[key] = prepare_data(settings.data)
            if objective not in refusals:
                refusals[objective] = _refusal(settings, drawn[key])
            check_around(settings, drawn[key].task)
        except UserError as error:
            raise UserError(f"job {number} ({' '.join(_varying(overrides, common))}): {error}") from error
        refusal = refusals[objective]
        if refusal is not None:
            left_out.append(LeftOut(_varying(overrides, common), str(refusal)))
        else:
            identity = digests.job_identity(config, drawn[key].digest)
            twins[identity] += 1
            if twins[identity] > 1:  # the same job, asked for twice, counts twice
                identity = f"{identity}-{twins[identity]}"
            jobs.append(PlannedJob(number, tuple(overrides), config, _varying(overrides, common), identity=identity))
    if not jobs:
        raise UserError(f"no job of this sweep can run; the first: {left_out[0].reason}")
    labels = objective_labels([job.config for job in jobs])
    added = added_facts(jobs[0].config["metrics"], next(iter(drawn.values())).task)
    _check_comparison(jobs[0].config["compare"], compared(jobs, labels), added)
    jobs = [replace(job, objective=label, added=added) for job, label in zip(jobs, labels, strict=True)]
    return jobs, left_out


def names_of_data(jobs: Sequence[PlannedJob]) -> dict[str, dict[str, list[str]]]:
    """Return what each of the data calls its classes and features, for the report: the runs' params do not hold it."""
    from lossbench.runs import dataset_cache

    first: dict[str, dict[str, Any]] = {}
    for job in jobs:
        first.setdefault(str(job.config["choices"].get("data")), job.config)
    drawn = {data: dataset_cache.dataset_of(config["data"], config["seed"]) for data, config in first.items()}
    return {
        data: {"classes": list(dataset.task.class_names), "features": list(dataset.feature_names)}
        for data, dataset in drawn.items()
    }


def sweep_identity(jobs: Sequence[PlannedJob]) -> str:
    """Return the hash of a sweep's jobs, by their configs alone: an edited loss or table makes no other sweep."""
    text = " ".join(sorted(fingerprint(job.config) for job in jobs))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _refusal(settings: RunSettings, dataset: Dataset) -> CannotServe | None:
    """Build a job's parts; return why they cannot serve the task or each other, if so."""
    from lossbench.runs.prepare import build_job

    try:
        build_job(settings, dataset)
    except CannotServe as refusal:
        return refusal
    return None


def _varying(overrides: Sequence[str], common: set[str]) -> tuple[str, ...]:
    """Return how a job differs from the others; all of its overrides where there is no other."""
    return tuple(text for text in overrides if text not in common) or tuple(overrides)


def compared(jobs: Sequence[PlannedJob], labels: Sequence[str]) -> list[str]:
    """Return the names under which the leaderboard compares the jobs' objectives."""
    from lossbench.comparison.pairs import without_data

    return without_data(labels, [job.config["choices"].get("data") for job in jobs])


def _check_comparison(compare: dict[str, Any], labels: Sequence[str], added: Mapping[str, AddedMetric]) -> None:
    rope_of("", compare["rope"])
    if not isinstance(compare["metric"], str | None):
        raise UserError(f"compare.metric is the name of a metric, or null, got {compare['metric']!r}")
    if compare["metric"] is not None:
        direction_of(compare["metric"], compare["direction"], added)
    # The shipped default may be absent from a sweep; another baseline was named by a person.
    if compare["baseline"] not in (None, "cross_entropy", *labels):
        raise UserError(f"compare.baseline is one of {', '.join(dict.fromkeys(labels))}, got {compare['baseline']!r}")
