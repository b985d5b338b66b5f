"""From a launcher's overrides to jobs that run in stacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from lossbench.config.expand import compose_all
from lossbench.processes.workers import Workers, available
from lossbench.sweep.cluster import Cluster, pool
from lossbench.sweep.preload import SWEEP
from lossbench.sweep.stacks import Config, Ended, gathered, plan, run_all


@dataclass(frozen=True)
class LaunchSettings:
    """What a person sets of the launcher.

    Parameters
    ----------
    processes
        Processes that share the work; None: one per processor.
    replicates
        Jobs that are trained together at most.
    cluster, parameters
        Where the stacks are trained instead of here, and what submitit is told of it.
    """

    processes: int | None
    replicates: int
    cluster: Cluster | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def workers(self, jobs: int) -> Workers | None:
        """Return the workers that this many jobs are worth, or None where this process or a cluster trains them."""
        return None if self.cluster is not None else Workers.enough_for(jobs, self.processes, SWEEP)


@dataclass(frozen=True)
class HydraParts:
    """What Hydra gives its launchers."""

    context: HydraContext
    task: TaskFunction
    config: DictConfig


def launch(
    job_overrides: Sequence[Sequence[str]],
    configs: Sequence[Config] | None,
    settings: LaunchSettings,
    hydra: HydraParts,
    *,
    first: int,
    todo: Sequence[int] | None = None,
    workers: Workers | None = None,
) -> list[JobReturn]:
    """Run jobs as Hydra's launchers do, and return how each ended, in order.

    Hydra's own callbacks see one job at a time: where there are any, Hydra's basic launcher runs all jobs.

    Parameters
    ----------
    configs
        What the overrides compose to, where a sweeper has composed them already.
    first
        The number of the first job.
    todo
        Places of the jobs to run, whose ends are returned; None: all. The others take part in the stacks that they
        were in when they ran, since the last bits of a stack's numbers depend on all that is in it.
    workers
        Processes of this machine that do it; None: this process does.
    """
    wanted = range(len(job_overrides)) if todo is None else todo
    config = hydra.config
    if config.hydra.get("callbacks"):
        from hydra._internal.core_plugins.basic_launcher import BasicLauncher

        basic = BasicLauncher()
        basic.setup(hydra_context=hydra.context, task_function=hydra.task, config=config)
        return list(basic.launch([job_overrides[place] for place in wanted], first))
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    sweep_dir = Path(str(config.hydra.sweep.dir))
    sweep_dir.mkdir(parents=True, exist_ok=True)
    returns = [JobReturn(overrides=list(overrides)) for overrides in job_overrides]

    def ended(place: int, end: Ended) -> None:
        returns[place].status = JobStatus.COMPLETED if end.error is None else JobStatus.FAILED
        returns[place].return_value = end.score if end.error is None else end.error

    if configs is None:
        configs = compose_all(job_overrides, config, hydra.context.config_loader)
    train = partial(run_all, configs, sweep_dir=sweep_dir, ended=ended, todo=wanted)
    if settings.cluster is not None:
        number = settings.processes or available()
        with pool(settings.cluster, sweep_dir / "submitit", settings.parameters) as submitted:
            train(gathered(plan(configs, number, settings.replicates), number), pool=submitted)
    elif workers is not None:
        _train_apart(train, configs, workers, settings.replicates)
    elif (own := settings.workers(len(configs))) is not None:
        with own:
            _train_apart(train, configs, own, settings.replicates)
    else:
        train(plan(configs, 1, settings.replicates))
    return [returns[place] for place in wanted]


def _train_apart(train: Callable[..., None], configs: Sequence[Config], workers: Workers, replicates: int) -> None:
    try:
        # They have imported what planning needs.
        train(workers.submit(plan, configs, workers.number, replicates).result(), pool=workers)
    except BaseException:
        # Before anyone ends the runs that they are recording.
        workers.abandon()
        raise
