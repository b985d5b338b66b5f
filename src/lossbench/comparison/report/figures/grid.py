"""Two choices crossed, such as loss x regularizer: the mean of each cell."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps

from lossbench.comparison.pairs import LABEL
from lossbench.comparison.report.evidence import Evidence
from lossbench.comparison.report.figures import style
from lossbench.comparison.report.figures.picture import Picture, number

MOST = 30


def draw(evidence: Evidence) -> Picture | None:
    """Draw the means of two crossed factors; nothing unless they fill most of a grid of their own."""
    table = factors(evidence)
    pair = _crossed(table)
    if pair is None:
        return None
    rows, columns = pair
    means = evidence.ranked["mean"].reindex(table.index).astype(float)
    # Where a third factor varies, the best of its objectives stands for the cell.
    best = "max" if evidence.better == "higher" else "min"
    cells = means.groupby([table[rows].map(level_text), table[columns].map(level_text)]).agg(best).unstack()
    cells = cells.reindex(index=_ordered(table[rows]), columns=_ordered(table[columns]))
    values = cells.to_numpy()
    figure = style.figure(max(1.6 + 0.95 * values.shape[1], 4.6), 1.5 + 0.42 * values.shape[0])
    axes = figure.subplots()
    colors = colormaps["cividis" if best == "max" else "cividis_r"].with_extremes(bad=(0, 0, 0, 0))
    drawn = axes.imshow(np.ma.masked_invalid(values), cmap=colors, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if value == value:
            shade = colors(drawn.norm(value))
            ink = "#ffffff" if 0.3 * shade[0] + 0.59 * shade[1] + 0.11 * shade[2] < 0.5 else "#101010"
            axes.text(column, row, number(value), ha="center", va="center", fontsize=9, color=ink)
        else:
            axes.text(column, row, "–", ha="center", va="center", fontsize=9)
    axes.set_xticks(range(values.shape[1]), [style.short(name, 16) for name in cells.columns])
    axes.set_yticks(range(values.shape[0]), [style.short(name, 26) for name in cells.index])
    if values.shape[1] > 6:
        axes.tick_params(axis="x", rotation=35)
    axes.set(xlabel=style.plain(columns), ylabel=style.plain(rows))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    filled = [(value, cells.index[row], cells.columns[column]) for (row, column), value in np.ndenumerate(values)
              if value == value]  # fmt: skip
    filled.sort(key=lambda cell: cell[0], reverse=best == "max")
    top, last = filled[0], filled[-1]
    third = " Where further settings vary, a cell shows the best of them." if len(table.columns) > 2 else ""
    return Picture(
        "grid",
        f"{rows} x {columns}",
        f"The best cell of {rows} x {columns} is {top[1]} with {top[2]}, mean {evidence.metric} {number(top[0])}; "
        f"the last is {last[1]} with {last[2]}, {number(last[0])}.",
        f"Means over runs ({evidence.better} is better); whether two cells differ is in the leaderboard." + third,
        figure,
        values.shape[1] > 6,
    )


def _crossed(table: pd.DataFrame) -> tuple[str, str] | None:
    """Return the first two factors that are crossed: each level of one meets two or more of the other."""
    for first, second in itertools.combinations(table.columns, 2):
        pairs = pd.DataFrame({"a": table[first].map(level_text), "b": table[second].map(level_text)}).drop_duplicates()
        counts = pairs["a"].nunique(), pairs["b"].nunique()
        if min(counts) > 1 and max(counts) <= MOST and len(pairs) >= 0.6 * counts[0] * counts[1] and len(pairs) > 3:
            # The longer one runs down the page.
            return (first, second) if counts[0] >= counts[1] else (second, first)
    return None


def _ordered(values: pd.Series) -> list[str]:
    """Return the levels of a factor: numbers by size, names by the alphabet, after the one without."""
    distinct = values.drop_duplicates()
    numeric = pd.api.types.is_numeric_dtype(distinct)
    levels = [level_text(value) for value in sorted(distinct.dropna(), key=None if numeric else str)]
    return [level for level in dict.fromkeys(["none", *levels]) if level in set(distinct.map(level_text))]


def level_text(value: Any) -> str:
    """Return a factor's value as figures write it, "none" where there is none."""
    if value is None or value != value:
        return "none"
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


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
