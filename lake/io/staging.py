"""Staged lines as Parquet files that the workers write themselves.

Handing rows from Python to the JVM, which then makes Parquet of them row by row, costs about as
much as reading the calls. So where the rows go to a scratch folder anyway, the worker that has
them as columns writes them as columns, and only the names of the files go to the driver.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from lake.io.landing import Reading, record_batches
from lake.tables import STAGED_LINES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_GROUP_BYTES: Final = 48 << 20
_FILE_GROUPS: Final = 4
#: Columns of many values gain nothing from a dictionary and pay for it.
_DISTINCT: Final = frozenset(
    ("message_id", "context", "traits", "properties", "payload_hash", "line", "raw", "detail")
).union(("received_at", "sent_at", "timestamp", "original_timestamp"))
_REPEATED: Final = [c.name for c in STAGED_LINES.columns if c.name not in _DISTINCT]


class Scratch(Protocol):
    """Where files are put; see `lake.io.objects`."""

    def put(self, uri: str, body: bytes) -> None:
        """Write an object, whatever is there."""


def staged_files(objects: DataFrame, reading: Reading, scratch: Scratch, folder: str) -> list[str]:
    """The Parquet files, below ``folder``, of the rows that `staged_lines` would give.

    Runs one job. Read them with the schema of `STAGED_LINES`. Files are named by task attempt,
    so one that was lost or ran twice leaves files behind that are in no answer: the folder is
    for this call alone, and removed whole. A worker holds up to 200 MiB.
    """
    manifest = objects.select("source", "object", "etag", "size", "last_modified")
    kernel = partial(_written, reading, scratch, folder.rstrip("/"))
    return sorted(row.file for row in manifest.mapInArrow(kernel, "file string").collect())


def _written(
    reading: Reading, scratch: Scratch, folder: str, manifest: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    from pyspark import TaskContext

    task = TaskContext.get()
    attempt = task.taskAttemptId() if task else 0
    for number, body in enumerate(_bodies(record_batches(reading, manifest))):
        uri = f"{folder}/{attempt:08d}-{number:04d}.parquet"
        scratch.put(uri, body)
        yield pa.RecordBatch.from_pydict({"file": [uri]})


def _bodies(batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """Whole Parquet files, each of a few row groups."""
    groups = _groups(batches)
    for first in groups:
        sink = pa.BufferOutputStream()
        with pq.ParquetWriter(
            sink,
            STAGED_LINES.arrow,
            compression="zstd",
            use_dictionary=_REPEATED,
            write_statistics=["kind"],  # of no other column would a reader look at them
        ) as writer:
            writer.write_table(first)
            for group in islice(groups, _FILE_GROUPS - 1):
                writer.write_table(group)
        yield sink.getvalue().to_pybytes()


def _groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The batches gathered to row groups of about ``_GROUP_BYTES``."""
    waiting: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        waiting.append(batch)
        size += batch.nbytes
        if size >= _GROUP_BYTES:
            yield pa.Table.from_batches(waiting)
            waiting, size = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting)
