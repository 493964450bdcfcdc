"""Which of several lines with one message id is the call.

The earliest received wins, for ever: `(received_at, timestamp, payload hash)`, then the line's
place. So the answer does not depend on the order in which objects land: a line that lands later
but was received earlier takes the place of the one that stood in `events`, which is then recorded
as the duplicate it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

PLACE = ("object", "etag", "line")
_KEPT = ("message_id", "received_at", "timestamp", "payload_hash", "source", *PLACE)


def repeated(calls: DataFrame, known: DataFrame | None) -> DataFrame:
    """Of message ids that stand in more than one line of the calls, or in the known events too:
    (key, stood), a 64-bit hash of the id, and whether an event has it.

    By the hash no message id is shuffled but where it may repeat, and of the known events only
    ids are read. It may name a few too many, which compete with nobody and win.
    """
    keys = calls.select(_key())
    counted = keys.groupBy("key").agg(F.count(F.lit(1)).alias("n"))
    within = counted.where("n > 1").select("key", F.lit(False).alias("stood"))  # noqa: FBT003
    if known is None:
        return within
    across = known.select(_key()).join(keys, "key", "left_semi").distinct()
    return within.unionByName(across.select("key", F.lit(True).alias("stood")))  # noqa: FBT003


def duplicates(calls: DataFrame, known: DataFrame | None, repeated: DataFrame) -> DataFrame:
    """The lines that lose against another of the same message id.

    ``calls`` are a batch's readable lines, ``known`` the events before it (None before the first),
    ``repeated`` what is told of both by the function of this name, stored. Gives the columns of
    ``duplicate_calls`` but the batch; ``displaced`` says that the line stood in ``events`` until
    now.
    """
    keys = F.broadcast(repeated.select("key"))
    competing = calls.select(*_KEPT, F.lit(False).alias("displaced"), _key()).join(  # noqa: FBT003
        keys, "key", "left_semi"
    )
    if known is not None:
        stood = known.select(*_KEPT, F.lit(True).alias("displaced"), _key())  # noqa: FBT003
        keys = F.broadcast(repeated.where("stood").select("key"))
        competing = competing.unionByName(stood.join(keys, "key", "left_semi"))
    order = F.struct("received_at", F.coalesce("timestamp", "received_at"), "payload_hash", *PLACE)
    first = F.first(F.struct(*PLACE, "payload_hash"))
    winner = first.over(Window.partitionBy("message_id").orderBy(order))
    lost = F.struct(*PLACE) != F.struct(*[F.col(f"winner.{c}") for c in PLACE])
    return (
        competing.withColumn("winner", winner)
        .where(lost)
        .select(
            "message_id",
            "received_at",
            (F.col("payload_hash") != F.col("winner.payload_hash")).alias("payload_differs"),
            "payload_hash",
            "displaced",
            "source",
            *PLACE,
        )
    )


def _key() -> Column:
    return F.xxhash64("message_id").alias("key")
