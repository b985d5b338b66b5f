"""Run a sweep's jobs in stacks: a few processes train, evaluate and record many jobs at a time."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lossbench.config.identity import objective_fingerprint
from lossbench.sweep.progress import tick

if TYPE_CHECKING:
    from lossbench.tracking.run import RunRecord
    from lossbench.training.fit import Fit
    from lossbench.training.job import Job

Config = dict[str, Any]
# Jobs that are trained together, by their places; with the reason where they are trained one by one instead.
Chunk = tuple[str | None, list[int]]

# A process keeps 300 draws of rings, of which one takes as long as a tenth of a run.
_SEEDS_TOGETHER = 128


class Pool(Protocol):
    """What a sweep hands its chunks to."""

    def submit(self, work: Callable[..., Any], /, *arguments: Any) -> Future[Any]: ...


@dataclass(frozen=True)
class Ended:
    """How one job ended: its score (a trial of a tuning has all its validation figures), or what broke it."""

    score: float | dict[str, float] | None = None
    error: Exception | None = None


def run_all(
    configs: Sequence[Config],
    chunks: Sequence[Chunk],
    *,
    sweep_dir: Path,
    ended: Callable[[int, Ended], None],
    todo: Collection[int],
    pool: Pool | None = None,
) -> None:
    """Train, evaluate and record every job, in stacks where that is possible.

    Parameters
    ----------
    configs
        One per job, told of its sweep.
    chunks
        As `plan` returns them for these jobs.
    sweep_dir
        Where jobs say that they have ended, for the overall bar.
    ended
        Called with a job's place and how it ended, as soon as that is known.
    todo
        Places of the jobs to record. The others are trained again where they share a stack with one of these, since
        the last bits of a stack's numbers depend on all that is in it, and leave nothing.
    pool
        Who does the work; None: this process.
    """
    wanted = set(todo)

    def told(places: Sequence[int], found: Sequence[Ended | None]) -> None:
        for place, end in zip(places, found, strict=True):
            if end is not None:
                ended(place, end)

    waiting: dict[Future[list[Ended | None]], list[int]] = {}
    for reason, places in chunks:
        if not wanted.intersection(places):
            continue
        own = [configs[place] for place in places]
        quiet = [place not in wanted for place in places]
        if pool is None:
            told(places, _run_chunk(own, quiet, reason, sweep_dir))
        else:
            waiting[pool.submit(_run_chunk, own, quiet, reason, sweep_dir)] = places
    for future in as_completed(waiting):
        told(waiting[future], future.result())


def gathered(chunks: Sequence[Chunk], workers: int) -> list[Chunk]:
    """Put jobs that are trained one by one into a chunk for each worker, where every chunk takes seconds to start."""
    alone: dict[str, list[int]] = {}
    for reason, places in chunks:
        if reason is not None:
            alone.setdefault(reason, []).extend(places)
    gathered = [
        (reason, places[start::workers])
        for reason, places in alone.items()
        for start in range(min(workers, len(places)))
    ]
    return [chunk for chunk in chunks if chunk[0] is None] + gathered


def plan(configs: Sequence[Config], processes: int, replicates: int) -> list[Chunk]:
    """Return the chunks of jobs, each with the reason why its one job is trained alone, or None for a stack.

    Jobs that differ in their seed alone are asked once. Those of one kind stay together, since every kind of loss
    costs time in every step, for so many seeds that their data can be kept from one chunk to the next; a stack is cut
    so that each process has work.
    """
    from lossbench.runs import dataset_cache
    from lossbench.runs.prepare import prepare
    from lossbench.training.stacked import eligible, size

    cells: dict[str, list[int]] = {}
    for place, config in enumerate(configs):
        cells.setdefault(objective_fingerprint(config), []).append(place)
    stacks: dict[str, dict[str, list[int]]] = {}
    limits: dict[str, int] = {}
    chunks: list[Chunk] = []
    for places in cells.values():
        config = configs[places[0]]
        job = prepare(config, dataset_cache.dataset(config))
        reason = eligible.why_alone(config, job)
        if reason is None:
            key = eligible.stack_key(config, job)
            if key not in limits:
                limits[key] = min(replicates, size.replicates(job, eligible.device_of(config), processes))
            kinds = stacks.setdefault(key, {})
            kinds.setdefault(eligible.kind_key(config, job), []).extend(places)
        else:
            chunks += [(reason, [place]) for place in places]
    for key, kinds in stacks.items():
        places = [place for members in kinds.values() for place in members]
        seeds = sorted({configs[place]["seed"] for place in places})
        block = {seed: number // _SEEDS_TOGETHER for number, seed in enumerate(seeds)}
        places.sort(key=lambda place: block[configs[place]["seed"]])
        pieces = max(-(-len(places) // limits[key]), min(processes, len(places)))
        # As many for each process, so that none waits for the last.
        pieces = min(len(places), -(-pieces // processes) * processes)
        each, more = divmod(len(places), pieces)
        bounds = [piece * each + min(piece, more) for piece in range(pieces + 1)]
        chunks += [(None, places[start:stop]) for start, stop in pairwise(bounds)]
    # Long work first, so that no process waits for the last.
    return sorted(chunks, key=lambda chunk: -len(chunk[1]))


def _run_chunk(
    configs: Sequence[Config], quiet: Sequence[bool], alone: str | None, sweep_dir: Path
) -> list[Ended | None]:
    """Run some jobs in this process; each ends by itself, and an interruption ends all that have not.

    The quiet ones are trained with the others of their stack and leave nothing: their end is None.
    """
    if alone is not None:
        return [
            None if unheard else _run_alone(config, alone, sweep_dir)
            for config, unheard in zip(configs, quiet, strict=True)
        ]
    from lossbench.runs import dataset_cache
    from lossbench.runs.prepare import prepare
    from lossbench.training.stacked import eligible

    ends: dict[int, Ended | None] = {}
    groups: dict[str, list[tuple[int, Job]]] = {}
    for place, config in enumerate(configs):
        try:
            job = prepare(config, dataset_cache.dataset(config))
        except Exception as error:
            ends[place] = _end(Ended(error=_portable(error)), quiet[place], sweep_dir)
            continue
        # Another seed may have another number of rows.
        groups.setdefault(eligible.stack_key(config, job), []).append((place, job))
    for members in groups.values():
        places = [place for place, _ in members]
        own, unheard = [configs[place] for place in places], [quiet[place] for place in places]
        if all(unheard):
            ends.update(dict.fromkeys(places))
            continue
        run = _try_stack if own[0]["job"]["trial"] else _run_stack
        found = run(own, unheard, [job for _, job in members], sweep_dir)
        ends.update(zip(places, found, strict=True))
    return [ends[place] for place in range(len(configs))]


def _end(ended: Ended, quiet: bool, sweep_dir: Path) -> Ended | None:
    if quiet:
        return None
    tick(sweep_dir)
    return ended


def _run_alone(config: Config, reason: str, sweep_dir: Path) -> Ended:
    from lossbench.runs.execute import run, try_out

    try:
        if config["job"]["trial"]:
            return Ended(try_out(config))
        return Ended(run({**config, "job": {**config["job"], "alone": reason}}).score)
    except Exception as error:
        return Ended(error=_portable(error))
    finally:
        tick(sweep_dir)


def _run_stack(
    configs: Sequence[Config], quiet: Sequence[bool], jobs: Sequence[Job], sweep_dir: Path
) -> list[Ended | None]:
    from lossbench.runs.record import started, store_of
    from lossbench.runs.train import threads

    store = store_of(configs[0])
    records: list[RunRecord | None] = []
    ends: list[Ended | None] = []
    try:
        for config, job, unheard in zip(configs, jobs, quiet, strict=True):
            records.append(None if unheard else started(store, config, job, hold=True))
        with threads(configs[0]["training"]["threads"]):
            fits = _fit(configs, jobs)
            for config, job, record, fitted in zip(configs, jobs, records, fits, strict=True):
                ends.append(None if record is None else _finish(config, job, record, fitted))
                if record is not None:
                    tick(sweep_dir)
    except BaseException as error:
        for record in records:
            if record is not None:
                record.__exit__(type(error), error, error.__traceback__)
        if not isinstance(error, Exception):
            raise
        ends += [_end(Ended(error=_portable(error)), unheard, sweep_dir) for unheard in quiet[len(ends) :]]
    return ends


def _fit(configs: Sequence[Config], jobs: Sequence[Job]) -> list[Fit | Exception]:
    """Train a stack; where that raises, in halves, until whose fault it is stands alone.

    A decomposition refuses the NaN of one replicate for all, and half a stack fits where a whole one lacks memory.
    """
    from lossbench.training.stacked import eligible
    from lossbench.training.stacked.engine import fit

    kinds = [eligible.kind_key(config, job) for config, job in zip(configs, jobs, strict=True)]
    try:
        return list(fit(jobs, kinds, clip=eligible.clip_of(configs[0]), device=eligible.device_of(configs[0])))
    except Exception as error:
        if len(jobs) == 1:
            return [error]
    # Outside the handler, which would hold the failed stack's memory.
    half = len(jobs) // 2
    return [*_fit(configs[:half], jobs[:half]), *_fit(configs[half:], jobs[half:])]


def _try_stack(
    configs: Sequence[Config], quiet: Sequence[bool], jobs: Sequence[Job], sweep_dir: Path
) -> list[Ended | None]:
    """Train trials of a tuning, which records them itself."""
    from lossbench.runs.train import selected_figures, threads
    from lossbench.training.fit import Fit

    try:
        with threads(configs[0]["training"]["threads"]):
            fits = _fit(configs, jobs)
        return [
            Ended(selected_figures(fitted)) if isinstance(fitted, Fit) else Ended(error=_portable(fitted))
            for fitted in fits
        ]
    except Exception as error:
        return [Ended(error=_portable(error)) for _ in jobs]
    finally:
        for _ in jobs:
            tick(sweep_dir)


def _finish(config: Config, job: Job, record: RunRecord, fitted: Fit | Exception) -> Ended:
    """Evaluate and record one job of a stack."""
    from lossbench.runs.execute import Result
    from lossbench.runs.record import finish, keep_history
    from lossbench.runs.train import evaluate_fast
    from lossbench.training.fit import Diverged, Fit

    try:
        if isinstance(fitted, Fit | Diverged):
            keep_history(record, config, fitted.history)
        if not isinstance(fitted, Fit):
            raise fitted
        evaluation = evaluate_fast(job, config)
        finish(record, config, job, fitted, evaluation)
    except Exception as error:
        record.__exit__(type(error), error, error.__traceback__)
        return Ended(error=_portable(error))
    return Ended(Result(record.id, config, job, fitted, evaluation).score)


def _portable(error: Exception) -> Exception:
    """Return an exception that reaches another process whole; its traceback is in the run's record."""
    return RuntimeError("".join(traceback.format_exception_only(error)).strip())
