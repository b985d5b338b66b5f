"""The record of one run: its start, its epochs, and all that it leaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import pandas as pd

from lossbench.errors import UserError
from lossbench.evaluation.row_table import build_row_table
from lossbench.evaluation.sparsity import measure_sparsity
from lossbench.inference import model_file
from lossbench.models.forward import scores_of
from lossbench.runs.prepare import PlannedRun
from lossbench.runs.settings import RunSettings
from lossbench.tracking import row_tables
from lossbench.tracking.run import RunRecord
from lossbench.tracking.schema import Artifact, Role, figure_path
from lossbench.tracking.store.outbox import PATIENCE_SECONDS

if TYPE_CHECKING:
    from lossbench.data.dataset import Dataset
    from lossbench.evaluation.evaluation import Evaluation
    from lossbench.tracking.store.open import Store
    from lossbench.training.fit import Fit
    from lossbench.training.job import Job

_MLFLOW_TYPES = {"numeric": "double", "boolean": "boolean", "categorical": "string", "date": "datetime"}


def store_of(settings: RunSettings) -> Store:
    """Open the store of a run; a job of a sweep waits for one that does not answer just now."""
    from lossbench.tracking.store.open import open_store

    tracking = settings.tracking
    until = time.monotonic() + (0.0 if settings.job.sweep is None else PATIENCE_SECONDS)
    while True:
        try:
            return open_store(tracking.mlruns, tracking.uri, tracking.experiment)
        except UserError:
            if time.monotonic() >= until:
                raise
        time.sleep(1.0)


def start_record(store: Store, run: PlannedRun, *, hold: bool = False) -> RunRecord:
    """Start the record of a run with all that is known before it trains; ``hold`` is `RunRecord.start`'s."""
    about = run.description
    assert about is not None
    record = RunRecord.start(
        store,
        about.name,
        role=Role.RUN,
        params=about.params,
        tags=about.tags,
        parent=run.settings.job.parent,
        sweep=run.settings.job.sweep,
        objective=about.objective,
        hold=hold,
    )
    try:
        record.artifacts.text(about.config_yaml, Artifact.CONFIG)
        _record_data(record, run.job.dataset, about.source)
    except BaseException as error:
        record.end_by(error)
        raise
    return record


def _record_data(record: RunRecord, dataset: Dataset, source: str) -> None:
    types = {name: _MLFLOW_TYPES[kind] for name, kind in dataset.preprocessing.schema.items()}
    record.dataset(
        dataset.name,
        dataset.digest,
        columns={**types, "target": "string"},
        rows=sum(len(rows) for rows in (dataset.train, dataset.val, dataset.test) if rows is not None),
        source=source,
    )


def reporter(record: RunRecord, run: PlannedRun) -> Callable[[Mapping[str, float]], None]:
    """Return a function that puts an epoch's row into the run's history as it comes."""

    def report(row: Mapping[str, float]) -> None:
        record.log(_thinned([row], run.settings.tracking.history))

    return report


def keep_history(record: RunRecord, run: PlannedRun, history: Iterable[Mapping[str, float]]) -> None:
    """Put a whole history into the record of a run that ends at once."""
    record.log(_thinned(history, run.settings.tracking.history), hold=True)


def _thinned(rows: Iterable[Mapping[str, float]], every: int | None) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield every n-th epoch with its figures; none for None."""
    for row in rows:
        if every is not None and row["epoch"] % every == 0:
            yield int(row["epoch"]), {key: value for key, value in row.items() if key != "epoch"}


def finish_record(record: RunRecord, run: PlannedRun, fitted: Fit, evaluation: Evaluation) -> None:
    """Write what a run leaves and end it as FINISHED; the selected epoch's figures are its final values."""
    assert run.description is not None
    tracking, job = run.settings.tracking, run.job
    if tracking.predictions != 0 or tracking.figures:
        table = build_row_table(job.dataset, evaluation, lambda x: scores_of(job.network, x), tracking.predictions)
    if tracking.predictions != 0:
        row_tables.keep(record, run.settings.job.sweep, tracking.mlruns, table)
    model = model_file.dump(
        run.description.config, job.dataset, job.network, job.objective, evaluation, fitted.selected_epoch
    )
    record.artifacts.bytes(model, Artifact.MODEL)
    if tracking.export:
        from lossbench.runs.export import export  # it imports what serves models, which takes seconds

        export(store_of(run.settings), record.id, model)
    if evaluation.undefined:
        record.artifacts.json(evaluation.undefined, Artifact.UNDEFINED)
    if tracking.figures:
        _draw_figures(record, job, fitted, evaluation, table.to_pandas())
    record.finish(_final_figures(job, fitted, evaluation))


def _final_figures(job: Job, fitted: Fit, evaluation: Evaluation) -> dict[str, float]:
    chosen = fitted.chosen
    training = {key: value for key, value in chosen.items() if key.startswith(("train/", "val/"))}
    return {
        **training,
        **evaluation.metrics,
        **measure_sparsity(job.network),
        **{f"threshold/{name}": value for name, value in evaluation.thresholds.items()},
        # A metric, not a tag: known at the end only, where tags would cost a session of the database, and their
        # mean over an objective's runs says how often its posterior did not stand.
        "posterior/calibrated": float(evaluation.posterior_kind != "gradient"),
        "selected_epoch": fitted.selected_epoch,
        "epochs": fitted.epochs,
        "seconds": fitted.seconds,
    }


def _draw_figures(record: RunRecord, job: Job, fitted: Fit, evaluation: Evaluation, table: pd.DataFrame) -> None:
    from lossbench.runs import figures

    drawn = {
        "training_curves": figures.training_curves(fitted.history, fitted.selected_epoch),
        "roc": figures.roc(job.dataset, evaluation, lambda x: scores_of(job.network, x)),
    }
    if (table["split"] == "grid").any():
        drawn["decision_regions"] = figures.decision_regions(job.dataset, table)
    for name, figure in drawn.items():
        record.artifacts.bytes(figures.png(figure), figure_path(f"{name}.png"))
