"""One job, from a config to a recorded result: prepare, fit, evaluate, record; ``run`` chains them."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig, OmegaConf

from lossbench.components import components
from lossbench.composition import compose
from lossbench.errors import UserError
from lossbench.evaluation.evaluation import Evaluation
from lossbench.evaluation.evaluation import evaluate as evaluate_scores
from lossbench.preparation import added_metrics, check, check_around, collection, draw, prepare
from lossbench.training.fit import Fit
from lossbench.training.forward import scores_of
from lossbench.training.job import Job
from lossbench.training.ranks import Ranks

if TYPE_CHECKING:
    import pandas as pd


__all__ = ["Result", "check", "check_around", "compose", "draw", "evaluate", "execute", "fit", "prepare", "run"]


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
    from lossbench import recording

    mlruns = Path(config["paths"]["mlruns"])
    resume_from = _checkpoint(config["ckpt_path"], mlruns)
    check_around(config, job.dataset.task)
    store = recording.store_of(config)
    with threads(config["training"]["threads"]), recording.started(store, config, job) as record:
        fitted = fit(
            job, config, record.id, report=recording.reporter(record, config), resume_from=resume_from, live=live
        )
        evaluation = evaluate(job, config)
        recording.finish(record, config, job, fitted, evaluation)
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


def selected_figures(fitted: Fit) -> dict[str, float]:
    """Return the validation figures of the selected epoch."""
    chosen = next(row for row in fitted.history if row["epoch"] == fitted.selected_epoch)
    return {key: value for key, value in chosen.items() if key.startswith("val/")}


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
    from lossbench.ranks import joined  # it imports this module

    with joined(config, run_id, job.dataset.digest, resume_from) as ranks:
        return fit_here(job, config, run_id, ranks=ranks, report=report, resume_from=resume_from, live=live)


def fit_here(
    job: Job,
    config: Mapping[str, Any],
    run_id: str,
    *,
    ranks: Ranks,
    report: Callable[[Mapping[str, float]], None] | None = None,
    resume_from: Path | None = None,
    live: bool = False,
) -> Fit:
    """Train a job in this process, one of the ranks that share it: :func:`fit`."""
    from lossbench.training.trainer import fit as fit_with_lightning  # Lightning takes seconds to import

    every = config["training"]["resume_every"]
    return fit_with_lightning(
        job,
        config["trainer"],
        callbacks=components(config, "callbacks"),
        loggers=components(config, "tracking.loggers"),
        checkpoint=checkpoint_path(Path(config["paths"]["mlruns"]), run_id) if every else None,
        resume_every=every,
        resume_from=resume_from,
        report=report,
        live=live,
        ranks=ranks,
    )


def evaluate(job: Job, config: Mapping[str, Any]) -> Evaluation:
    """Score the selected network on every split, with the config's torchmetrics."""
    return evaluate_job(job, collection(config, job.dataset.task))


def evaluate_fast(job: Job, config: Mapping[str, Any]) -> Evaluation:
    """Evaluate as :func:`evaluate` does, with our own metrics in place of the shipped torchmetrics (equal to 1e-8)."""
    added = added_metrics(config)
    return evaluate_job(job, collection({"metrics": added}, job.dataset.task) if added else None)


def evaluate_job(job: Job, metrics: Any = None) -> Evaluation:
    """Score a job's network as it stands; without metrics, by the built-in metrics."""
    splits = {"train": job.dataset.train, "val": job.dataset.val, "test": job.dataset.test}
    present = {name: rows for name, rows in splits.items() if rows is not None}
    job.network.eval()
    return evaluate_scores(
        {name: scores_of(job.network, rows.x) for name, rows in present.items()},
        {name: rows.y for name, rows in present.items()},
        job.objective.loss,
        job.dataset.task,
        class_weights=job.objective.class_weights,
        sampling_rates=job.dataset.sampling_rates,
        collection=metrics,
    )


def checkpoint_path(mlruns: Path, run_id: str) -> Path:
    """Return where a run keeps the checkpoint that it can be resumed from."""
    return mlruns / "checkpoints" / run_id / "last.ckpt"


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


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Let torch work with so many threads; its sums depend on the number."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if number is None else number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
