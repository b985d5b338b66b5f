"""The same command continues a sweep that was interrupted: what of it is done, and what is left to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console

from lossbench.config.identity import objective_fingerprint
from lossbench.runs.settings import read_settings
from lossbench.sweep.jobs import PlannedJob, sweep_identity
from lossbench.sweep.settings import SweepSettings
from lossbench.tracking.schema import Tag

if TYPE_CHECKING:
    from lossbench.tracking.search import RunRow
    from lossbench.tracking.store.open import Store
    from lossbench.tracking.unfinished import Progress


@dataclass(frozen=True)
class Resumed:
    """The sweep that is continued, None for a new one, and which of its runs count.

    Parameters
    ----------
    note
        What a person should know about the choice of the sweep.
    """

    run: RunRow | None
    progress: Progress
    note: str | None = None

    def state(self, job: PlannedJob) -> str:
        """Return ``finished``, ``failed`` (and left so), or ``new`` for a job that has to be trained."""
        if job.identity in self.progress.finished:
            return "finished"
        return "failed" if job.identity in self.progress.failed else "new"

    def todo(self, jobs: Sequence[PlannedJob]) -> list[int]:
        """Return the indices of the jobs that have to be trained."""
        return [index for index, job in enumerate(jobs) if self.state(job) == "new"]

    def checkpoint(self, job: PlannedJob) -> str | None:
        """Return the run whose checkpoint a job that was broken off continues from, or None if it starts anew."""
        settings = read_settings(job.config)
        if not settings.fit.resume_every or settings.fit.resume_from is not None:
            return None
        run = self.progress.checkpoint_of(job.identity)
        folder = settings.tracking.mlruns / "checkpoints"
        return run if run is not None and (folder / run / "last.ckpt").is_file() else None


def find_resumed(store: Store, jobs: Sequence[PlannedJob]) -> Resumed:
    """Return the sweep that these jobs continue, chosen as ``sweep.resume`` says, and what became of its jobs.

    Raises
    ------
    UserError
        For settings of the wrong type, or a sweep that cannot be continued.
    """
    from lossbench.tracking import unfinished

    settings = SweepSettings.read(jobs[0].config)
    run, note = unfinished.find_resumable(store, sweep_identity(jobs), settings.resume)
    if run is None:
        return Resumed(None, unfinished.Progress(), note)
    identities = {job.identity for job in jobs}
    return Resumed(run, unfinished.read_progress(store, run.id, identities, settings.retry_failed), note)


def deliver_waiting(store: Store, console: Console) -> None:
    """Send the records that an earlier command could not, before anyone reads what was recorded."""
    from lossbench.tracking.store.outbox import outbox_of

    outbox = outbox_of(store)
    waiting = outbox.waiting()
    if waiting:
        outbox.deliver_patiently()
        console.print(f"delivered {waiting} records that had waited for the store", highlight=False)


def show_resumed(resumed: Resumed, jobs: Sequence[PlannedJob], console: Console) -> None:
    """Print a line about the sweep that is continued, if there is one."""
    if resumed.note:
        console.print(resumed.note, markup=False, highlight=False, soft_wrap=True)
    if resumed.run is not None:
        counts = Counter(resumed.state(job) for job in jobs)
        kept = f", {counts['failed']} stay failed" if counts["failed"] else ""
        console.print(
            f"continuing the sweep {resumed.run.id[:8]}: {counts['finished']} of {len(jobs)} jobs are "
            f"finished{kept}, {counts['new']} to train (sweep.resume=never starts another)",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def show_plan(store: Store, resumed: Resumed, jobs: Sequence[PlannedJob], console: Console) -> None:
    """List the jobs with the state of each, and say how long the new ones should train."""
    show_resumed(resumed, jobs, console)
    redone = {run.tags.get(Tag.IDENTITY): run.status.lower() for run in resumed.progress.superseded}
    for job in jobs:
        state, before = resumed.state(job), redone.get(job.identity)
        shown = f"{state} (was {before})" if state == "new" and before not in (None, "finished") else state
        console.print(f"{job.number:>5}  {shown:<18} {job.objective}: {' '.join(job.varying)}", markup=False,
                      highlight=False, soft_wrap=True)  # fmt: skip
    counts = Counter(resumed.state(job) for job in jobs)
    console.print(f"{len(jobs)} jobs: " + ", ".join(f"{counts[state]} {state}" for state in counts))
    new = [job for job in jobs if resumed.state(job) == "new"]
    if new:
        console.print(_describe_time(store, new), soft_wrap=True)


def _describe_time(store: Store, new: Sequence[PlannedJob]) -> str:
    """Return a line that says how long jobs should train, by the recorded runs of their objectives."""
    from lossbench.tracking import read

    recorded = read.seconds_by_objective(store)
    objectives = [objective_fingerprint(job.config) for job in new]
    guesses = [recorded[objective] for objective in objectives if objective in recorded]
    if not guesses:
        return "expected time: unknown, nothing like these jobs has been recorded yet"
    total = sum(guesses) / len(guesses) * len(new)
    unrecorded = len(set(objectives) - set(recorded))
    note = f"; {unrecorded} objectives have no run yet and count as the mean of the others" if unrecorded else ""
    return f"expected time: {_format_seconds(total)} of training on one core, by earlier runs{note}"


def _format_seconds(seconds: float) -> str:
    """Return a time as a person would say it.

    >>> _format_seconds(3.2), _format_seconds(200), _format_seconds(9000)
    ('3 s', '3 min', '2.5 h')
    """
    if seconds < 120:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
