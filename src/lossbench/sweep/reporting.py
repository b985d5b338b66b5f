"""The report of a sweep: built from the store, written to disk and kept with the sweep's run."""

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


def keep_report(store: Store, record: SweepRecord, answer: Answer, *, explain: bool) -> Answer:
    """Keep report and figures with the sweep's run and the report on disk; return the answer with the report's path.

    A report that fails costs the sweep nothing else: it can be made again from what is recorded.
    """
    try:
        if explain:
            _keep_explanation(store, record)
        report = make_report(store, answer, [record.id])
        path = save(report, report_path(store, [record.id], answer))
        record.artifacts.file(path, Artifact.REPORT)
        for picture in report.pictures:
            record.artifacts.bytes(picture.file, figure_path(f"{picture.name}.svg"))
    except Exception as error:
        _log.warning("the report could not be made (%s: %s): lossbench compare --format html tries again",
                     type(error).__name__, error)  # fmt: skip
        return answer
    return replace(answer, report=path)


def make_report(store: Store, answer: Answer, sweeps: Sequence[str], command: str | None = None) -> Report:
    """Return the report of some sweeps, or of any runs.

    Parameters
    ----------
    command
        What reproduces the runs; None takes the commands that the sweeps recorded.
    """
    from lossbench.comparison.report.page import About, build_page

    rows = [read_run(store, sweep) for sweep in sweeps]
    tags = [run.tags for run in rows]
    names = [run.name for run in rows]
    commands = list(dict.fromkeys(each[Tag.COMMAND] for each in tags if Tag.COMMAND in each))
    about = About(
        title=" and ".join(dict.fromkeys(names)) or f"runs of {store.experiment}",
        question=next((text for text in map(_question, commands) if text), ""),
        sweeps=[f"{name} ({run.id})" for name, run in zip(names, rows, strict=True)],
        started=min(answer.runs["start"]).strftime("%Y-%m-%d %H:%M UTC"),
        commands=[command] if command else commands,
        versions=_versions(store, answer.runs),
        failures=answer.failures,
        left_out=answer.left_out,
        links=[chart_link(store, sweep, answer) for sweep in sweeps],
        explanations=[explanation for run in rows if (explanation := _explanation(store, run)) is not None],
    )
    return build_page(_evidence(store, answer, sweeps), about)


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
    document = read_artifact(store, sweep.id, sweep.artifact_uri, Artifact.EXPLANATION)
    return None if document is None else dict(json.loads(document))


def save(report: Report, path: Path) -> Path:
    """Write a report and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report.html, encoding="utf-8")
    return path


def report_path(store: Store, sweeps: Sequence[str], answer: Answer) -> Path:
    """Return the default path of a report: ``mlruns/reports/<sweep>-<id>-<metric>.html``."""
    names = [read_run(store, sweep).name for sweep in sweeps] or [store.experiment]
    parts = [*names, *(sweep[:8] for sweep in sweeps), answer.leaderboard.metric]
    return store.mlruns / "reports" / f"{re.sub(r'[^A-Za-z0-9_.]+', '-', '-'.join(parts))[:120].strip('-.')}.html"


def _evidence(store: Store, answer: Answer, sweeps: Sequence[str]) -> Evidence:
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
        document = read_artifact(store, sweep, uri, Artifact.NAMES_OF_DATA)
        entries: dict[str, dict[str, list[str]]] = json.loads(document) if document else {}
        names |= {data: Names(tuple(of["classes"]), tuple(of["features"])) for data, of in entries.items()}
    return Evidence(answer.runs, answer.leaderboard, history, Predictions(sources), names, answer.tuning)


def _versions(store: Store, runs: pd.DataFrame) -> dict[str, str]:
    """Return the versions and the commit that the first run recorded."""
    jobs = jobs_of(runs)
    tags = read_run(store, (jobs if len(jobs) else runs)["run_id"].iloc[0]).tags
    versions = {package: value for tag, value in tags.items() if (package := package_of(tag)) is not None}
    commit = tags.get(Tag.COMMIT)
    return dict(sorted(versions.items())) | ({"git commit": commit} if commit else {})


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
        sentence = line.removeprefix("#").strip()
        if line.startswith("# @package"):
            continue
        if not line.startswith("#") or not sentence:
            break
        lines.append(sentence)
    return " ".join(lines)
