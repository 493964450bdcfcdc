"""Which profile each identifier belonged to, publication by publication.

A span begins with the publication that shows an identifier on a profile first and ends with the
first one that does not. Spans of one identifier never overlap, and at a past publication the open
ones are exactly the rows of its ``profile_identifiers``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql import functions as F

from lake.frames import widened
from lake.tables import IDENTITY_HISTORY

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lake.frames import Materialised, WorkerRows

_KEY = ["identifier_key", "type", "value"]


def moved(before: DataFrame, now: DataFrame) -> DataFrame:
    """The identifiers that changed profiles, are new or are gone: (identifier_key, type, value,
    profile_id), the last null where it is gone.

    ``before`` and ``now`` are two versions of ``profile_identifiers``, or the same part of both.
    """
    was = before.select(*_KEY, F.col("profile_id").alias("was"))
    return (
        was.join(now.select(*_KEY, "profile_id"), _KEY, "full")
        .where(~F.col("was").eqNullSafe(F.col("profile_id")))
        .select(*_KEY, "profile_id")
    )


def spans(earlier: DataFrame, moved: DataFrame, number: int, at: datetime) -> DataFrame:
    """All spans of the identifiers that moved: the columns of ``identity_history``.

    ``earlier``: the spans until now, of these identifiers at least; ``number`` and ``at``: the
    publication that shows the change first, and its date.
    """
    until = {
        "until_publication": F.coalesce("until_publication", F.lit(number).cast("bigint")),
        "valid_until": F.coalesce("valid_until", F.lit(at)),
    }
    ended = earlier.join(moved.select(*_KEY), _KEY, "left_semi").withColumns(until)
    begun = moved.where("profile_id is not null").select(
        *_KEY,
        "profile_id",
        F.lit(number).cast("bigint").alias("from_publication"),
        F.lit(at).alias("valid_from"),
        F.lit(None).cast("bigint").alias("until_publication"),
        F.lit(None).cast("timestamp").alias("valid_until"),
    )
    return ended.unionByName(begun)


def first_spans(now: Materialised, number: int, at: datetime) -> WorkerRows:
    """The same where there are no earlier spans and all identifiers ``now`` are new: those of
    ``profile_identifiers``, in their order."""
    kernel = partial(_first_spans, number, at)
    begun = now.through(kernel, IDENTITY_HISTORY.ddl, (*_KEY, "profile_id"))
    return replace(begun, in_order=now.opened is not None)


def _first_spans(
    number: int, at: datetime, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    told = {"from_publication": number, "valid_from": at}
    for rows in batches:
        begun = widened(rows, IDENTITY_HISTORY.arrow)
        for name, value in told.items():
            place, kind = begun.schema.get_field_index(name), begun.schema.field(name)
            same = pa.repeat(pa.scalar(value, kind.type), len(rows))
            begun = begun.set_column(place, kind, same)
        yield begun
