"""One job, from a config to a recorded result: prepare, fit, evaluate, record; ``run`` chains them."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from lossbench.errors import UserError
from lossbench.evaluation.evaluation import Evaluation
from lossbench.runs.prepare import prepare
from lossbench.runs.ranks import joined
from lossbench.runs.train import checkpoint_path, evaluate, fit_here, selected_figures, threads
from lossbench.runs.validate import check_around
from lossbench.training.fit import Fit
from lossbench.training.job import Job

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Result:
    """What one run found; the same figures stand in MLflow under ``run_id``.

    Parameters
    ----------
    run_id
        The MLflow run.
    config
        The resolved config in plain containers.
    job
        What was trained; its network and objective hold the selected epoch's parameters.
    fit
        The selected epoch and the history.
    evaluation
        Metrics of every split, thresholds, posterior or calibrator.
    """

    run_id: str
    config: dict[str, Any]
    job: Job
    fit: Fit
    evaluation: Evaluation

    @property
    def metrics(self) -> dict[str, float]:
        """Final metrics by key, such as ``test/auroc``."""
        return self.evaluation.metrics

    @property
    def history(self) -> pd.DataFrame:
        """One row per epoch: training terms and validation metrics."""
        import pandas as pd

        return pd.DataFrame(self.fit.history).set_index("epoch")

    @property
    def score(self) -> float:
        """The selecting metric, on validation: what a sweeper may optimise. Never a test figure."""
        return self.metrics[self.config["select"]["metric"] or "val/auroc"]


def run(config: Mapping[str, Any] | DictConfig, *, live: bool = False) -> Result:
    """Prepare, fit, evaluate and record one job.

    Parameters
    ----------
    config
        What :func:`compose` returns, or any mapping of that shape.
    live
        Show a progress bar.

    Returns
    -------
    Result

    Raises
    ------
    UserError
        For anything in the config that cannot work; nothing is recorded then.
    Exception
        Whatever training raises, after the run is recorded as FAILED with its traceback.

    Examples
    --------
    A notebook needs no command line::

        from lossbench.experiment import compose, run
        result = run(compose(["data=iris", "loss=focal", "seed=3"]))
        result.metrics["test/auroc"], result.history
    """
    plain = _plain(config)
    return execute(prepare(plain), plain, live=live)


def execute(job: Job, config: dict[str, Any], *, live: bool = False) -> Result:
    """Fit, evaluate and record a job that :func:`prepare` made of this config."""
    from lossbench.runs.record import finish, reporter, started, store_of

    mlruns = Path(config["paths"]["mlruns"])
    resume_from = _checkpoint(config["ckpt_path"], mlruns)
    check_around(config, job.dataset.task)
    store = store_of(config)
    with threads(config["training"]["threads"]), started(store, config, job) as record:
        fitted = fit(job, config, record.id, report=reporter(record, config), resume_from=resume_from, live=live)
        evaluation = evaluate(job, config)
        finish(record, config, job, fitted, evaluation)
    return Result(record.id, config, job, fitted, evaluation)


def try_out(config: Mapping[str, Any] | DictConfig) -> dict[str, float]:
    """Train a trial of a tuning and return its selected epoch's validation figures.

    Nothing is recorded, which the tuning does, and no test row is looked at.
    """
    plain = _plain(config)
    plain["training"] = {**plain["training"], "resume_every": None}
    job = prepare(plain)
    check_around(plain, job.dataset.task)
    with threads(plain["training"]["threads"]):
        return selected_figures(fit(job, plain, "trial"))


def fit(
    job: Job,
    config: Mapping[str, Any],
    run_id: str,
    *,
    report: Callable[[Mapping[str, float]], None] | None = None,
    resume_from: Path | None = None,
    live: bool = False,
) -> Fit:
    """Train a job with Lightning; its network and objective end with the selected epoch's parameters.

    Where the trainer shares a run among processes, this one is the first of them and ends the others.
    """
    with joined(config, run_id, job.dataset.digest, resume_from) as ranks:
        return fit_here(job, config, run_id, ranks=ranks, report=report, resume_from=resume_from, live=live)


def _checkpoint(given: str | None, mlruns: Path) -> Path | None:
    if given is None:
        return None
    for path in (Path(str(given)), checkpoint_path(mlruns, str(given))):
        if os.path.isfile(path):  # not Path's own, which raises where a name is too long
            if not zipfile.is_zipfile(path):  # as torch writes them
                raise UserError(f"ckpt_path={given!r} is a file, and no checkpoint")
            return path
    raise UserError(
        f"ckpt_path is a checkpoint file or the id of a run trained with training.resume_every, got {given!r}"
    )


def _plain(config: Mapping[str, Any] | DictConfig) -> dict[str, Any]:
    made = OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else config
    if not isinstance(made, Mapping) or "choices" not in made:
        raise UserError(
            "a config has the names of its choices under `choices`: make it by lossbench.experiment.compose"
        )
    return {str(key): value for key, value in made.items()}
