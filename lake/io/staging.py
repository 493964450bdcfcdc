"""Staged lines as Parquet files that the workers write themselves.

Handing rows from Python to the JVM, which then makes Parquet of them row by row, costs about as
much as reading the calls. So the worker that has them as columns writes them as columns, and only
the names of the files go to the driver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lake.io.files import Layout, written
from lake.io.landing import Reading, staged_lines
from lake.io.scratch import Stored
from lake.tables import STAGED_LINES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lake.io.objects import Objects

#: Columns of many values gain nothing from a dictionary and pay for it.
_DISTINCT: Final = frozenset(
    ("message_id", "context", "traits", "properties", "payload_hash", "line", "raw", "detail")
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
    layout = Layout(folder, dictionary=_REPEATED, footer=("kind",))
    return Stored.of(written(staged_lines(objects, reading), store, layout))
