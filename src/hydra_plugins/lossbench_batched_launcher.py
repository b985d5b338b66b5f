"""The launcher that trains a sweep's jobs in stacks; all it does is call :mod:`lossbench.sweep.stacks`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class BatchedLauncherConf:
    _target_: str = "hydra_plugins.lossbench_batched_launcher.BatchedLauncher"
    # Processes that share the work; null: one per processor.
    processes: int | None = None
    # Jobs that are trained together at most.
    replicates: int = 512


@dataclass
class LocalClusterConf(BatchedLauncherConf):
    # Jobs handed to the cluster, each a stack or more.
    processes: int | None = 2
    cluster: str = "local"
    # submitit's: https://github.com/facebookincubator/submitit/blob/main/docs/examples.md
    parameters: dict[str, Any] = field(default_factory=lambda: {"timeout_min": 60})


@dataclass
class SlurmConf(LocalClusterConf):
    processes: int | None = 8
    cluster: str = "slurm"
    parameters: dict[str, Any] = field(
        default_factory=lambda: {"timeout_min": 60, "cpus_per_task": 1, "mem_gb": 4, "slurm_partition": None}
    )


for _name, _node in (
    ("batched", BatchedLauncherConf),
    ("submitit_local", LocalClusterConf),
    ("submitit_slurm", SlurmConf),
):
    ConfigStore.instance().store(group="hydra/launcher", name=_name, node=_node, provider="lossbench")


class BatchedLauncher(Launcher):
    """Train jobs of one shape as one; whatever cannot be stacked is trained by Lightning, and says why."""

    def __init__(
        self,
        processes: int | None = None,
        replicates: int = 512,
        cluster: str | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> None:
        from lossbench.sweep.launch import LaunchSettings

        # Hydra hands over its own containers.
        plain = {str(key): value for key, value in (parameters or {}).items() if value is not None}
        self._settings = LaunchSettings(processes, replicates, cluster, plain)  # type: ignore[arg-type]  # submitit checks it

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from lossbench.sweep.launch import HydraParts

        self._hydra = HydraParts(hydra_context, task_function, config)

    def workers(self, jobs: int) -> Any:
        """Return workers for this many jobs, for `launch_composed`; None if this process is enough."""
        return self._settings.workers(jobs)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        return self.launch_composed(job_overrides, None, initial_job_idx)

    def launch_composed(
        self,
        job_overrides: Sequence[Sequence[str]],
        configs: Sequence[dict[str, Any]] | None,
        initial_job_idx: int,
        todo: Sequence[int] | None = None,
        workers: Any = None,
    ) -> Sequence[JobReturn]:
        """As `launch`, for a sweeper that has composed the jobs' configs already and may want some of them alone."""
        from lossbench.sweep.launch import launch

        return launch(
            job_overrides, configs, self._settings, self._hydra, first=initial_job_idx, todo=todo, workers=workers
        )
