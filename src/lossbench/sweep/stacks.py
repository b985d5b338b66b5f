"""A sweep's jobs in stacks: which are trained as one, how stacks are cut into chunks, and how a chunk is run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future, as_completed
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lossbench.config.identity import objective_fingerprint
from lossbench.processes.workers import portable
from lossbench.sweep.progress import tick

if TYPE_CHECKING:
    from lossbench.runs.execute import Outcome
    from lossbench.runs.prepare import PlannedRun

Config = dict[str, Any]
# What a worker is handed: the reason why its jobs are trained one by one, None for a stack, and their indices.
Chunk = tuple[str | None, list[int]]

# A process keeps 300 draws of rings, of which one takes as long as a tenth of a run.
_SEEDS_TOGETHER = 128


class Submitter(Protocol):
    """What a sweep hands its chunks to: workers of this machine, or a cluster."""

    def submit(self, work: Callable[..., Any], /, *arguments: Any) -> Future[Any]: ...


def run_all(
    configs: Sequence[Config],
    chunks: Sequence[Chunk],
    *,
    sweep_dir: Path,
    ended: Callable[[int, Outcome], None],
    todo: Collection[int],
    workers: Submitter | None = None,
) -> None:
    """Train, evaluate and record every job, in stacks where that is possible.

    Parameters
    ----------
    configs
        One per job, with what the sweep tells it under ``job``.
    chunks
        As `plan_stacks` returns them for these jobs.
    sweep_dir
        Where jobs say that they have ended, for the overall bar.
    ended
        Called with a job's index and its outcome, as soon as that is known.
    todo
        Indices of the jobs to record. The others are trained again where they share a stack with one of these, since
        the last bits of a stack's numbers depend on all that is in it, and leave nothing.
    workers
        Who does the work; None: this process.
    """
    wanted = set(todo)

    def report(indices: Sequence[int], outcomes: Sequence[Outcome | None]) -> None:
        for index, outcome in zip(indices, outcomes, strict=True):
            if outcome is not None:
                ended(index, outcome)

    waiting: dict[Future[list[Outcome | None]], list[int]] = {}
    for alone, indices in chunks:
        if not wanted.intersection(indices):
            continue
        chunk = [configs[index] for index in indices]
        recorded = [index in wanted for index in indices]
        if workers is None:
            report(indices, run_chunk(chunk, recorded, alone, sweep_dir))
        else:
            waiting[workers.submit(run_chunk, chunk, recorded, alone, sweep_dir)] = indices
    for future in as_completed(waiting):
        report(waiting[future], future.result())


def regrouped(chunks: Sequence[Chunk], workers: int) -> list[Chunk]:
    """Put jobs that are trained one by one into a chunk for each worker, where every chunk takes seconds to start."""
    single: dict[str, list[int]] = {}
    for alone, indices in chunks:
        if alone is not None:
            single.setdefault(alone, []).extend(indices)
    shared = [
        (alone, indices[start::workers])
        for alone, indices in single.items()
        for start in range(min(workers, len(indices)))
    ]
    return [chunk for chunk in chunks if chunk[0] is None] + shared


def plan_stacks(configs: Sequence[Config], processes: int, replicates: int) -> list[Chunk]:
    """Return the chunks of jobs, each with the reason why its one job is trained alone, or None for a stack.

    Jobs that differ in their seed alone are asked once. Those of one kind stay together, since every kind of loss
    costs time in every step, for so many seeds that their data can be kept from one chunk to the next; a stack is cut
    so that each process has work.
    """
    from lossbench.training.stacked import eligible, size

    objectives: dict[str, list[int]] = {}
    for index, config in enumerate(configs):
        objectives.setdefault(objective_fingerprint(config), []).append(index)
    stacks: dict[str, dict[str, list[int]]] = {}
    limits: dict[str, int] = {}
    chunks: list[Chunk] = []
    for indices in objectives.values():
        run = _plan(configs[indices[0]], recorded=False)
        alone = eligible.why_alone(run.job, run.settings.fit)
        if alone is not None:
            chunks += [(alone, [index]) for index in indices]
            continue
        key = eligible.stack_key(run.job, run.settings.fit)
        if key not in limits:
            device = eligible.device_of(run.settings.fit.trainer)
            limits[key] = min(replicates, size.replicates(run.job, device, processes))
        kinds = stacks.setdefault(key, {})
        kinds.setdefault(eligible.kind_key(run.job), []).extend(indices)
    for key, kinds in stacks.items():
        by_kind = [index for members in kinds.values() for index in members]
        chunks += [(None, chunk) for chunk in _cut(_by_block_of_seeds(by_kind, configs), processes, limits[key])]
    # Long work first, so that no process waits for the last.
    return sorted(chunks, key=lambda chunk: -len(chunk[1]))


def _by_block_of_seeds(indices: Sequence[int], configs: Sequence[Config]) -> list[int]:
    """Return jobs in the order of blocks of seeds, within a block as they were."""
    seeds = sorted({configs[index]["seed"] for index in indices})
    block = {seed: number // _SEEDS_TOGETHER for number, seed in enumerate(seeds)}
    return sorted(indices, key=lambda index: block[configs[index]["seed"]])


def _cut(indices: list[int], processes: int, limit: int) -> Iterable[list[int]]:
    """Cut a stack into chunks within a limit, as many for each process, so that none waits for the last."""
    chunks = max(-(-len(indices) // limit), min(processes, len(indices)))
    chunks = min(len(indices), -(-chunks // processes) * processes)
    each, more = divmod(len(indices), chunks)
    bounds = [number * each + min(number, more) for number in range(chunks + 1)]
    return [indices[start:stop] for start, stop in pairwise(bounds)]


def _plan(config: Config, *, recorded: bool) -> PlannedRun:
    from lossbench.runs.dataset_cache import dataset_of
    from lossbench.runs.prepare import build_job, planned
    from lossbench.runs.settings import read_settings

    settings = read_settings(config)
    job = build_job(settings, dataset_of(settings.data, settings.seed))
    return planned(job, config, settings, recorded=recorded and not settings.job.trial)


def run_chunk(
    configs: Sequence[Config], recorded: Sequence[bool], alone: str | None, sweep_dir: Path
) -> list[Outcome | None]:
    """Run some jobs in this process, and return how each ended; an interruption ends all that have not.

    Those that are not recorded are trained with the others of their stack and leave nothing: their outcome is None.
    """
    from lossbench.runs.execute import Outcome

    if alone is not None:
        return [
            _run_alone(config, alone, sweep_dir) if wanted else None
            for config, wanted in zip(configs, recorded, strict=True)
        ]
    from lossbench.training.stacked import eligible

    outcomes: dict[int, Outcome | None] = {}
    stacks: dict[str, dict[int, PlannedRun]] = {}
    for index, (config, wanted) in enumerate(zip(configs, recorded, strict=True)):
        try:
            run = _plan(config, recorded=wanted)
        except Exception as error:
            outcomes[index] = Outcome(error=portable(error)) if wanted else None
            if wanted:
                tick(sweep_dir)
            continue
        # Another seed may have another number of rows.
        stacks.setdefault(eligible.stack_key(run.job, run.settings.fit), {})[index] = run
    for runs in stacks.values():
        if any(recorded[index] for index in runs):
            outcomes.update(zip(runs, _run_stack(list(runs.values()), sweep_dir), strict=True))
    return [outcomes.get(index) for index in range(len(configs))]


def _run_stack(runs: Sequence[PlannedRun], sweep_dir: Path) -> list[Outcome | None]:
    from lossbench.runs.engines import Stacked
    from lossbench.runs.execute import complete, complete_trials

    outcomes: list[Outcome | None] = []
    if runs[0].settings.job.trial:
        outcomes += complete_trials(runs, Stacked())
        for _ in runs:
            tick(sweep_dir)
    else:
        outcomes += complete(runs, Stacked(), lambda _: tick(sweep_dir))
    return [None if outcome is None else _sent(outcome) for outcome in outcomes]


def _run_alone(config: Config, alone: str, sweep_dir: Path) -> Outcome:
    from lossbench.runs.execute import Outcome, score_of

    try:
        return Outcome(score_of({**config, "job": {**config["job"], "alone": alone}}))
    except Exception as error:
        return Outcome(error=portable(error))
    finally:
        tick(sweep_dir)


def _sent(outcome: Outcome) -> Outcome:
    """Return an outcome that can be sent, and that holds no network by the traceback of its error."""
    from lossbench.runs.execute import Outcome

    return outcome if outcome.error is None else Outcome(error=portable(outcome.error))
