"""What one command recorded, as plain texts by run, kind and key: read from the database and the files themselves."""

from __future__ import annotations

import csv
import hashlib
import io
import math
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pandas as pd
import torch
import yaml

from same.ignored import is_ignored

Run = dict[str, dict[str, str]]  # kind -> key -> value
TEXTS = ("data.json", "left_out.json", "undefined.json", "tuning.json")
PREDICTIONS = "predictions.parquet"
# What every command must have left, so that nothing passes because it was looked for in the wrong place.
EXPECTED = ("metrics", "histories", "params", "tags", "files", "predictions", "config", "model", "data")


def read(mlruns: Path) -> dict[str, Run]:
    """Return every run that counts, by role, name and objective."""
    with closing(sqlite3.connect(mlruns / "mlflow.db")) as database:
        found, folders = _runs(database)
        values = _values(database, set(found))
    tags = {run: dict(values["tags"].get(run, {})) for run in found}
    found = {run: row for run, row in found.items() if "lossbench.superseded" not in tags[run]}
    names = _names(found, tags)
    result: dict[str, Run] = {}
    for run, (name, status, _) in found.items():
        kinds = {kind: _kept(kind, by_run.get(run, {})) for kind, by_run in values.items()}
        parent = tags[run].get("mlflow.parentRunId", "")
        kinds["tags"] = {key: value for key, value in kinds["tags"].items() if key.startswith("lossbench.")}
        kinds["run"] = {"name": name, "status": status, "parent": names.get(parent, parent)}
        result[names[run]] = {**kinds, **_files(folders[run], names)}
    return dict(sorted(result.items()))


def finished(mlruns: Path) -> set[str]:
    """Return the ids of the jobs that have ended well so far; none where there is no database yet."""
    try:
        with closing(sqlite3.connect(f"file:{mlruns / 'mlflow.db'}?mode=ro", uri=True, timeout=20)) as database:
            rows = database.execute(
                "SELECT runs.run_uuid FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid WHERE status = 'FINISHED' "
                "AND lifecycle_stage = 'active' AND tags.key = 'lossbench.role' AND tags.value = 'run' "
                "AND runs.run_uuid NOT IN (SELECT run_uuid FROM tags WHERE key = 'lossbench.superseded')"
            )
            return {run for (run,) in rows}
    except sqlite3.OperationalError:
        return set()


def missing(runs: dict[str, Run]) -> list[str]:
    """Return the kinds of which a command left nothing at all."""
    return [kind for kind in EXPECTED if not any(run.get(kind) for run in runs.values())]


def _runs(database: sqlite3.Connection) -> tuple[dict[str, tuple[str, str, int]], dict[str, Path]]:
    """Return name, status and start of each run by its id, and the folders of their artifacts."""
    rows = database.execute(
        "SELECT run_uuid, name, status, start_time, artifact_uri FROM runs WHERE lifecycle_stage = 'active'"
    ).fetchall()
    folders = {run: Path(unquote(urlparse(uri).path)) for run, *_, uri in rows}
    return {run: (name, status, start) for run, name, status, start, _ in rows}, folders


def _values(database: sqlite3.Connection, runs: set[str]) -> dict[str, dict[str, dict[str, str]]]:
    """Return what the database holds by kind, run and key."""
    queries = {
        "params": "SELECT run_uuid, key, value FROM params",
        "tags": "SELECT run_uuid, key, value FROM tags",
        "metrics": "SELECT run_uuid, key, value, is_nan FROM latest_metrics",
        "data": "SELECT destination_id, name, digest || ' ' || dataset_schema || ' ' || dataset_profile "
        "FROM inputs JOIN datasets ON source_id = dataset_uuid",
    }
    result: dict[str, dict[str, dict[str, str]]] = {}
    for kind, query in queries.items():
        for run, key, value, *nan in database.execute(query):
            said = (repr(math.nan if nan[0] else value)) if nan else value
            result.setdefault(kind, {}).setdefault(run, {})[key] = said
    histories = result.setdefault("histories", {})
    rows = database.execute("SELECT run_uuid, key, step, value, is_nan FROM metrics ORDER BY run_uuid, key, step")
    for run, key, step, value, nan in rows:
        points = histories.setdefault(run, {})
        points[key] = f"{points.get(key, '')} {step}: {math.nan if nan else value!r}".strip()
    return {kind: {run: keys for run, keys in by_run.items() if run in runs} for kind, by_run in result.items()}


