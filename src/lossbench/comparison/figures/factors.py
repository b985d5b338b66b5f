"""What varies between the objectives of a sweep: the choices and settings by which a person would sort them."""

from __future__ import annotations

import pandas as pd

from lossbench.comparison.evidence import Evidence
from lossbench.comparison.pairs import LABEL

# Which rows a run sees is no factor, and what follows another choice says nothing of its own.
NOT_FACTORS = ("params.seed", "params.fold", "params.data")


def factors(evidence: Evidence) -> pd.DataFrame:
    """Return the params in which objectives differ, by objective in the order of their ranks; one value each.

    A param that takes one value under each value of an earlier one is left out: it says the same again (`loss.gamma`
    where only focal has one is kept if it varies within focal).
    """
    names = [str(name) for name in evidence.ranked["objective"]]
    columns = [
        column for column in evidence.jobs.columns
        if column.startswith("params.") and not column.startswith("params.data.") and column not in NOT_FACTORS
    ]  # fmt: skip
    grouped = evidence.jobs.groupby(LABEL)[columns]
    single = (grouped.nunique(dropna=False) == 1).all()
    table = grouped.first().reindex(names)
    kept: list[str] = []
    for column in sorted(columns, key=lambda name: ("." in name, columns.index(name))):
        values = table[column].map(str)
        if not single[column] or values.nunique() < 2:
            continue
        if kept and table.groupby([table[name].map(str) for name in kept])[column].nunique(dropna=False).max() == 1:
            continue
        kept.append(column)
    return table[kept].rename(columns=lambda name: name.removeprefix("params."))


def is_number(values: pd.Series) -> bool:
    """Whether a factor is a quantity: three numbers or more."""
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values) and values.nunique() > 2
