"""The two ways to train prepared runs: one by one with Lightning, which is the reference, and many as one stack."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from lossbench.errors import UserError
from lossbench.evaluation.evaluation import Evaluation
from lossbench.runs.prepare import PlannedRun
from lossbench.runs.ranks import joined
from lossbench.runs.settings import RunSettings
from lossbench.runs.train import checkpoint_path, evaluate_fast, evaluate_with_torchmetrics, fit_rank
from lossbench.training.fit import Fit
from lossbench.training.job import Job

if TYPE_CHECKING:
    from lossbench.tracking.run import RunRecord


class Engine(Protocol):
    """What trains and evaluates runs; all else about a run is the same, whoever trains it."""

    # Whether it writes each epoch into the record as it comes.
    reports_epochs: ClassVar[bool]

    def train(self, runs: Sequence[PlannedRun], records: Sequence[RunRecord | None]) -> Sequence[Fit | Exception]:
        """Train the jobs, whose networks and objectives end with the selected epoch's parameters; None: no record."""
        ...

    def evaluate(self, run: PlannedRun) -> Evaluation:
        """Score a trained job on every split."""
        ...


@dataclass(frozen=True)
class Lightning:
    """Trains a single run with Lightning, which reports each epoch.

    Parameters
    ----------
    resume_from
        The checkpoint from which it goes on.
    live
        Show a progress bar.
    """

    resume_from: Path | None = None
    live: bool = False
    reports_epochs: ClassVar[bool] = True

    def train(self, runs: Sequence[PlannedRun], records: Sequence[RunRecord | None]) -> list[Fit | Exception]:
        from lossbench.runs.record import reporter  # MLflow takes seconds to import

        ((run, record),) = zip(runs, records, strict=True)
        return [
            fit_with_ranks(
                run.job,
                run.config,
                run.settings,
                "unrecorded" if record is None else record.id,
                report=None if record is None else reporter(record, run),
                resume_from=self.resume_from,
                live=self.live,
            )
        ]

    def evaluate(self, run: PlannedRun) -> Evaluation:
        return evaluate_with_torchmetrics(run.job, run.settings)


class Stacked:
    """Trains runs as one stack; `lossbench.training.stacked.eligible.stack_key` says which can share one."""

    reports_epochs: ClassVar[bool] = False

    def train(self, runs: Sequence[PlannedRun], records: Sequence[RunRecord | None]) -> list[Fit | Exception]:
        return train_as_stack(runs)

    def evaluate(self, run: PlannedRun) -> Evaluation:
        return evaluate_fast(run.job, run.settings)


def train_as_stack(runs: Sequence[PlannedRun]) -> list[Fit | Exception]:
    """Train a stack; if it raises, train its halves, down to the run at fault.

    A decomposition refuses the NaN of one replicate for all, and half a stack fits where a whole one lacks memory.
    """
    from lossbench.training.stacked import eligible
    from lossbench.training.stacked.engine import fit

    jobs, trainer = [run.job for run in runs], runs[0].settings.fit.trainer
    kinds = [eligible.kind_key(job) for job in jobs]
    try:
        return list(fit(jobs, kinds, clip=eligible.clip_of(trainer), device=eligible.device_of(trainer)))
    except Exception as error:
        if len(runs) == 1:
            return [error]
    # Outside the handler, which would hold the failed stack's memory.
    half = len(runs) // 2
    return [*train_as_stack(runs[:half]), *train_as_stack(runs[half:])]


def fit_with_ranks(
    job: Job,
    config: Mapping[str, object],
    settings: RunSettings,
    run_id: str,
    *,
    report: Callable[[Mapping[str, float]], None] | None = None,
    resume_from: Path | None = None,
    live: bool = False,
) -> Fit:
    """Train a job with Lightning, in this process and in as many others as its trainer asks for."""
    with joined(config, settings, run_id, job.dataset.digest, resume_from) as ranks:
        return fit_rank(job, settings, run_id, ranks=ranks, report=report, resume_from=resume_from, live=live)


def checkpoint_of(settings: RunSettings) -> Path | None:
    """Return the checkpoint file from which a run goes on; None where it starts at the first epoch.

    Raises
    ------
    UserError
        Where there is no such file or run.
    """
    source = settings.fit.resume_from
    if source is None:
        return None
    for path in (Path(str(source)), checkpoint_path(settings.tracking.mlruns, str(source))):
        if os.path.isfile(path):  # not Path's own, which raises where a name is too long
            if not zipfile.is_zipfile(path):  # as torch writes them
                raise UserError(f"ckpt_path={source!r} is a file, and no checkpoint")
            return path
    raise UserError(
        f"ckpt_path is a checkpoint file or the id of a run trained with training.resume_every, got {source!r}"
    )
