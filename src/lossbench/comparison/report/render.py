"""A leaderboard as a person reads it: in the terminal, and as Markdown for the sweep's page in MLflow."""

from __future__ import annotations

import html
from collections.abc import Sequence

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lossbench.comparison.leaderboard import Leaderboard
from lossbench.comparison.report.text_table import GAP, Cells, cells, fitting, of_datasets, others

OTHERS = "Cost of a run in seconds, and other metrics: means, exploratory, not tested"
_LISTED = 20  # in Markdown, which MLflow cuts at 8,000 characters; the terminal lists them all


def show(
    board: Leaderboard,
    *,
    failures: pd.DataFrame | None = None,
    left_out: Sequence[tuple[str, str]] = (),
    settings: Sequence[tuple[str, str]] = (),
    console: Console | None = None,
) -> None:
    """Print a leaderboard, the other metrics, every job that did not finish or was left out, and what it all says.

    Columns that do not fit the terminal are left away, the least important first; rank, objective and mean
    always stay.

    Parameters
    ----------
    failures
        As from `tracking.read.failures`: `name, overrides, status, error`.
    left_out
        (overrides, reason), as from `tracking.read.left_out`.
    settings
        (objective, the setting that tuning found for it), as from `Tuning.settings`.
    """
    console = console or Console()
    console.print(Text(title(board), style="bold"))
    _print(cells(board), board.table, console)
    for line in remarks(board):
        console.print(Text(line))
    console.print(Text(f"\n{OTHERS}", style="bold"))
    _print(others(board), board.table, console)
    if board.by_dataset:
        console.print(Text(f"\n{title(board)}, {of_each(board)}", style="bold"))
        _print(of_datasets(board), board.table, console)
    for heading, entries in [*_tuned(settings), *problems(failures, left_out)]:
        console.print(Text(heading, style="bold"))
        for what, why in entries:
            console.print(Text(f"  {what}\n    {why}"))
    console.print()
    for line in board.conclusions:
        console.print(Text(line, style="bold"))


def _print(columns: Cells, table: pd.DataFrame, console: Console) -> None:
    columns = fitting(columns, console.width)
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, GAP - 1, 0, 0))
    for header in columns:
        left = header == "objective"
        grid.add_column(Text(header), justify="left" if left else "right", no_wrap=not left, overflow="fold")
    for number, role in enumerate(table["role"]):
        # Text, not strings: a name like `focal[gamma]` would be read as markup.
        style = "dim" if role == "reference" else ""
        grid.add_row(*(Text(column[number], style=style) for column in columns.values()))
    console.print(grid)


def to_markdown(
    board: Leaderboard,
    *,
    failures: pd.DataFrame | None = None,
    left_out: Sequence[tuple[str, str]] = (),
    settings: Sequence[tuple[str, str]] = (),
) -> str:
    """Return the same as Markdown; names are escaped, so that one from a table or a config stays text."""
    lines = [f"**{_escape(title(board))}**", ""]
    lines += [" ".join(_escape(line) for line in board.conclusions), ""]
    lines += _markdown(cells(board))
    lines += [f"\n{_escape(line)}" for line in remarks(board)]
    lines += ["", f"**{_escape(OTHERS)}**", "", *_markdown(others(board))]
    if board.by_dataset:
        heading = _escape(f"{title(board)}, {of_each(board)}")
        lines += ["", f"**{heading}**", "", *_markdown(of_datasets(board))]
    for heading, entries in [*_tuned(settings), *problems(failures, left_out)]:
        lines += ["", f"**{_escape(heading)}**", ""]
        lines += [f"- {_escape(what)}: {_escape(why)}" for what, why in entries[:_LISTED]]
        if len(entries) > _LISTED:
            lines.append(f"- and {len(entries) - _LISTED} more")
    return "\n".join(lines) + "\n"


def _markdown(columns: Cells) -> list[str]:
    return [
        "| " + " | ".join(_escape(header) for header in columns) + " |",
        "|" + "|".join(":--" if header == "objective" else "--:" for header in columns) + "|",
        *("| " + " | ".join(map(_escape, row)) + " |" for row in zip(*columns.values(), strict=True)),
    ]


def of_each(board: Leaderboard) -> str:
    """Return how a table of single datasets is read."""
    to = f" + better, - worse, = equivalent to {board.baseline}," if board.baseline else ""
    return f"on each dataset:{to} by that dataset alone and its own test"


def title(board: Leaderboard) -> str:
    """Return the judged metric and which way it is better."""
    return f"{board.metric} ({board.better} is better)"


def remarks(board: Leaderboard) -> list[str]:
    """Return what a reader of the table must know: what its columns mean and what the verdicts rest on."""
    table, lines = board.table, []
    if board.baseline is not None and board.paired_by:
        over = ", ".join(board.paired_by)
        lines.append(f"difference: of the effects, to {board.baseline}, paired over the same {over}")
    if (table["unmatched"] > 0).any():
        lines.append(
            "unmatched: values of either whose partner failed, is missing or not defined; left out of the pairs"
        )
    if table["small"].any():
        lines.append("(small): better or worse, but by less than matters")
    withheld = table[table["withheld"] != ""]
    if len(withheld):
        reasons = ", ".join(dict.fromkeys(withheld["withheld"]))
        lines.append(f"not called equivalent, though within the region: {', '.join(withheld['objective'])} ({reasons})")
    if (table["collapses"] > 0).any():
        lines.append(
            "collapses: runs far worse than the objective's median, or without a value, and the largest share of them "
            "that these runs cannot rule out (95%)"
        )
    if (table["undefined"] > 0).any():
        lines.append("undefined: finished runs whose metric is not defined; they are not in the mean")
    if (table["role"] == "reference").any():
        lines.append("rows without a rank are references: they are not trained and not compared")
    if (table["role"] == "objective").sum() > 1:
        lines += board.protocol
    return [*lines, *board.notes]


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


def _escape(text: str) -> str:
    escaped = html.escape(" ".join(text.split()), quote=False)
    for character in "\\|`*_[]":
        escaped = escaped.replace(character, f"\\{character}")
    return escaped
