"""A sweep that was interrupted goes on when the same command is given again: what is done, what is to do."""

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

if TYPE_CHECKING:
    from lossbench.tracking.store.client import Run
    from lossbench.tracking.store.open import Store
    from lossbench.tracking.unfinished import Standing


@dataclass(frozen=True)
class Earlier:
    """The sweep that goes on, None for a new one, and what of it counts."""

    run: Run | None
    standing: Standing
    note: str | None = None

    def state(self, job: PlannedJob) -> str:
        """Return what is known of a job: ``finished``, ``failed`` and left so, or ``new``."""
        if job.identity in self.standing.finished:
            return "finished"
        return "failed" if job.identity in self.standing.failed else "new"

    def todo(self, jobs: Sequence[PlannedJob]) -> list[int]:
        """Return the places of the jobs that have to be trained."""
        return [place for place, job in enumerate(jobs) if self.state(job) == "new"]

    def checkpoint(self, job: PlannedJob) -> str | None:
        """Return the run from whose checkpoint a job that was broken off goes on; None where it starts anew."""
        settings = read_settings(job.config)
        if not settings.fit.resume_every or settings.fit.resume_from is not None:
            return None
        run = self.standing.checkpoint_of(job.identity)
        folder = settings.tracking.mlruns / "checkpoints"
        return run if run is not None and (folder / run / "last.ckpt").is_file() else None


def look_back(store: Store, jobs: Sequence[PlannedJob]) -> Earlier:
    """Find the sweep that these jobs continue, as ``sweep.resume`` wants it, and read once what became of its jobs.

    Raises
    ------
    UserError
        For settings of the wrong type, or a sweep that cannot be continued.
    """
    from lossbench.tracking import unfinished

    settings = SweepSettings.read(jobs[0].config)
    run, note = unfinished.find(store, sweep_identity(jobs), settings.resume)
    if run is None:
        return Earlier(None, unfinished.Standing(), note)
    identities = {job.identity for job in jobs}
    return Earlier(run, unfinished.standing(store, run.info.run_id, identities, settings.retry_failed), note)


def deliver_waiting(store: Store, console: Console) -> None:
    """Send what an earlier command could not, before anyone reads what was recorded."""
    from lossbench.tracking.store.outbox import outbox_of

    outbox = outbox_of(store)
    waiting = outbox.waiting()
    if waiting:
        outbox.deliver_patiently()
        console.print(f"delivered {waiting} records that had waited for the store", highlight=False)


def tell(earlier: Earlier, jobs: Sequence[PlannedJob], console: Console) -> None:
    """Say in a line what goes on, where something does."""
    if earlier.note:
        console.print(earlier.note, markup=False, highlight=False, soft_wrap=True)
    if earlier.run is not None:
        counts = Counter(earlier.state(job) for job in jobs)
        kept = f", {counts['failed']} stay failed" if counts["failed"] else ""
        console.print(
            f"continuing the sweep {earlier.run.info.run_id[:8]}: {counts['finished']} of {len(jobs)} jobs are "
            f"finished{kept}, {counts['new']} to train (sweep.resume=never starts another)",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def show_plan(store: Store, earlier: Earlier, jobs: Sequence[PlannedJob], console: Console) -> None:
    """List the jobs, what is known of each, and how long the new ones should train."""
    tell(earlier, jobs, console)
    redone = {run.data.tags.get("lossbench.identity"): run.info.status.lower() for run in earlier.standing.void}
    for job in jobs:
        state, before = earlier.state(job), redone.get(job.identity)
        shown = f"{state} (was {before})" if state == "new" and before not in (None, "finished") else state
        console.print(f"{job.number:>5}  {shown:<18} {job.objective}: {' '.join(job.varying)}", markup=False,
                      highlight=False, soft_wrap=True)  # fmt: skip
    counts = Counter(earlier.state(job) for job in jobs)
    console.print(f"{len(jobs)} jobs: " + ", ".join(f"{counts[state]} {state}" for state in counts))
    new = [job for job in jobs if earlier.state(job) == "new"]
    if new:
        console.print(_expected(store, new), soft_wrap=True)


def _expected(store: Store, new: Sequence[PlannedJob]) -> str:
    """Say how long jobs should train, by the recorded runs of their objectives."""
    from lossbench.tracking import read

    known = read.seconds_by_objective(store)
    wanted = [objective_fingerprint(job.config) for job in new]
    guesses = [known[objective] for objective in wanted if objective in known]
    if not guesses:
        return "expected time: unknown, nothing like these jobs has been recorded yet"
    total = sum(guesses) / len(guesses) * len(new)
    unlike = len(set(wanted) - set(known))
    note = f"; {unlike} objectives have no run yet and count as the mean of the others" if unlike else ""
    return f"expected time: {_duration(total)} of training on one core, by earlier runs{note}"


def _duration(seconds: float) -> str:
    """Return a time as a person would say it.

    >>> _duration(3.2), _duration(200), _duration(9000)
    ('3 s', '3 min', '2.5 h')
    """
    if seconds < 120:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
