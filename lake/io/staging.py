"""Staged lines as Parquet files that the workers write themselves.

Handing rows from Python to the JVM, which then makes Parquet of them row by row, costs about as
much as reading the calls. So the worker that has them as columns writes them as columns, and only
the names of the files go to the driver.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from lake.events.dedupe import PLACE
from lake.frames import WorkerRows
from lake.io.files import Layout, addresses, parquet_file, written
from lake.io.landing import Reading, staged_lines
from lake.io.rewriting import without
from lake.io.scratch import Stored
from lake.tables import EVENTS, STAGED_LINES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lake.frames import Materialised
    from lake.io.objects import Objects

#: Columns of many values gain nothing from a dictionary and pay for it.
_DISTINCT: Final = frozenset(
    (
        "message_id",
        "message_key",
        "context",
        "traits",
        "properties",
        "payload_hash",
        "line",
        "raw",
        "detail",
    )
).union(
    ("user_id", "anonymous_id", "identity_set"),
    ("received_at", "sent_at", "timestamp", "original_timestamp"),
)
_REPEATED: Final = tuple(c.name for c in STAGED_LINES.columns if c.name not in _DISTINCT)


def staged_files(objects: DataFrame, reading: Reading, store: Objects, folder: str) -> Stored:
    """The Parquet files, below ``folder``, of the rows that `staged_lines` would give.

    Runs one job. Read them with the schema of `STAGED_LINES`. The folder is for this call alone.
    A worker holds up to 200 MiB.
    """
    # Of no column but its kind would a reader of staged lines look at the statistics.
    layout = Layout(folder, dictionary=_REPEATED, footer=("kind",), passing=True)
    return Stored.of(written(staged_lines(objects, reading), store, layout))


def accepted_calls(staged: Materialised, lost: Materialised, store: Objects) -> WorkerRows:
    """The events of the staged lines: the calls but those whose place (object, etag, line) is
    among the ``lost``.

    The worker that reads a file writes it. It holds a row group, and the lost of its objects.
    """
    kernel = partial(_accepted, store, lost.files)
    return WorkerRows(staged.parts, kernel, EVENTS.ddl)


def _accepted(
    store: Objects, lost: tuple[str, ...], parts: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    by = ("line", *(name for name in PLACE if name != "line"))
    for uri in addresses(parts):
        file = parquet_file(store, uri)
        objects = pc.unique(file.read(["object"]).column("object"))
        own = [rows for each in lost for rows in _of_objects(store, each, objects)]
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group, ["kind", *EVENTS.names])
            calls = rows.filter(pc.equal(rows.column("kind"), "call")).select(EVENTS.names)
            accepted = without(calls, pa.concat_tables(own), by) if own else calls
            yield from accepted.to_batches()


def _of_objects(store: Objects, uri: str, objects: pa.Array) -> Iterator[pa.Table]:
    """The rows of a stored file that are of these objects."""
    file = parquet_file(store, uri)
    for group in range(file.num_row_groups):
        rows = file.read_row_group(group)
        yield rows.filter(pc.is_in(rows.column("object"), value_set=objects))
