"""The objectives that a sweep will tune, checked before the first trial trains."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossbench.config.build import build_component
from lossbench.config.expand import Composed, document
from lossbench.config.identity import REPLICATE_KEYS, identity
from lossbench.errors import UserError
from lossbench.evaluation.catalogue import names_for
from lossbench.sweep.tuning.domain import Domain
from lossbench.sweep.tuning.settings import Settings
from lossbench.sweep.tuning.space import check_changes, encode_start, read_space

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from omegaconf import DictConfig

    from lossbench.data.dataset import Dataset
    from lossbench.sweep.jobs import PlannedJob


@dataclass(frozen=True)
class Subject:
    """One objective that is tuned.

    Parameters
    ----------
    objective
        Its label.
    overrides
        Of its jobs, less seeds and folds that vary among them.
    domains, start
        What is tuned, and what Optuna draws first.
    key
        Identifies the tuning: the objective, its space and the protocol.
    config
        Composes a trial's config from values by dotted key.
    """

    objective: str
    overrides: tuple[str, ...]
    domains: Sequence[Domain]
    start: Mapping[str, Any]
    key: str
    config: Callable[[Mapping[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Plan:
    """The subjects of a tuning and its settings."""

    settings: Settings
    subjects: Sequence[Subject]

    def replicates(self, subject: Subject, seeds: range) -> Iterator[dict[str, Any]]:
        """Yield what a trial's replicates differ in, by dotted key: the seed, and the fold where there are folds."""
        data = subject.config({})["data"]
        for index, seed in enumerate(seeds):
            yield {"seed": seed} | ({} if data.get("fold") is None else {"data.fold": index % data["folds"]})


def plan_tuning(jobs: Sequence[PlannedJob], config: DictConfig, loader: ConfigLoader) -> Plan:
    """Return what will be tuned for the jobs of a sweep.

    Raises
    ------
    UserError
        For settings, spaces or seeds that cannot serve, naming the key, the rule and the value.
    """
    settings = Settings.read(jobs[0].config)
    members: dict[str, list[PlannedJob]] = {}
    for job in jobs:
        members.setdefault(job.objective, []).append(job)
    check_changes(settings.space, [of_objective[0].config for of_objective in members.values()])
    subjects = [_plan_subject(label, each, settings, config, loader) for label, each in members.items()]
    plan = Plan(settings, subjects)
    _check_unseen(plan, jobs)
    _check_parts(plan)
    build_component({**settings.sampler, "seed": 0}, "tuning.sampler")
    return plan


def _plan_subject(
    label: str, jobs: Sequence[PlannedJob], settings: Settings, config: DictConfig, loader: ConfigLoader
) -> Subject:
    # A seed that is the same throughout says which data are meant; one that varies makes way for tuning's.
    fixed = {text for text in jobs[0].overrides if all(text in job.overrides for job in jobs)}
    kept = tuple(
        text for text in jobs[0].overrides if _key(text) not in REPLICATE_KEYS or
        (text in fixed and _key(text) not in ("seed", "data.fold"))
    )  # fmt: skip
    fold = [text for text in jobs[0].overrides if _key(text) == "data.fold"]
    composed = Composed([*kept, *fold], config, loader)
    example = composed.plain()
    try:
        domains = read_space(
            example, lambda path: document(loader, path), settings.space, [_key(text) for text in jobs[0].overrides]
        )
        first = encode_start(domains, example)
    except UserError as error:
        raise UserError(f"tuning {label}: {error}") from error
    identifying = [
        identity({**example, "tuning": {}}, REPLICATE_KEYS), example["tracking"]["uri"],
        example["tracking"]["experiment"], [str(domain) for domain in domains], [domain.key for domain in domains],
        settings.metric, list(settings.tuning_seeds), dict(settings.sampler), example["data"],
    ]  # fmt: skip
    key = hashlib.sha256(json.dumps(identifying, sort_keys=True, default=str).encode()).hexdigest()[:16]
    return Subject(label, kept, domains, first, key, composed.plain)


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _check_unseen(plan: Plan, jobs: Sequence[PlannedJob]) -> None:
    """Refuse seeds or splits of the comparison that tuning would see."""
    settings = plan.settings
    seeds = range(settings.tuning_seeds.start, settings.further_seeds.stop)
    both = sorted({job.config["seed"] for job in jobs} & set(seeds))
    if both:
        raise UserError(
            f"the seeds {seeds.start} to {seeds.stop - 1} are tuning's, and the comparison has {both[0]}: "
            "choose another tuning.first_seed"
        )
    compared = {_data(job.config) for job in jobs}
    for subject in plan.subjects:
        for values in plan.replicates(subject, seeds):
            if _data(subject.config(values)) in compared:
                raise UserError(
                    f"tuning {subject.objective} would see the comparison's own split: leave data.source_seed or "
                    "data.split_seed to the seed, so that tuning has splits of its own"
                )


def _data(config: Mapping[str, Any]) -> str:
    return json.dumps(config["data"], sort_keys=True, default=str)


def _check_parts(plan: Plan) -> None:
    """Build every objective at both ends of each of its domains, so that no trial is refused by a constructor."""
    from lossbench.runs import prepare

    datasets: dict[str, Dataset] = {}
    for subject in plan.subjects:
        values = next(plan.replicates(subject, plan.settings.tuning_seeds))
        base = subject.config(values)
        dataset = datasets.get(_data(base)) or datasets.setdefault(_data(base), prepare.draw(base))
        metrics = names_for(dataset.task.n_classes, per_epoch=True)
        if plan.settings.metric.removeprefix("val/") not in metrics:
            raise UserError(
                f"tuning.metric is one of {', '.join(f'val/{name}' for name in metrics)} on {dataset.name}, "
                f"got {plan.settings.metric!r}"
            )
        for domain in subject.domains:
            for value in domain.choices or (domain.value(domain.low), domain.value(domain.high)):
                try:
                    prepare.prepare_job(subject.config({**values, domain.key: value}), dataset)
                except UserError as error:
                    raise UserError(f"tuning {subject.objective} with {domain.key}={value}: {error}") from error
