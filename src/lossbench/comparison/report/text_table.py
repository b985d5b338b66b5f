"""A leaderboard's columns as text, and which of them fit a terminal."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import pandas as pd
from rich.cells import cell_len

from lossbench.comparison.leaderboard import Leaderboard

MISSING = "–"
# How a dataset's own verdict stands behind its mean.
MARKS = {"better": "+", "worse": "-", "equivalent": "="}

GAP = 2

Cells = dict[str, list[str]]


def cells(board: Leaderboard) -> Cells:
    """Return the columns as text, the most important first; counts that are zero throughout are left away."""
    table, compared = board.table, board.baseline is not None
    objectives = table["role"] == "objective"
    cells = {
        "rank": [MISSING if pd.isna(rank) else str(rank) for rank in table["rank"]],
        "objective": [str(name) for name in table["objective"]],
        "mean": [number(value) for value in table["mean"]],
    }
    if table["half"].notna().any():
        cells["+-95%"] = [number(value) for value in table["half"]]
    if compared:
        cells["verdict"] = [_word(row) for row in table.to_dict("records")]
        cells["difference"] = [number(value, sign=True) for value in table["difference"]]
    if table["mean_rank"].notna().any():
        cells["mean rank"] = [MISSING if math.isnan(rank) else f"{rank:.3g}" for rank in table["mean_rank"]]
        if table["clique"].any():
            cells["clique"] = list(table["clique"])
    for count in ("failed", "unfinished", "undefined"):
        if (table[count] > 0).any():
            cells[count] = [str(n) if n else "" for n in table[count]]
    if objectives.sum() > 1:
        cells["may be best"] = ["yes" if may else "" for may in table["may_be_best"]]
        cells["costs at most"] = [_regret(most) for most in table["regret"]]
    if compared:
        cells["p"] = [p_value(value) for value in table["p"]]
        cells["interval"] = [interval(low, high) for low, high in zip(table["low"], table["high"], strict=True)]
    if "trials" in table:
        both = zip(table["trials"], table["failed_trials"], strict=True)
        cells["trials"] = ["" if n != n else f"{n:.0f}{f' + {lost:.0f} failed' if lost else ''}" for n, lost in both]
    cells["n"] = [str(n) for n in table["n"]]
    cells["sd"] = [number(value) for value in table["sd"]]
    # How many pairs goes without saying unless it is fewer than the runs.
    if compared and (table["pairs"] != table["n"])[objectives].any():
        cells["pairs"] = [str(n) if n else "" for n in table["pairs"]]
    if (table["unmatched"] > 0).any():
        cells["unmatched"] = [str(n) if n else "" for n in table["unmatched"]]
    cells["best"] = [number(value) for value in table["best"]]
    cells["worst"] = [number(value) for value in table["worst"]]
    if (table["collapses"] > 0).any():
        cells["collapses"] = [_collapses(row) for row in table.to_dict("records")]
    return cells


def _word(row: dict[Hashable, Any]) -> str:
    return f"{row['verdict'] or ''}{' (small)' if row['small'] else ''}"


def _regret(most: float) -> str:
    return MISSING if math.isnan(most) or math.isinf(most) else number(most)


def _collapses(row: dict[Hashable, Any]) -> str:
    return f"{row['collapses']}, at most {row['collapses_at_most']:.0%}" if row["collapses"] else ""


def others(board: Leaderboard) -> Cells:
    """Return what a run costs and the further metrics, under their names without the split."""
    table = board.table
    cells = {"objective": [str(name) for name in table["objective"]], "seconds": seconds(table)}
    for name in board.shown:
        cells[name.split("/", 1)[-1]] = [number(value) for value in table[name]]
    return cells


def of_datasets(board: Leaderboard) -> Cells:
    """Return the mean on each dataset, with a mark for the verdict on that dataset alone."""
    names = [str(name) for name in board.table["objective"]]
    cells = {"objective": names}
    for dataset, alone in board.by_dataset.items():
        rows = alone.table.set_index("objective")
        texts = {
            str(name): f"{number(mean)} {MARKS.get(verdict, ' ')}"
            for name, mean, verdict in zip(rows.index, rows["mean"], rows["verdict"], strict=True)
        }
        cells[dataset] = [texts.get(name, f"{MISSING}  ") for name in names]
    return cells


def seconds(table: pd.DataFrame) -> list[str]:
    """Return what a run costs; a reference trains nothing."""
    trained = table["seconds"].where(table["role"] == "objective")
    return [MISSING if math.isnan(value) else f"{value:.1f}" if value >= 1 else f"{value:.2g}" for value in trained]


def fitting(cells: Cells, width: int) -> Cells:
    """Return the columns that fit a width, the first ones; rank, objective and mean always stay."""
    widths = {name: max(map(cell_len, [name, *column])) + GAP for name, column in cells.items()}
    # A long name may take several lines; it must not cost the numbers their place.
    widths["objective"] = min(widths["objective"], max(20, width // 4) + GAP)
    kept: Cells = {}
    used = 0
    for name, column in cells.items():
        if used + widths[name] > width and name not in ("rank", "objective", "mean"):
            break
        used += widths[name]
        kept[name] = column
    return kept


def number(value: float, sign: bool = False) -> str:
    """Four decimals where they say enough, three figures where they do not."""
    if math.isnan(value):
        return MISSING
    value = 0.0 if abs(value) < 1e-12 else value  # what rounding leaves of a difference of equal means
    plain = value == 0 or 1e-3 <= abs(value) < 1e4
    return f"{value:{'+' if sign and value else ''}{'.4f' if plain else '.3g'}}"


def interval(low: float, high: float) -> str:
    """Return the ends of an interval; one without an end on one side is open there.

    >>> interval(-0.1, 0.2), interval(float("-inf"), -0.1), interval(float("-inf"), float("inf"))
    ('-0.1000 +0.2000', 'below -0.1000', '–')
    """
    if math.isnan(low) or (math.isinf(low) and math.isinf(high)):
        return MISSING
    if math.isinf(low):
        return f"below {number(high, sign=True)}"
    return f"above {number(low, sign=True)}" if math.isinf(high) else f"{number(low, True)} {number(high, True)}"


def p_value(value: float) -> str:
    if math.isnan(value):
        return MISSING
    return "<.0001" if value < 0.0001 else f"{value:.2g}" if value < 0.1 else f"{value:.2f}"
