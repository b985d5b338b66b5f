"""Pairs: two objectives compared where they saw the same data, split and seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from lossbench.comparison.datasets import DATA, FAMILY, with_families
from lossbench.errors import UserError

PAIRED_BY = ("data", "seed", "fold")
# Settings of the data that belong to training; all others say which rows a run sees, and pairs agree in them.
TRAINING_ON_DATA = ("data.batch_size", "data.sampler", "data.scale")
LABEL = "label"
DEFAULT_BASELINE = "cross_entropy"


def jobs_of(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that were trained, which references were not."""
    return runs[runs["role"] == "run"]


def finished(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that were trained to their end."""
    return runs[(runs["role"] == "run") & (runs["status"] == "FINISHED")]


def column_of(runs: pd.DataFrame, name: str) -> str:
    """Return the column that a person means by a name: its own, or that of a param or metric.

    Raises
    ------
    UserError
        Where no column answers; the message lists what there is.
    """
    for column in (name, f"params.{name}", f"metrics.{name}"):
        if column in runs.columns:
            return column
    params = [column.removeprefix("params.") for column in runs.columns if column.startswith("params.")]
    raise UserError(f"the runs have no param {name!r}: compare by objective, {', '.join(params)}")


def metric_column(runs: pd.DataFrame, metric: str) -> str:
    """Return the column of a metric, or raise a UserError that lists those of its split."""
    column = f"metrics.{metric}"
    if column not in runs.columns:
        names = [name.removeprefix("metrics.") for name in runs.columns if name.startswith("metrics.")]
        split = metric.split("/")[0]
        near = [name for name in names if name.startswith(f"{split}/")] or names
        raise UserError(f"no run has the metric {metric!r}: there are {', '.join(near) or 'none'}")
    return column


def keys_of_added(runs: pd.DataFrame, split: str, added: Iterable[str]) -> list[str]:
    """Return the keys under which the runs hold a split's added metrics: one, or one per class or part.

    >>> metrics = [f"metrics.test/{name}" for name in ("top/b", "kappa", "top/a", "f1")]
    >>> keys_of_added(pd.DataFrame(columns=metrics), "test", ["kappa", "top"])
    ['test/kappa', 'test/top/a', 'test/top/b']
    """
    keys = sorted(column.removeprefix("metrics.") for column in map(str, runs) if column.startswith("metrics."))
    return [key for name in added for key in keys if f"{key}/".startswith(f"{split}/{name}/")]


def labelled(runs: pd.DataFrame, by: Sequence[str] = ("objective",)) -> pd.DataFrame:
    """Return the runs with a column `label`: what is compared, the values of `by` joined by a middle dot.

    And with `dataset` and `family`, as from `families.with_families`.

    Objectives trained on several data are compared without the data in their names: `focal · iris` and
    `focal · rings` are both `focal`.
    """
    columns = [column_of(runs, name) for name in by]
    # A table read column by column lies in pieces, of which pandas warns at every column that is added.
    runs = with_families(runs.copy())
    named = runs
    if "objective" in columns and DATA in runs:
        jobs = runs["role"] == "run"
        named = runs.assign(objective=runs["objective"].astype(object))
        named.loc[jobs, "objective"] = without_data(runs.loc[jobs, "objective"], runs.loc[jobs, DATA])
    labels = [
        " · ".join(param_text(value) for value in row if not pd.isna(value))
        for row in named[columns].itertuples(index=False)
    ]
    return runs.assign(**{LABEL: pd.Series(labels, index=runs.index, dtype=object)})


def param_text(value: object) -> str:
    """Return a param as its run wrote it: a column with gaps holds whole numbers as floats.

    >>> param_text(3.0), param_text(0.5), param_text("focal")
    ('3', '0.5', 'focal')
    """
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def without_data(objectives: Iterable[str], data: Iterable[object]) -> list[str]:
    """Return the names of objectives without the data that they were trained on, unless nothing else tells them apart.

    Examples
    --------
    >>> without_data(["focal · iris", "focal · rings · data.positives=50", "mse · iris"], ["iris", "rings", "iris"])
    ['focal', 'focal', 'mse']
    >>> without_data(["focal · iris", "focal · rings"], ["iris", "rings"])
    ['focal · iris', 'focal · rings']
    """
    names = list(objectives)
    short = [_without(name, str(value)) for name, value in zip(names, data, strict=True)]
    return short if len(set(short)) > 1 else names


def _without(name: str, data: str) -> str:
    first, *others = name.split(" · ")
    kept = [
        part
        for part in others
        if part != data and not (part.startswith("data.") and part.split("=")[0] not in TRAINING_ON_DATA)
    ]
    return " · ".join([first, *kept])


def values(runs: pd.DataFrame, columns: Sequence[str], by: Sequence[str] = ("objective",)) -> pd.DataFrame:
    """Return the metrics of finished jobs, indexed by label and by what pairs them.

    Pairs are matched by `pairing`. Several jobs of one label under one key (loss compared while the weighting
    varies too) are averaged first.

    Parameters
    ----------
    runs
        As from `labelled`.
    columns
        Metric columns.
    """
    jobs, keys = finished(runs), pairing(runs, by)
    # A missing fold is a value like any other: pandas would drop those rows.
    filled = jobs.assign(**{key: jobs[key].astype(object).where(jobs[key].notna(), "") for key in keys})
    return filled.groupby([LABEL, *keys], sort=False)[list(columns)].mean()


def pairing(runs: pd.DataFrame, by: Sequence[str] = ("objective",)) -> list[str]:
    """Return the columns that pair runs: data and their family, seed, fold and which rows the data are told to hold.

    As far as the runs carry those params and they are not compared themselves.
    """
    compared = {column_of(runs, name) for name in by}
    settings = [
        column.removeprefix("params.")
        for column in runs.columns
        if column.startswith("params.data.") and column.removeprefix("params.") not in TRAINING_ON_DATA
    ]
    wanted = [f"params.{name}" for name in (*PAIRED_BY, *settings)]
    # A family follows from the data: it says which pairs are independent, and pairs nothing of its own.
    wanted += [] if any(column.startswith(DATA) for column in compared) else [FAMILY]
    return [column for column in wanted if column in runs.columns and column not in compared]


def baseline_of(labels: Sequence[str], baseline: str | None) -> str | None:
    """Return the label that others are compared with; None only where there is no label.

    The one asked for; else cross-entropy, in the setting nearest to the defaults; else the label nearest to them, which
    is the one with the fewest parts; the first of several.

    Raises
    ------
    UserError
        Where the one asked for takes no part.

    Examples
    --------
    >>> baseline_of(["focal", "cross_entropy · l2", "cross_entropy"], None)
    'cross_entropy'
    >>> baseline_of(["focal · l2", "cross_entropy · l2 · balanced", "cross_entropy · l2"], None)
    'cross_entropy · l2'
    >>> baseline_of(["focal gamma=1 · l2", "focal · l2", "focal", "mse"], None)
    'focal'
    """
    if baseline is not None:
        if baseline not in labels:
            raise UserError(f"the baseline {baseline!r} is not among the objectives: {', '.join(labels) or 'none'}")
        return baseline
    candidates = [label for label in labels if label.split(" · ")[0].split(" ")[0] == DEFAULT_BASELINE] or labels
    return min(candidates, key=lambda label: len(label.replace(" · ", " ").split(" ")), default=None)


def differences(values: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Return each label's values minus the baseline's under the same key; NaN where the baseline has none.

    This is what every paired statistic starts from: one row per label and pair.

    Examples
    --------
    >>> pairs = [("a", 0), ("a", 1), ("b", 0), ("b", 2)]
    >>> index = pd.MultiIndex.from_tuples(pairs, names=["label", "params.seed"])
    >>> differences(pd.DataFrame({"metrics.m": [.5, .5, .75, 1.]}, index=index), "a")["metrics.m"].tolist()
    [0.0, 0.0, 0.25, nan]
    """
    keys = [name for name in values.index.names if name != LABEL]
    if not keys or baseline not in values.index.get_level_values(LABEL):
        return values * float("nan")
    at_baseline = values.xs(baseline, level=LABEL)
    same_key = at_baseline.reindex(values.reset_index(level=LABEL, drop=True).index)
    return values - same_key.set_axis(values.index)
