"""A leaderboard as a person reads it: in the terminal, and as Markdown for the sweep's page in MLflow."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

import pandas as pd
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

_MISSING = "–"
_LISTED = 20  # in Markdown, which MLflow cuts at 8,000 characters; the terminal lists them all


def show(
    table: pd.DataFrame,
    *,
    failures: pd.DataFrame | None = None,
    left_out: Sequence[tuple[str, str]] = (),
    settings: Sequence[tuple[str, str]] = (),
    console: Console | None = None,
) -> None:
    """Print a leaderboard, every job that did not finish and every job that was left out, and what it all says.

    Columns that do not fit the terminal are left away, the least important first; rank, objective and mean
    always stay.

    Parameters
    ----------
    table
        As from `leaderboard`.
    failures
        As from `tracking.read.failures`: `name, overrides, status, error`.
    left_out
        (overrides, reason), as from `tracking.read.left_out`.
    settings
        (objective, the setting that tuning found for it), as from `Tuning.settings`.
    """
    console = console or Console()
    columns = _fitting(cells(table), console.width)
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for header, column in columns.items():
        left = header == "objective"
        grid.add_column(Text(header), justify="left" if left else "right", no_wrap=not left, overflow="fold")
        del column
    for number, role in enumerate(table["role"]):
        # Text, not strings: a name like `focal[gamma]` would be read as markup.
        style = "dim" if role == "reference" else ""
        grid.add_row(*(Text(column[number], style=style) for column in columns.values()))
    console.print(Text(title(table), style="bold"))
    console.print(grid)
    for line in remarks(table):
        console.print(Text(line))
    for heading, entries in [*_tuned(settings), *problems(failures, left_out)]:
        console.print(Text(heading, style="bold"))
        for what, why in entries:
            console.print(Text(f"  {what}\n    {why}"))
    console.print()
    for line in table.attrs["conclusions"]:
        console.print(Text(line, style="bold"))


def to_markdown(
    table: pd.DataFrame,
    *,
    failures: pd.DataFrame | None = None,
    left_out: Sequence[tuple[str, str]] = (),
    settings: Sequence[tuple[str, str]] = (),
) -> str:
    """Return the same as Markdown; names are escaped, so that one from a table or a config stays text."""
    columns = cells(table)
    lines = [f"**{_escape(title(table))}**", ""]
    lines += [" ".join(_escape(line) for line in table.attrs["conclusions"]), ""]
    lines.append("| " + " | ".join(_escape(header) for header in columns) + " |")
    lines.append("|" + "|".join(":--" if header == "objective" else "--:" for header in columns) + "|")
    lines += ["| " + " | ".join(map(_escape, row)) + " |" for row in zip(*columns.values(), strict=True)]
    lines += [f"\n{_escape(line)}" for line in remarks(table)]
    for heading, entries in [*_tuned(settings), *problems(failures, left_out)]:
        lines += ["", f"**{_escape(heading)}**", ""]
        lines += [f"- {_escape(what)}: {_escape(why)}" for what, why in entries[:_LISTED]]
        if len(entries) > _LISTED:
            lines.append(f"- and {len(entries) - _LISTED} more")
    return "\n".join(lines) + "\n"


def title(table: pd.DataFrame) -> str:
    """Return the judged metric and which way it is better."""
    better = "higher" if table.attrs["direction"] == "max" else "lower"
    return f"{table.attrs['metric']} ({better} is better)"


def remarks(table: pd.DataFrame) -> list[str]:
    """Return what a reader of the table must know: what its columns mean and what the verdicts rest on."""
    baseline, paired_by = table.attrs["baseline"], table.attrs["paired_by"]
    lines = []
    if baseline is not None and paired_by:
        lines.append(f"difference: mean paired difference to {baseline} over the same {', '.join(paired_by)}")
    if (table["unmatched"] > 0).any():
        lines.append(
            "unmatched: values of either whose partner failed, is missing or not defined; left out of the pairs"
        )
    if (table["undefined"] > 0).any():
        lines.append("undefined: finished runs whose metric is not defined; they are not in the mean")
    if (table["role"] == "reference").any():
        lines.append("rows without a rank are references: they are not trained and not compared")
    if (table["role"] == "objective").sum() > 1:
        lines += table.attrs["protocol"]
    return lines + list(table.attrs["notes"])


def cells(table: pd.DataFrame) -> dict[str, list[str]]:
    """Return the columns as text, the most important first; counts that are zero throughout are left away."""
    objectives = table["role"] == "objective"
    compared = table.attrs["baseline"] is not None
    cells = {
        "rank": [_MISSING if pd.isna(rank) else str(rank) for rank in table["rank"]],
        "objective": [str(name) for name in table["objective"]],
        "mean": [_number(value) for value in table["mean"]],
    }
    if compared:
        cells["verdict"] = [verdict or "" for verdict in table["verdict"]]
        cells["difference"] = [_number(value, sign=True) for value in table["difference"]]
    for count in ("failed", "unfinished", "undefined"):
        if (table[count] > 0).any():
            cells[count] = [str(n) if n else "" for n in table[count]]
    if objectives.sum() > 1:
        cells["won"] = ["yes" if won else "" for won in table["won"]]
    if compared:
        cells["p"] = [_p(value) for value in table["p"]]
        cells["interval"] = [_interval(low, high) for low, high in zip(table["low"], table["high"], strict=True)]
    if "trials" in table:
        both = zip(table["trials"], table["failed_trials"], strict=True)
        cells["trials"] = ["" if n != n else f"{n:.0f}{f' + {lost:.0f} failed' if lost else ''}" for n, lost in both]
    cells["n"] = [str(n) for n in table["n"]]
    cells["sd"] = [_number(value) for value in table["sd"]]
    # How many pairs goes without saying unless it is fewer than the runs.
    if compared and (table["pairs"] != table["n"])[objectives].any():
        cells["pairs"] = [str(n) if n else "" for n in table["pairs"]]
    if (table["unmatched"] > 0).any():
        cells["unmatched"] = [str(n) if n else "" for n in table["unmatched"]]
    cells["seconds"] = [_MISSING if math.isnan(value) else f"{value:.3g}" for value in table["seconds"]]
    cells["best"] = [_number(value) for value in table["best"]]
    for name in table.attrs["shown"]:
        cells[name] = [_number(value) for value in table[name]]
    cells["iqm"] = [_number(value) for value in table["iqm"]]
    if compared:
        cells["improves"] = [_MISSING if math.isnan(value) else f"{value:.0%}" for value in table["improves"]]
    if table["bca_low"].notna().any():
        cells["BCa"] = [_interval(low, high) for low, high in zip(table["bca_low"], table["bca_high"], strict=True)]
    return cells


def _fitting(cells: dict[str, list[str]], width: int) -> dict[str, list[str]]:
    gap = 3
    widths = {name: max(map(cell_len, [name, *column])) + gap for name, column in cells.items()}
    # A long name may take several lines; it must not cost the numbers their place.
    widths["objective"] = min(widths["objective"], max(20, width // 4) + gap)
    kept: dict[str, list[str]] = {}
    used = 0
    for name, column in cells.items():
        if used + widths[name] > width and name not in ("rank", "objective", "mean"):
            break
        used += widths[name]
        kept[name] = column
    return kept


def _tuned(settings: Sequence[tuple[str, str]]) -> list[tuple[str, list[tuple[str, str]]]]:
    return [("Settings that tuning found", list(settings))] if settings else []


def problems(
    failures: pd.DataFrame | None, left_out: Sequence[tuple[str, str]]
) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return (heading, entries of what and why) of jobs that did not finish and of those left out; empty for none."""
    lists = []
    if failures is not None and len(failures):
        lists.append(
            (f"{len(failures)} {'job' if len(failures) == 1 else 'jobs'} did not finish", _by_reason(failures))
        )
    if left_out:
        jobs = "job" if len(left_out) == 1 else "jobs"
        lists.append((f"{len(left_out)} {jobs} left out, which is no failure", list(left_out)))
    return lists


