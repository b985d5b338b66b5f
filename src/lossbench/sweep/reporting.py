"""The report of a sweep: gathered from the store, written to disk and kept with the sweep's run."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lossbench.comparison.pairs import jobs_of
from lossbench.config import compose
from lossbench.errors import UserError
from lossbench.sweep.answer import Answer, chart_link
from lossbench.tracking.artifacts import read_artifact
from lossbench.tracking.schema import Artifact, Tag, figure_path, package_of
from lossbench.tracking.search import RunRow, read_run
from lossbench.tracking.store import address

if TYPE_CHECKING:
    from lossbench.comparison.report.evidence import Evidence
    from lossbench.comparison.report.page import Report
    from lossbench.tracking.store.open import Store
    from lossbench.tracking.sweep import SweepRecord

_log = logging.getLogger(__name__)


def keep_report(store: Store, record: SweepRecord, found: Answer, *, explain: bool) -> Answer:
    """Keep report and figures with the run of a sweep that ends, and the report on disk; return the answer with its
    place.

    A report that cannot be made costs the sweep nothing but the report: it can be made again from what is recorded.
    """
    try:
        if explain:
            _keep_explanation(store, record)
        made = make_report(store, found, [record.id])
        place = save(made, report_path(store, [record.id], found))
        record.artifacts.file(place, Artifact.REPORT)
        for picture in made.pictures:
            record.artifacts.bytes(picture.file, figure_path(f"{picture.name}.svg"))
    except Exception as error:
        _log.warning("the report could not be made (%s: %s): lossbench compare --format html tries again",
                     type(error).__name__, error)  # fmt: skip
        return found
    return replace(found, report=place)


def make_report(store: Store, found: Answer, sweeps: Sequence[str], command: str | None = None) -> Report:
    """Make the report of what some sweeps, or any runs, say.

    Parameters
    ----------
    command
        What reproduces the runs; None: what the sweeps recorded.
    """
    from lossbench.comparison.report.page import About, build_page

    known = [read_run(store, sweep) for sweep in sweeps]
    tags = [run.tags for run in known]
    names = [run.name for run in known]
    commands = list(dict.fromkeys(each[Tag.COMMAND] for each in tags if Tag.COMMAND in each))
    about = About(
        title=" and ".join(dict.fromkeys(names)) or f"runs of {store.experiment}",
        question=next((text for text in map(_question, commands) if text), ""),
        sweeps=[f"{name} ({run.id})" for name, run in zip(names, known, strict=True)],
        started=min(found.runs["start"]).strftime("%Y-%m-%d %H:%M UTC"),
        commands=[command] if command else commands,
        versions=_versions(store, found.runs),
        failures=found.failures,
        left_out=found.left_out,
        links=[chart_link(store, sweep, found) for sweep in sweeps],
        explanations=[said for run in known if (said := _explanation(store, run)) is not None],
    )
    return build_page(_evidence(store, found, sweeps), about)


def _keep_explanation(store: Store, record: SweepRecord) -> None:
    """Explain the sweep's best run, as validation sees it, on its test split."""
    from lossbench.runs.explain import explain_run
    from lossbench.runs.find import best_of

    try:
        # A sweep trains what the user's own config names.
        record.artifacts.json(explain_run(store, best_of(store, record.id), trust=True), Artifact.EXPLANATION)
    except UserError as error:
        _log.warning("compare.explain: %s", error)


def _explanation(store: Store, sweep: RunRow) -> dict[str, Any] | None:
    said = read_artifact(store, sweep.id, sweep.artifact_uri, Artifact.EXPLANATION)
    return None if said is None else dict(json.loads(said))


def save(made: Report, path: Path) -> Path:
    """Write a report and return where it lies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(made.html, encoding="utf-8")
    return path


def report_path(store: Store, sweeps: Sequence[str], found: Answer) -> Path:
    """Return where a report lies unless told otherwise: ``mlruns/reports/<sweep>-<id>-<metric>.html``."""
    names = [read_run(store, sweep).name for sweep in sweeps] or [store.experiment]
    parts = [*names, *(sweep[:8] for sweep in sweeps), found.leaderboard.metric]
    return store.mlruns / "reports" / f"{re.sub(r'[^A-Za-z0-9_.]+', '-', '-'.join(parts))[:120].strip('-.')}.html"


def _evidence(store: Store, found: Answer, sweeps: Sequence[str]) -> Evidence:
    from lossbench.comparison.report.evidence import Evidence, Names
    from lossbench.comparison.report.row_curves import Predictions

    def history(run: str) -> pd.DataFrame | None:
        data = read_artifact(store, run, f"{store.artifacts}/{run}/artifacts", Artifact.HISTORY)
        return None if data is None else pd.read_csv(io.BytesIO(data))

    sources: list[Path | bytes] = []
    names: dict[str, Names] = {}
    for sweep in sweeps:
        uri = read_run(store, sweep).artifact_uri
        folder = address.local_path(uri)
        # A local file is not read as a whole.
        source = (
            read_artifact(store, sweep, uri, Artifact.PREDICTIONS) if folder is None else folder / Artifact.PREDICTIONS
        )
        if isinstance(source, bytes) or (source is not None and source.is_file()):
            sources.append(source)
        said = read_artifact(store, sweep, uri, Artifact.NAMES_OF_DATA)
        entries: dict[str, dict[str, list[str]]] = json.loads(said) if said else {}
        names |= {data: Names(tuple(of["classes"]), tuple(of["features"])) for data, of in entries.items()}
    return Evidence(found.runs, found.leaderboard, history, Predictions(sources), names, found.tuning)


def _versions(store: Store, runs: pd.DataFrame) -> dict[str, str]:
    """Return the versions and the commit of the first run, as it recorded them."""
    jobs = jobs_of(runs)
    tags = read_run(store, (jobs if len(jobs) else runs)["run_id"].iloc[0]).tags
    found = {package: value for tag, value in tags.items() if (package := package_of(tag)) is not None}
    commit = tags.get(Tag.COMMIT)
    return dict(sorted(found.items())) | ({"git commit": commit} if commit else {})


def _question(command: str) -> str:
    """Return the question in the header of the comparison that a command names; empty where there is none."""
    named = re.search(r"(?:^|\s)\+?comparison=([\w-]+(?:/[\w-]+)*)(?:\s|$)", command)
    if named is None:
        return ""
    for folder in (Path.cwd() / "conf", compose.conf_dir()):
        file = folder / "comparison" / f"{named[1]}.yaml"
        if file.is_file():
            return _header(file.read_text(encoding="utf-8"))
    return ""


def _header(text: str) -> str:
    """Return the first paragraph of a YAML file's comment.

    >>> _header("# @package _global_\\n# Which loss\\n# wins?\\n#\\n#   lossbench comparison=demo\\nseed: 0")
    'Which loss wins?'
    """
    lines: list[str] = []
    for line in text.splitlines():
        said = line.removeprefix("#").strip()
        if line.startswith("# @package"):
            continue
        if not line.startswith("#") or not said:
            break
        lines.append(said)
    return " ".join(lines)
