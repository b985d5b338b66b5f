"""The report: one self-contained page that reads as the answer, opens from disk, prints, and asks no network."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from lossbench.comparison.datasets import DATASET
from lossbench.comparison.leaderboard import Leaderboard
from lossbench.comparison.pairs import keys_of_added
from lossbench.comparison.report import explanation, render
from lossbench.comparison.report.budgets import Tuning, as_overrides
from lossbench.comparison.report.evidence import Evidence
from lossbench.comparison.report.figures import (
    coordinates,
    critical_difference,
    differences,
    distributions,
    grid,
    ranking,
    ranking_curves,
    regions,
    reliability,
    sparsity,
    style,
    thresholds,
    training,
    trials,
)
from lossbench.comparison.report.figures.picture import Picture
from lossbench.comparison.report.protocol import describe_protocol, shared_settings
from lossbench.comparison.report.text_table import cells, seconds
from lossbench.evaluation.catalogue import METRICS, facts_of, names_from

TEMPLATES = Path(__file__).parent / "templates"

# In the order of the page. Those of one dataset are drawn for each.
OF_ALL: tuple[Callable[[Evidence], Picture | None], ...] = (
    ranking.draw,
    differences.draw,
    critical_difference.draw,
    grid.draw,
    coordinates.draw,
    sparsity.draw,
)
OF_ONE: tuple[Callable[[Evidence, str], Picture | None], ...] = (
    ranking_curves.draw_roc,
    ranking_curves.draw_precision_recall,
    training.draw,
    thresholds.draw,
    reliability.draw,
    regions.draw,
    distributions.draw,
)

OF_TUNING: tuple[Callable[[Evidence], Picture | None], ...] = (trials.draw_history, trials.draw_importances)


@dataclass(frozen=True)
class About:
    """What a report says about the runs beside what they measured.

    Parameters
    ----------
    title
        Name of the sweep.
    question
        What was asked; empty where nobody wrote it down.
    sweeps
        Names and ids.
    started
        When the first run began.
    commands
        What reproduces the runs.
    versions
        Of what computed, by name.
    failures, left_out
        As from `tracking.read`.
    links
        Pages of MLflow's, for a person to follow.
    explanations
        Of the sweeps' best runs, where they were asked for: see `lossbench.runs.explain.describe`.
    """

    title: str
    question: str = ""
    sweeps: Sequence[str] = ()
    started: str = ""
    commands: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    failures: pd.DataFrame | None = None
    left_out: Sequence[tuple[str, str]] = ()
    links: Sequence[str] = ()
    explanations: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Drawn:
    """A picture as a page takes it, and as an SVG file."""

    name: str
    title: str
    message: str
    note: str
    wide: bool
    svg: Markup
    file: bytes


@dataclass(frozen=True)
class Report:
    """A page and the figures in it."""

    html: str
    pictures: Sequence[Drawn]


@dataclass(frozen=True)
class Grid:
    """A table as the template writes it: headers, and rows of texts, the first of which names the row."""

    caption: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    best: frozenset[tuple[int, int]] = frozenset()
    dim: frozenset[int] = frozenset()


def build_page(evidence: Evidence, about: About) -> Report:
    """Make the page; a figure that has nothing to say about these runs is left out."""
    with style.styled():
        whole = [_drawn(draw(evidence), "") for draw in OF_ALL]
        tried = [_drawn(draw(evidence), "") for draw in OF_TUNING]
        single = {data: [_drawn(draw(evidence, data), data) for draw in OF_ONE] for data in evidence.data}
    figures = [picture for picture in whole if picture is not None]
    of_tuning = [picture for picture in tried if picture is not None]
    by_data = {data: [picture for picture in drawn if picture is not None] for data, drawn in single.items()}
    several = len(evidence.data) > 1
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    board = evidence.leaderboard
    html = environment.get_template("report.html.j2").render(
        about=about,
        css=Markup(environment.get_template("report.css").render()),
        metric=evidence.metric,
        conclusions=board.conclusions,
        leaderboard=_leaderboard(board),
        remarks=render.remarks(board),
        figures=figures,
        tuning=None if evidence.tuning is None else _budgets(evidence.tuning),
        tuning_notes=[] if evidence.tuning is None else evidence.tuning.notes,
        tuning_figures=of_tuning,
        datasets=[
            {
                "name": data,
                "heading": f"Metrics on {data}" if data else "Metrics",
                "tables": [*_verdicts(evidence, data), _metrics(evidence, data)],
                "remarks": _remarks(evidence, data),
                "figures": by_data[data],
                "calibration": _calibration(evidence, data),
            }
            for data in evidence.data
        ],
        several=several,
        explanations=[
            (document, [Grid(*table) for table in explanation.tables(document)]) for document in about.explanations
        ],
        protocol=describe_protocol(evidence),
        settings=shared_settings(evidence),
        problems=render.problems(about.failures, about.left_out),
    )
    return Report(html, [*figures, *of_tuning, *(picture for drawn in by_data.values() for picture in drawn)])


def _drawn(picture: Picture | None, data: str) -> Drawn | None:
    if picture is None:
        return None
    name = f"{picture.name}_{data}" if data else picture.name
    drawing = style.svg(picture.figure, name)
    return Drawn(
        name,
        picture.title,
        picture.message,
        picture.note,
        picture.wide,
        # matplotlib escapes the texts that it writes.
        Markup(style.in_page(drawing)),
        style.alone(drawing).encode(),
    )


def _leaderboard(board: Leaderboard) -> Grid:
    columns = cells(board) | {"seconds": seconds(board.table)}
    first = ["objective", *(name for name in columns if name != "objective")]
    return Grid(
        f"Leaderboard by {render.title(board)}",
        first,
        list(zip(*(columns[name] for name in first), strict=True)),
        dim=frozenset(number for number, role in enumerate(board.table["role"]) if role == "reference"),
    )


def _budgets(tuned: Tuning) -> Grid:
    rows = [
        [
            str(row["objective"]),
            str(row["finished"]),
            str(row["failed"]),
            as_overrides(row["setting"]),
            "given up: too many trials failed" if row["best"] != row["best"] else tuned.why(row),
        ]
        for row in tuned.objectives.to_dict("records")
    ]
    headers = ["objective", "finished trials", "failed", "kept", "since"]
    return Grid(f"Budget and best setting of each objective by {tuned.metric}", headers, rows)


def _verdicts(evidence: Evidence, data: str) -> list[Grid]:
    """Return the leaderboard of one of several datasets."""
    alone = evidence.leaderboard.by_dataset.get(data)
    return [] if alone is None else [_leaderboard(alone)]


def _remarks(evidence: Evidence, data: str) -> list[str]:
    alone = evidence.leaderboard.by_dataset.get(data)
    return [] if alone is None else ["judged on this dataset alone, as if there were no other", *render.remarks(alone)]


def _metrics(evidence: Evidence, data: str) -> Grid:
    split = evidence.split
    names = [name for name in _scores() if f"metrics.{split}/{name}" in evidence.jobs]
    names += [key.removeprefix(f"{split}/") for key in keys_of_added(evidence.jobs, split, evidence.leaderboard.added)]
    caption = f"Mean (standard deviation) of the metrics on {split}"
    return _means(evidence, data, caption, [(name, f"{split}/{name}") for name in names])


def _scores() -> list[str]:
    """Return what rankings and then decisions are worth, each decision beside the same at its tuned threshold."""
    decisions = [name for name in sorted(names_from("decision")) if not METRICS[name].per_class]
    tuned = [[name, f"tuned/{name}"] if METRICS[name].tuned else [name] for name in decisions]
    return [*sorted(names_from("ranking")), *itertools.chain.from_iterable(tuned)]


def _calibration(evidence: Evidence, data: str) -> Grid | None:
    names = [
        (f"{name}, {view}", f"{evidence.split}/{prefix}{name}")
        for name in names_from("probability")
        for view, prefix in (("link", ""), ("posterior", "posterior/"))
    ]
    names = [(header, metric) for header, metric in names if f"metrics.{metric}" in evidence.jobs]
    caption = f"Mean (standard deviation) on {evidence.split}: lower is better"
    return _means(evidence, data, caption, names) if names else None


def _means(evidence: Evidence, data: str, caption: str, names: Sequence[tuple[str, str]]) -> Grid:
    """Return means over runs by objective, the best of each column marked; nothing is tested."""
    labels = [str(name) for name in evidence.ranked["objective"]]
    jobs = evidence.jobs[evidence.jobs[DATASET] == data] if data and DATASET in evidence.jobs else evidence.jobs
    names = [(header, metric) for header, metric in names if jobs[f"metrics.{metric}"].notna().any()]
    columns = [f"metrics.{metric}" for _, metric in names]
    grouped = jobs.groupby("label")[columns]
    means, spreads = grouped.mean().reindex(labels), grouped.std().reindex(labels)
    best = set()
    for number, (_, metric) in enumerate(names):
        column = means[f"metrics.{metric}"]
        facts = facts_of(metric, evidence.leaderboard.added)
        if len(labels) > 1 and column.notna().any() and facts is not None and facts.better is not None:
            top = column.max() if facts.better == "max" else column.min()
            best |= {(row, number + 1) for row, value in enumerate(column) if value == top}
    rows = [
        [label, *(_with_spread(means.loc[label, column], spreads.loc[label, column]) for column in columns)]
        for label in labels
    ]
    return Grid(caption, ["objective", *(header for header, _ in names)], rows, best=frozenset(best))


def _with_spread(mean: Any, spread: Any) -> str:
    if mean != mean:
        return "–"
    return f"{mean:.4f}" if spread != spread else f"{mean:.4f} ({spread:.4f})"
