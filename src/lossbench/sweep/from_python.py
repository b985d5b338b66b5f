"""A sweep without a command line: what a notebook calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossbench.config.compose import hydra_application
from lossbench.errors import UserError

if TYPE_CHECKING:
    from lossbench.sweep.answer import Answer


def run_sweep(overrides: Sequence[str], config_dir: str | Path | None = None) -> Answer:
    """Run a sweep as ``lossbench -m`` would with the same overrides, and return its answer.

    It is the same sweep in every respect: jobs are checked before the first trains, recorded in MLflow, and an
    interrupted one goes on when it is called again.

    Parameters
    ----------
    overrides
        Hydra overrides, such as ``["loss=cross_entropy,focal", "seed=range(10)"]``.
    config_dir
        A folder of further configs, as ``compose`` takes it.

    Returns
    -------
    Answer
        The leaderboard with its runs. Jobs that failed are listed in it.

    Raises
    ------
    UserError
        For anything in the overrides that cannot work; nothing is trained then.
    Failed
        Where no job finished.

    Examples
    --------
    ::

        import lossbench
        answer = lossbench.run_sweep(["data=iris", "loss=cross_entropy,focal", "seed=range(10)"])
        answer.leaderboard.table
    """
    from hydra._internal.callbacks import Callbacks
    from hydra.core.plugins import Plugins
    from hydra.types import HydraContext, RunMode
    from omegaconf import OmegaConf

    from lossbench.config.expand import with_grids
    from lossbench.sweep.dispatch import run_jobs
    from lossbench.sweep.hydra_task import run_job
    from lossbench.sweep.lifecycle import SweepFailed

    with hydra_application(config_dir) as (hydra, search):
        config = hydra.compose_config("train", [*overrides, *search], RunMode.MULTIRUN, with_log_configuration=False)
        context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks(config))
        launcher = Plugins.instance().instantiate_launcher(config=config, hydra_context=context, task_function=run_job)
        sweeper: Any = OmegaConf.to_container(config.hydra.sweeper)
        grids = with_grids(sweeper.get("params") or {}, sweeper.get("grids"), list(config.hydra.overrides.task))
        try:
            answer = run_jobs(grids, config, hydra.config_loader, launcher).answer
        except SweepFailed as error:
            if error.answer is None:
                raise
            answer = error.answer
    if answer is None:
        raise UserError("sweep.dry_run=true only lists the jobs: leave it out for an answer")
    return answer
