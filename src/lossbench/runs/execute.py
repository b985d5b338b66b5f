"""From a config to a recorded result: jobs are trained, evaluated and recorded in one way, one by one or as a stack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from lossbench.errors import UserError
from lossbench.evaluation.evaluation import Evaluation
from lossbench.runs import engines
from lossbench.runs.engines import Engine, Lightning, checkpoint_of
from lossbench.runs.prepare import PlannedRun, build_job, plan_run, planned
from lossbench.runs.settings import read_settings
from lossbench.runs.train import evaluate_with_torchmetrics, threads
from lossbench.runs.validate import check_around
from lossbench.tracking.schema import SELECTED_BY
from lossbench.training.fit import Diverged, Fit
from lossbench.training.job import Job

if TYPE_CHECKING:
    import pandas as pd

    from lossbench.tracking.run import RunRecord


@dataclass(frozen=True)
class Result:
    """What one run left; the same figures stand in MLflow under ``run_id``.

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
        return self.metrics[self.job.rule.metric or SELECTED_BY]


@dataclass(frozen=True)
class Outcome:
    """How one job ended: its score (a trial of a tuning has all its validation figures), or what broke it."""

    score: float | dict[str, float] | None = None
    error: Exception | None = None


Ended = Callable[[Result | Exception], object]


def complete(runs: Sequence[PlannedRun], engine: Engine, ended: Ended) -> list[Outcome | None]:
    """Train runs together, evaluate and record each, and return how each ended.

    Each ends by itself: what breaks one leaves the others as they are, and an interruption ends all that have not.

    Parameters
    ----------
    runs
        One for Lightning, those of a stack for the stacked engine. A run without a description is trained along and
        leaves nothing: its outcome is None.
    ended
        Called with what a recorded run left, or what broke it, as soon as its record has ended.
    """
    from lossbench.runs.record import start_record, store_of  # MLflow takes seconds to import
    from lossbench.tracking.store.outbox import outbox_of

    store = store_of(runs[0].settings)
    outbox = outbox_of(store)
    records: list[RunRecord | None] = []
    outcomes: list[Outcome | None] = []
    try:
        with outbox.together():
            for run in runs:
                # A stack's runs show no more than their names before they end, so that their params can wait.
                hold = not engine.reports_epochs
                records.append(None if run.description is None else start_record(store, run, hold=hold))
        with threads(runs[0].settings.fit.threads):
            fits = engine.train(runs, records)
        with threads(runs[0].settings.fit.threads), outbox.together():
            for run, record, fitted in zip(runs, records, fits, strict=True):
                outcomes.append(None if record is None else _finish(run, record, fitted, engine, ended))
    except BaseException as error:
        for record in records:
            if record is not None:
                record.end_by(error)
        if not isinstance(error, Exception):
            raise
        rest = runs[len(outcomes) :]
        outcomes.extend(None if run.description is None else _failed(error, ended) for run in rest)
    return outcomes


def _finish(run: PlannedRun, record: RunRecord, fitted: Fit | Exception, engine: Engine, ended: Ended) -> Outcome:
    """Evaluate a trained run and end its record."""
    from lossbench.runs.record import finish_record, keep_history

    try:
        if isinstance(fitted, Fit | Diverged) and not engine.reports_epochs:
            keep_history(record, run, fitted.history)
        if not isinstance(fitted, Fit):
            raise fitted
        evaluation = engine.evaluate(run)
        finish_record(record, run, fitted, evaluation)
    except Exception as error:
        record.end_by(error)
        return _failed(error, ended)
    result = Result(record.id, run.config, run.job, fitted, evaluation)
    ended(result)
    return Outcome(result.score)


def _failed(error: Exception, ended: Ended) -> Outcome:
    ended(error)
    return Outcome(error=error)


def complete_trials(runs: Sequence[PlannedRun], engine: Engine) -> list[Outcome]:
    """Train trials of a tuning, which records them itself, and return the selected epoch's validation figures of each.

    No test row is looked at.
    """
    try:
        with threads(runs[0].settings.fit.threads):
            fits = engine.train(runs, [None] * len(runs))
    except Exception as error:
        return [Outcome(error=error)] * len(runs)
    return [Outcome(_validation(each)) if isinstance(each, Fit) else Outcome(error=each) for each in fits]


def _validation(fitted: Fit) -> dict[str, float]:
    return {key: value for key, value in fitted.chosen.items() if key.startswith("val/")}


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
    return run_planned(plan_run(_plain(config)), live=live)


def execute(job: Job, config: Mapping[str, Any], *, live: bool = False) -> Result:
    """Fit, evaluate and record a job that :func:`prepare` built from this config."""
    return run_planned(planned(job, config, read_settings(config)), live=live)


def run_planned(run: PlannedRun, *, live: bool = False) -> Result:
    """Fit, evaluate and record one run that has been worked out."""
    engine = Lightning(checkpoint_of(run.settings), live)
    check_around(run.settings, run.job.dataset.task)
    results: list[Result | Exception] = []
    complete([run], engine, results.append)
    (result,) = results
    if isinstance(result, Exception):
        raise result
    return result


def score_of(config: Mapping[str, Any] | DictConfig) -> float | dict[str, float]:
    """Run one job of a sweep by itself and return its score; of a trial of a tuning, all its validation figures."""
    plain = _plain(config)
    if not read_settings(plain).job.trial:
        return run(plain).score
    # A tuning keeps no checkpoints.
    plain["training"] = {**plain["training"], "resume_every": None}
    settings = read_settings(plain)
    trial = planned(build_job(settings), plain, settings, recorded=False)
    check_around(trial.settings, trial.job.dataset.task)
    (outcome,) = complete_trials([trial], Lightning())
    if outcome.error is not None:
        raise outcome.error
    assert outcome.score is not None
    return outcome.score


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
    return engines.fit_with_ranks(
        job, config, read_settings(config), run_id, report=report, resume_from=resume_from, live=live
    )


def evaluate(job: Job, config: Mapping[str, Any]) -> Evaluation:
    """Score the selected network on every split, with the config's torchmetrics."""
    return evaluate_with_torchmetrics(job, read_settings(config))


def _plain(config: Mapping[str, Any] | DictConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else config
    if not isinstance(plain, Mapping) or "choices" not in plain:
        raise UserError(
            "a config has the names of its choices under `choices`: make it by lossbench.experiment.compose"
        )
    return {str(key): value for key, value in plain.items()}
