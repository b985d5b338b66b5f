"""Which of the data of several runs are datasets of their own, and which are variants of one source."""

from __future__ import annotations

from pathlib import PurePath

import pandas as pd

DATA, PATH, TABLE = "params.data", "params.data.path", "params.data.table"
DATASET, FAMILY = "dataset", "family"


def with_families(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs with their `dataset` and its `family`, where they say on which data they ran.

    A dataset is a choice of `data`, and each file where several tables are read. Its family is what it is made of: the
    table behind a one-vs-rest problem, the file, else the choice itself. All imbalances of one source, and all targets
    of one file, are one family: their rows are the same, so they are no independent evidence.

    Examples
    --------
    >>> runs = pd.DataFrame({"params.data": ["digits", "digits_ovr", "rings", "table", "table"],
    ...     "params.data.table": [None, "digits", None, None, None],
    ...     "params.data.path": [None, None, None, "there/churn.csv", "fraud.parquet"]})
    >>> with_families(runs)[["dataset", "family"]].values.tolist()
    [['digits', 'digits'], ['digits_ovr', 'digits'], ['rings', 'rings'], ['churn', 'churn'], ['fraud', 'fraud']]
    """
    if DATA not in runs:
        return runs
    dataset = runs[DATA].astype(object)
    if PATH in runs and runs[PATH].nunique() > 1:
        paths = runs[PATH].dropna().astype(str)
        stems = paths.map(lambda path: PurePath(path).stem)
        # Files of one name in several folders keep their paths.
        dataset.loc[paths.index] = stems if stems.nunique() == paths.nunique() else paths
    family = dataset.copy()
    if TABLE in runs:
        family = family.where(runs[TABLE].isna(), runs[TABLE])
    return runs.assign(**{DATASET: dataset, FAMILY: family})


def are(families: int, datasets: int) -> str:
    """Return how many datasets there are as a person would say it.

    >>> are(3, 3), are(5, 6)
    ('3 datasets', '5 families of 6 datasets')
    """
    return f"{datasets} datasets" if families == datasets else f"{families} families of {datasets} datasets"