def _by_reason(failures: pd.DataFrame) -> list[tuple[str, str]]:
    """Return (overrides of the jobs, what ended them): many jobs often end for one reason."""
    jobs: dict[str, list[str]] = {}
    for job in failures.to_dict("records"):
        reason = f"{job['status']}: {_first(job['error'], 'no error recorded')}"
        jobs.setdefault(reason, []).append(_first(job["overrides"], job["name"]))
    return [("; ".join(overrides), reason) for reason, overrides in jobs.items()]


def _first(text: object, otherwise: str) -> str:
    return text if isinstance(text, str) and text else otherwise


def _number(value: float, sign: bool = False) -> str:
    """Four decimals where they say enough, three figures where they do not."""
    if math.isnan(value):
        return _MISSING
    plain = value == 0 or 1e-3 <= abs(value) < 1e4
    return f"{value:{'+' if sign and value else ''}{'.4f' if plain else '.3g'}}"


def _interval(low: float, high: float) -> str:
    return _MISSING if math.isnan(low) else f"{_number(low, sign=True)} {_number(high, sign=True)}"


def _p(value: float) -> str:
    if math.isnan(value):
        return _MISSING
    return "<.0001" if value < 0.0001 else f"{value:.2g}" if value < 0.1 else f"{value:.2f}"


def _escape(text: str) -> str:
    escaped = html.escape(" ".join(text.split()), quote=False)
    for character in "\\|`*_[]":
        escaped = escaped.replace(character, f"\\{character}")
    return escaped
