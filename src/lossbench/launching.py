"""From a launcher's overrides to jobs that run in stacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from lossbench.batched import Config, Ended, gathered, plan, run_all
from lossbench.cluster import Cluster, pool
from lossbench.expansion import compose_all
from lossbench.workers import Workers, available


def launch(
    job_overrides: Sequence[Sequence[str]],
    configs: Sequence[Config] | None,
    first: int,
    todo: Sequence[int] | None,
    workers: Workers | None,
    processes: int | None,
    replicates: int,
    hydra_context: HydraContext,
    task_function: TaskFunction,
    config: DictConfig,
    cluster: Cluster | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> list[JobReturn]:
    """Run jobs as Hydra's launchers do, and return how each ended, in order.

    Hydra's own callbacks see one job at a time: where there are any, Hydra's basic launcher runs all jobs.

    Parameters
    ----------
    configs
        What the overrides compose to, where a sweeper has composed them already.
    todo
        Places of the jobs to run, whose ends are returned; None: all. The others take part in the stacks that they
        were in when they ran, since the last bits of a stack's numbers depend on all that is in it.
    workers
        Processes of this machine that do it; None: this process does.
    cluster, parameters
        Where the stacks are trained instead of here, and what submitit is told of it.
    """
    wanted = range(len(job_overrides)) if todo is None else todo
    if config.hydra.get("callbacks"):
        from hydra._internal.core_plugins.basic_launcher import BasicLauncher

        basic = BasicLauncher()
        basic.setup(hydra_context=hydra_context, task_function=task_function, config=config)
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
        configs = compose_all(job_overrides, config, hydra_context.config_loader)
    train = partial(run_all, configs, sweep_dir=sweep_dir, ended=ended, todo=wanted)
    if cluster is not None:
        number = processes or available()
        with pool(cluster, sweep_dir / "submitit", parameters or {}) as submitted:
            train(gathered(plan(configs, number, replicates), number), pool=submitted)
    elif workers is not None:
        _train_apart(train, configs, workers, replicates)
    elif (own := Workers.enough_for(len(configs), processes)) is not None:
        with own:
            _train_apart(train, configs, own, replicates)
    else:
        train(plan(configs, 1, replicates))
    return [returns[place] for place in wanted]


def _train_apart(train: Callable[..., None], configs: Sequence[Config], workers: Workers, replicates: int) -> None:
    try:
        # They have imported what planning needs.
        train(workers.submit(plan, configs, workers.number, replicates).result(), pool=workers)
    except BaseException:
        # Before anyone ends the runs that they are recording.
        workers.abandon()
        raise
