"""From a launcher's overrides to jobs that run in stacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from lossbench.config.expand import compose_all
from lossbench.processes.workers import Workers, available
from lossbench.sweep.cluster import Cluster, submitting_to
from lossbench.sweep.preload import SWEEP
from lossbench.sweep.stacks import Config, plan_stacks, regrouped, run_all

if TYPE_CHECKING:
    from lossbench.runs.execute import Outcome


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
        Where the stacks are trained instead of here, and submitit's settings for it.
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
        Indices of the jobs to run, whose ends are returned; None: all. The others take part in the stacks that they
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
        return list(basic.launch([job_overrides[index] for index in wanted], first))
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    sweep_dir = Path(str(config.hydra.sweep.dir))
    sweep_dir.mkdir(parents=True, exist_ok=True)
    returns = [JobReturn(overrides=list(overrides)) for overrides in job_overrides]

    def ended(index: int, outcome: Outcome) -> None:
        returns[index].status = JobStatus.COMPLETED if outcome.error is None else JobStatus.FAILED
        returns[index].return_value = outcome.score if outcome.error is None else outcome.error

    if configs is None:
        configs = compose_all(job_overrides, config, hydra.context.config_loader)
    train = partial(run_all, configs, sweep_dir=sweep_dir, ended=ended, todo=wanted)
    if settings.cluster is not None:
        number = settings.processes or available()
        with submitting_to(settings.cluster, sweep_dir / "submitit", settings.parameters) as cluster:
            train(regrouped(plan_stacks(configs, number, settings.replicates), number), workers=cluster)
    elif workers is not None:
        _train_in(workers, train, configs, settings.replicates)
    elif (started := settings.workers(len(configs))) is not None:
        with started:
            _train_in(started, train, configs, settings.replicates)
    else:
        train(plan_stacks(configs, 1, settings.replicates))
    return [returns[index] for index in wanted]


def _train_in(workers: Workers, train: Callable[..., None], configs: Sequence[Config], replicates: int) -> None:
    try:
        # They have imported what planning needs.
        train(workers.submit(plan_stacks, configs, workers.number, replicates).result(), workers=workers)
    except BaseException:
        # Before anyone ends the runs that they are recording.
        workers.abandon()
        raise
