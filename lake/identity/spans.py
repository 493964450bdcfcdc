"""Which profile each identifier belonged to, publication by publication.

A span begins with the publication that shows an identifier on a profile first and ends with the
first one that does not. Spans of one identifier never overlap, and at a past publication the open
ones are exactly the rows of its ``profile_identifiers``.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

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