def _names(found: dict[str, tuple[str, str, int]], tags: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return what each run is called here: role, name and objective, numbered where several have the same."""

    def place(run: str) -> tuple[float, int]:
        return float(tags[run].get("lossbench.job", "inf")), found[run][2]

    seen: Counter[str] = Counter()
    result = {}
    for run in sorted(found, key=place):
        name, objective = found[run][0], tags[run].get("lossbench.objective", "")
        called = f"{tags[run].get('lossbench.role', 'no role')} {name}"
        called += "" if objective in name else f" of {objective}"
        seen[called] += 1
        result[run] = called if seen[called] == 1 else f"{called} ({seen[called]})"
    return result


def _kept(kind: str, values: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in values.items() if not is_ignored(kind, key)}


def _files(folder: Path, names: dict[str, str]) -> Run:
    """Return what a run's files say."""
    files = {str(path.relative_to(folder)): _table(path) for path in sorted(folder.rglob("*.csv"))}
    files |= {name: (folder / name).read_text() for name in TEXTS if (folder / name).is_file()}
    result: Run = {"files": files}
    if (folder / PREDICTIONS).is_file():
        result["predictions"] = _predictions(folder / PREDICTIONS, names)
    if (folder / "config.yaml").is_file():
        # libyaml's loader, where there is one, takes a tenth of the time.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        config = yaml.load((folder / "config.yaml").read_text(), loader)
        result["config"] = _kept("config", {key: repr(value) for key, value in _flat(config)})
    if (folder / "model.pt").is_file():
        content = torch.load(folder / "model.pt", map_location="cpu", weights_only=True)
        result["model"] = _kept("model", {key: _leaf(value) for key, value in _flat(content)})
    return result


def _table(path: Path) -> str:
    """Return a CSV byte for byte, less columns that are ignored."""
    text = path.read_bytes().decode()
    header = next(csv.reader(io.StringIO(text)), [])
    left = [place for place, name in enumerate(header) if not is_ignored("columns", name)]
    if len(left) == len(header):
        return text
    kept = io.StringIO()
    csv.writer(kept, lineterminator="\n").writerows(
        [row[place] for place in left] for row in csv.reader(io.StringIO(text))
    )
    return kept.getvalue()


def _predictions(path: Path, names: dict[str, str]) -> dict[str, str]:
    """Return a digest of each column, the runs by name, and the rows in the order of run, split and row."""
    table = pd.read_parquet(path)
    if "run_id" in table:
        table["run_id"] = table["run_id"].map(lambda run: names.get(run, run))
    table = table.sort_values([name for name in ("run_id", "split", "row") if name in table], kind="stable")
    return {name: f"{len(table)} rows of {column.dtype}, {_digest(column)}" for name, column in table.items()}


def _digest(column: pd.Series) -> str:
    texts = column.dtype.kind not in "biuf"
    data = "\n".join(map(repr, column)).encode() if texts else column.to_numpy().tobytes()
    return hashlib.sha256(data).hexdigest()[:16]


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, leaf) of nested containers; empty ones are leaves."""
    nested = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else None
    if not nested or not value:
        yield prefix, value
        return
    for key, inner in nested:
        yield from _flat(inner, f"{prefix}.{key}" if prefix else str(key))


def _leaf(value: Any) -> str:
    """Return a number or text as it stands, and of a tensor its type, shape and digest."""
    if not isinstance(value, torch.Tensor):
        return repr(value)
    data = value.detach().contiguous().view(-1)
    digest = hashlib.sha256(data.numpy().tobytes()).hexdigest()[:16]
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)} {digest}"
