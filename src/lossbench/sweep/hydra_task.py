"""What Hydra's launchers call for each job of a sweep."""

from __future__ import annotations

from omegaconf import DictConfig

from lossbench.config import compose


def run_job(config: DictConfig) -> float | dict[str, float]:
    """Run one job of a sweep as Hydra composed it; return the selecting metric, or a trial's validation figures."""
    from hydra.core.hydra_config import HydraConfig

    from lossbench.processes.lifetime import die_with_parent, is_joblib_worker
    from lossbench.runs.execute import score_of
    from lossbench.sweep.progress import tick

    hydra = HydraConfig.get()
    # A launcher may have started this process elsewhere, with nothing but the pickled job.
    compose.make_importable(hydra.runtime.cwd)
    if is_joblib_worker():
        die_with_parent()
    try:
        return score_of(compose.plain(config, hydra.runtime.choices))
    finally:
        tick(hydra.sweep.dir)
