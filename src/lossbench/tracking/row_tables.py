"""The predictions of a sweep's jobs, row by row: a shard for each job until the sweep closes, then one table."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import feather

from lossbench.tracking.artifacts import read_artifact
from lossbench.tracking.schema import Artifact
from lossbench.tracking.search import read_run

if TYPE_CHECKING:
    from lossbench.tracking.run import RunRecord
    from lossbench.tracking.store.open import Store
    from lossbench.tracking.sweep import SweepRecord


def shard_folder(mlruns: Path, sweep: str) -> Path:
    """Return the folder in which the jobs of a sweep leave their predictions."""
    return mlruns / "shards" / sweep


def keep(record: RunRecord, sweep: str | None, mlruns: Path, table: pa.Table) -> None:
    """Keep a run's predictions: as a shard of its sweep, named by the run, or as an artifact of a run without one."""
    if sweep is None:
        buffer = io.BytesIO()
        pq.write_table(_of_run(record.id, table), buffer)
        record.artifacts.bytes(buffer.getvalue(), Artifact.PREDICTIONS)
        return
    shards = shard_folder(mlruns, sweep)
    shards.mkdir(parents=True, exist_ok=True)
    draft = shards / f"{record.id}.partial"
    # What `feather.write_feather` writes; for columns as short as these its threads cost more than they share.
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with pa.OSFile(str(draft), "wb") as file, pa.ipc.new_file(file, table.schema, options=options) as writer:
        writer.write_table(table)
    draft.rename(draft.with_suffix(".feather"))


def merge(store: Store, record: SweepRecord, counting: Collection[str]) -> None:
    """Make one table of a sweep's shards, with one of them in memory at a time, and delete them.

    Parameters
    ----------
    counting
        Runs whose predictions are kept: not those of a job that was broken off and done again. A sweep that goes on
        has a table already, of the jobs that had ended when it was interrupted.
    """
    shards = shard_folder(store.mlruns, record.id)
    files = [file for file in sorted(shards.glob("*.feather")) if file.stem in counting]
    if not files:
        shutil.rmtree(shards, ignore_errors=True)
        return
    parts: list[Callable[[], pa.Table]] = [partial(_shard, file) for file in files]
    schemas = [_schema(file) for file in files]
    before = read_artifact(store, record.id, read_run(store, record.id).artifact_uri, Artifact.PREDICTIONS)
    if before is not None:
        missing = pa.array(sorted(set(counting) - {file.stem for file in files}), pa.string())
        table = pq.read_table(io.BytesIO(before))
        parts.append(lambda: table.filter(pc.is_in(table["run_id"].cast(pa.string()), missing)))
        schemas.append(table.schema)
    # Jobs on different data have different columns; a column that a shard lacks is null there.
    schema = pa.unify_schemas([pa.schema([("run_id", pa.string())]), *(each.remove_metadata() for each in schemas)])
    merged = shards / "merged"
    with pq.ParquetWriter(merged, schema) as writer:
        for part in parts:
            writer.write_table(pa.table(list(_columns(part(), schema)), schema=schema))
    record.artifacts.file(merged, Artifact.PREDICTIONS)
    shutil.rmtree(shards)


def _columns(table: pa.Table, schema: pa.Schema) -> Iterator[pa.ChunkedArray | pa.Array]:
    for field in schema:
        present = field.name in table.column_names
        yield table[field.name].cast(field.type) if present else pa.nulls(len(table), field.type)


def _of_run(run_id: str, table: pa.Table) -> pa.Table:
    return table.add_column(0, "run_id", pa.repeat(run_id, len(table)))


def _schema(file: Path) -> pa.Schema:
    with pa.memory_map(str(file)) as source:
        return pa.ipc.open_file(source).schema


def _shard(file: Path) -> pa.Table:
    return _of_run(file.stem, feather.read_table(file))
