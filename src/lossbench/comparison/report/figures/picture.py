"""A figure with what it says, and which objectives it has room for."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

LINES, PANELS, ROWS = 6, 12, 40


@dataclass(frozen=True)
class Picture:
    """One figure.

    Parameters
    ----------
    name
        Of its file: ``ranking``.
    title
        What it is.
    message
        What it says, in a sentence or two with numbers: the caption, and the text for those who cannot see it.
    note
        How to read it.
    figure
        The drawing.
    wide
        Whether it needs the width of the page.
    """

    name: str
    title: str
    message: str
    note: str
    figure: Figure
    wide: bool = False


def choose(table: pd.DataFrame, most: int, baseline: str | None) -> list[str]:
    """Return the objectives to draw, best first: all where they fit, else the best, the baseline and the last.

    Examples
    --------
    >>> table = pd.DataFrame({"objective": list("abcde"), "rank": [1, 2, 3, 4, None]})
    >>> choose(table, 4, "c"), choose(table, 3, "c")
    (['a', 'b', 'c', 'd'], ['a', 'c', 'd'])
    """
    ranked = [str(name) for name in table.loc[table["rank"].notna(), "objective"]]
    if len(ranked) <= most:
        return ranked
    kept = {ranked[-1]}
    if baseline in ranked:
        kept.add(baseline)
    for name in ranked:
        if len(kept) == most:
            break
        kept.add(name)
    return [name for name in ranked if name in kept]


def say_which(table: pd.DataFrame, names: list[str], baseline: str | None) -> str:
    """Say which of the objectives are drawn, where not all are."""
    n = int(table["rank"].notna().sum())
    if len(names) == n:
        return ""
    kept = ", the baseline" if baseline in names else ""
    return f" Shown are {len(names)} of {n} objectives: the best{kept} and the last."


def number(value: float, sign: bool = False) -> str:
    """Return a number as captions write it.

    >>> number(0.98306), number(-0.00451, sign=True), number(12.0), number(0.00001)
    ('0.9831', '-0.0045', '12', '1e-05')
    """
    if value != 0 and abs(value) < 5e-5:
        return f"{value:{'+' if sign else ''}.1g}"
    return f"{value:{'+' if sign else ''}{'.4g' if abs(value) >= 1 else '.4f'}}"
