"""Scratch: what a run stores for itself, as Parquet files and a list of them.

A stored frame ends a lineage, and a restarted run goes on with the same rows. For that no table
format is needed: the list, put in one piece when all files are written, makes the frame whole or
not there at all. The folder goes as a whole at the end of the run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Final

from lake.frames import Materialised
from lake.io.files import File, Layout, addresses, parquet_file, written

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

    from lake.frames import Storable
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


def opened(
    store: Objects,
    batches: Iterable[pa.RecordBatch],
    columns: Sequence[str] | None = None,
    *,
    since: int | None = None,
    day: str | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of the files that the batches name (uri), of these columns or of all, read by the
    worker that wants them; ``since``: those of batches after this one; ``day``: a date that is in
    the files' addresses instead of in them. It holds a file and a row group."""
    import pyarrow.compute as pc

    for uri in addresses(batches):
        file = parquet_file(store, uri)
        within = file.schema_arrow.names
        own = list(columns) if columns else [*within, *([day] if day else [])]
        read = [name for name in own if name != day] or within[:1]
        if since is None:
            for rows in file.iter_batches(_ROWS, columns=read, use_threads=False):
                yield _with_day(rows, uri, day).select(own)
            continue
        read = list(dict.fromkeys([*read, "batch"]))
        # Rows of a table may be long, so those of two groups are not put together.
        for group in range(file.num_row_groups):
            every = file.read_row_group(group, read, use_threads=False)
            for rows in every.filter(pc.greater(every["batch"], since)).to_batches():
                yield _with_day(rows, uri, day).select(own)


def _with_day(rows: pa.RecordBatch, uri: str, day: str | None) -> pa.RecordBatch:
    """The rows with the date of the file's address."""
    import pyarrow as pa

    if day is None:
        return rows
    told = uri.rpartition(f"/{day}=")[2].partition("/")[0]
    same = pa.repeat(pa.scalar(date.fromisoformat(told)), len(rows))
    return rows.append_column(day, same)


def store_list(store: Objects, listed: str, files: Stored) -> None:
    """Put the list: from now on the frame is stored."""
    store.put(listed, json.dumps({"files": files.files, "rows": files.rows}).encode())


def stored_rows(rows: Storable, store: Objects, folder: str, *, long_rows: bool = True) -> Stored:
    """The rows in files below ``folder``, which is for this call alone; ``long_rows`` as `Layout`
    has it.

    Runs one job, besides those of the frame's own plan. Raises what Spark raises.
    """
    return Stored.of(written(rows, store, plain_layout(folder, long_rows=long_rows)))


def plain_layout(folder: str, *, long_rows: bool = True) -> Layout:
    """How rows that nobody looks for lie in files of their own ``folder``."""
    return Layout(folder, long_rows=long_rows, footer=(), passing=True)


def read_back(frame: DataFrame, files: Stored, store: Objects) -> Materialised:
    """What was stored in these files, which ``frame`` reads."""
    return Materialised(frame, files.rows, files.files, partial(opened, store))
