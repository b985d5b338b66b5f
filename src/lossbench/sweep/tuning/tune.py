"""Tune every objective of a sweep by the same budget: wave by wave, all objectives together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from lossbench.sweep.tuning.plan import Plan
from lossbench.sweep.tuning.running import Attempt, Figures, RunningTuning, lock_path, open_tuning
from lossbench.sweep.tuning.tuned import Tuned

if TYPE_CHECKING:
    from lossbench.tracking.store.open import Store

# Trains attempts, and returns the validation figures of each or what broke it.
Launch = Callable[[Sequence[Attempt]], Sequence[Figures | BaseException]]


def tune(plan: Plan, store: Store, sweep: str, launch: Launch, say: Callable[[str], None]) -> list[Tuned]:
    """Try settings until every objective has its number of finished trials, and return how each tuning ended.

    An interruption leaves the journals as they are: the same command goes on from there.

    Parameters
    ----------
    store, sweep
        Where trials are recorded, and the run above them.
    launch
        Trains the attempts of a wave.
    say
        Takes a line for a person.
    """
    with ExitStack() as stack:
        running = [stack.enter_context(open_tuning(plan, subject, store, sweep)) for subject in plan.subjects]
        ended = sum(len(one.study.ended()) for one in running)
        if ended:
            say(f"tuning continues: {ended} trials of an interrupted sweep count")
        while wave := [(one, trial) for one in running for trial in one.next()]:
            ends = iter(launch([attempt for one, trial in wave for attempt in one.attempts(trial)]))
            for one, trial in wave:
                one.tell(trial, [next(ends) for _ in range(plan.settings.seeds)])
        _confirm(running, launch, len(plan.settings.further_seeds))
        return [one.end() for one in running]


def _confirm(running: Sequence[RunningTuning], launch: Launch, seeds: int) -> None:
    """Score the best trials of every objective, and its default, on further seeds."""
    unconfirmed = [(one, trial) for one in running for trial in one.unconfirmed()]
    if not unconfirmed:
        return
    ends = iter(launch([attempt for one, trial in unconfirmed for attempt in one.attempts(trial, further=True)]))
    by_tuning: dict[RunningTuning, dict[int, Sequence[Figures | BaseException]]] = {}
    for one, trial in unconfirmed:
        by_tuning.setdefault(one, {})[trial.number] = [next(ends) for _ in range(seeds)]
    for one, by_trial in by_tuning.items():
        one.confirm(by_trial)


def archive_journals(tunings: Sequence[Tuned], sweep: str) -> None:
    """Keep the journals of a finished sweep under its id, so that the same command tunes anew."""
    for tuned in tunings:
        tuned.journal.rename(tuned.journal.with_name(f"{tuned.journal.stem}-{sweep}.journal"))
        lock_path(tuned.journal).unlink(missing_ok=True)
