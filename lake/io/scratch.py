"""Scratch: what a run stores for itself, as Parquet files that the workers write.

A stored frame ends a lineage, and a restarted run goes on with the same rows. For that no table
format is needed: a list of the files, put in one piece when all of them are written, makes the
frame whole or not there at all. Files are named by task attempt, so one that was lost or ran twice
leaves files behind that are in no list; the folder goes as a whole at the end of the run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_GROUP_BYTES: Final = 32 << 20
_FILE_BYTES: Final = 128 << 20


class Store(Protocol):
    """Where files are put; see `lake.io.objects`."""

    def get(self, uri: str) -> tuple[bytes, str] | None:
        """An object's bytes and etag, or None."""

    def put(self, uri: str, body: bytes) -> None:
        """Write an object, whatever is there."""


@dataclass(frozen=True)
class Stored:
    """The Parquet files of a stored frame, and its rows."""

    files: tuple[str, ...]
    rows: int


def stored(store: Store, listed: str) -> Stored | None:
    """What the list at this address names; None where there is no list."""
    found = store.get(listed)
    if found is None:
        return None
    said = json.loads(found[0])
    return Stored(tuple(said["files"]), said["rows"])


def store_list(store: Store, listed: str, files: Stored) -> None:
    """Put the list: from now on the frame is stored."""
    store.put(listed, json.dumps({"files": files.files, "rows": files.rows}).encode())


def written(frame: DataFrame, store: Store, folder: str) -> Stored:
    """The frame's rows in files below ``folder``, which is for this call alone.

    Runs one job, besides those of the frame's own plan. A worker holds up to 160 MiB.
    Raises what Spark raises.
    """
    kernel = partial(_written, store, folder.rstrip("/"))
    parts = frame.mapInArrow(kernel, "file string, rows bigint").collect()
    return Stored(tuple(sorted(p.file for p in parts)), sum(p.rows for p in parts))


def _written(
    store: Store, folder: str, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    from pyspark import TaskContext

    task = TaskContext.get()
    attempt = task.taskAttemptId() if task else 0
    for number, (body, rows) in enumerate(_bodies(batches)):
        uri = f"{folder}/{attempt:08d}-{number:04d}.parquet"
        store.put(uri, body)
        yield pa.RecordBatch.from_pydict({"file": [uri], "rows": [rows]})


def _bodies(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[bytes, int]]:
    """Whole Parquet files and their rows."""
    sink, writer, rows = pa.BufferOutputStream(), None, 0
    for group in _groups(batches):
        if writer is None:
            writer = pq.ParquetWriter(sink, group.schema, compression="zstd")
        writer.write_table(group, row_group_size=group.num_rows)
        rows += group.num_rows
        if sink.tell() >= _FILE_BYTES:
            writer.close()
            yield sink.getvalue().to_pybytes(), rows
            sink, writer, rows = pa.BufferOutputStream(), None, 0
    if writer is not None:
        writer.close()
        yield sink.getvalue().to_pybytes(), rows


def _groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The batches gathered to row groups; none of them empty."""
    waiting: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        if batch.num_rows:
            waiting.append(batch)
            size += batch.nbytes
        if size >= _GROUP_BYTES:
            yield pa.Table.from_batches(waiting)
            waiting, size = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting)
