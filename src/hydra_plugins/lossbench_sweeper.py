"""The sweeper that records a multirun as one MLflow sweep; all it does is call :mod:`lossbench.sweep.dispatch`."""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


@dataclass
class LossbenchSweeperConf:
    _target_: str = "hydra_plugins.lossbench_sweeper.LossbenchSweeper"
    params: dict[str, Any] | None = field(default_factory=dict)
    # Several grids in one sweep, each beside `params`: settings that only some choices have.
    grids: list[Any] | None = None


ConfigStore.instance().store(group="hydra/sweeper", name="lossbench", node=LossbenchSweeperConf, provider="lossbench")


class LossbenchSweeper(Sweeper):
    """Run every combination of the sweep's overrides under any launcher, and end in an answer."""

    def __init__(self, params: dict[str, Any] | None = None, grids: list[Any] | None = None) -> None:
        super().__init__()
        self.params = dict(params or {})
        self.grids = OmegaConf.to_container(grids) if OmegaConf.is_config(grids) else grids

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        self._parts = (config, hydra_context.config_loader, launcher)

    def sweep(self, arguments: list[str]) -> Any:
        from lossbench.config.expand import with_grids
        from lossbench.sweep.dispatch import run_jobs

        return run_jobs(with_grids(self.params, self.grids, arguments), *self._parts).batches
