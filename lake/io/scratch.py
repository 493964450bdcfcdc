"""Scratch: what a run stores for itself, as Parquet files and a list of them.

A stored frame ends a lineage, and a restarted run goes on with the same rows. For that no table
format is needed: the list, put in one piece when all files are written, makes the frame whole or
not there at all. The folder goes as a whole at the end of the run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Final

from lake.io.files import File, Kernel, Layout, collected, files_of, parquet_file

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

    from lake.io.objects import Objects

_ROWS: Final = 1 << 20


@dataclass(frozen=True)
class Stored:
    """The Parquet files of a stored frame, and its rows."""

    files: tuple[str, ...]
    rows: int

    @classmethod
    def of(cls, files: Iterable[File]) -> Stored:
        """What these files hold."""
        files = list(files)
        return cls(tuple(file.uri for file in files), sum(file.rows for file in files))


def stored(store: Objects, listed: str) -> Stored | None:
    """What the list at this address names; None where there is no list."""
    found = store.get(listed)
    if found is None:
        return None
    said = json.loads(found[0])
    return Stored(tuple(said["files"]), said["rows"])


def opened(store: Objects, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows of the files that the batches name (uri), read by the worker that wants them. It
    holds a file and a row group."""
    for uri in chain.from_iterable(batch.column("uri").to_pylist() for batch in batches):
        yield from parquet_file(store, uri).iter_batches(_ROWS, use_threads=False)


def store_list(store: Objects, listed: str, files: Stored) -> None:
    """Put the list: from now on the frame is stored."""
    store.put(listed, json.dumps({"files": files.files, "rows": files.rows}).encode())


def stored_frame(
    frame: DataFrame, store: Objects, folder: str, kernel: Kernel | None = None
) -> Stored:
    """The frame's rows, or what ``kernel`` makes of them, in files below ``folder``, which is for
    this call alone.

    The worker that runs the kernel writes its rows, which so never go through the JVM. Runs one
    job, besides those of the frame's own plan. Raises what Spark raises.
    """
    return Stored.of(collected(frame, partial(_files, store, Layout(folder, footer=()), kernel)))


def _files(
    store: Objects, layout: Layout, kernel: Kernel | None, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    return files_of(store, layout, kernel(batches) if kernel else batches)
