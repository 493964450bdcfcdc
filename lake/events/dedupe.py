"""Which of several lines with one message id is the call.

The earliest received wins, for ever: `(received_at, timestamp, payload hash)`, then the line's
place. So the answer does not depend on the order in which objects land: a line that lands later
but was received earlier takes the place of the one that stood in `events`, which is then recorded
as the duplicate it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

PLACE = ("object", "etag", "line")
_KEPT = ("message_id", "received_at", "timestamp", "payload_hash", "source", *PLACE)


def repeated(calls: DataFrame, known: DataFrame | None) -> DataFrame:
    """Message ids that stand in more than one line of the calls, or in the known events.

    Candidates are found by a 64-bit hash, so that a message id is shuffled only where it may
    repeat; the hash may name a few too many, which compete with nobody and win.
    """
    key = F.xxhash64("message_id").alias("key")
    within = calls.groupBy(key).agg(F.count(F.lit(1)).alias("n")).where("n > 1").select("key")
    suspects = calls.join(F.broadcast(within), key == F.col("key"), "left_semi")
    ids = suspects.select("message_id")
    if known is not None:
        ids = ids.unionByName(
            calls.select("message_id").join(known.select("message_id"), "message_id", "left_semi")
        )
    return ids.distinct()


def duplicates(calls: DataFrame, known: DataFrame | None) -> DataFrame:
    """The lines that lose against another of the same message id.

    ``calls`` are a batch's readable lines, ``known`` the events before it (None before the first).
    Gives the columns of ``duplicate_calls`` but the batch; ``displaced`` says that the line stood
    in ``events`` until now.
    """
    ids = repeated(calls, known)
    rows = calls.select(*_KEPT, F.lit(False).alias("displaced"))  # noqa: FBT003
    if known is not None:
        stood = known.select(*_KEPT, F.lit(True).alias("displaced"))  # noqa: FBT003
        rows = rows.unionByName(stood)
    competing = rows.join(F.broadcast(ids), "message_id", "left_semi")
    order = F.struct("received_at", F.coalesce("timestamp", "received_at"), "payload_hash", *PLACE)
    winner = F.min_by(F.struct(*PLACE, "payload_hash"), order).alias("winner")
    winners = competing.groupBy("message_id").agg(winner)
    lost = F.struct(*PLACE) != F.struct(*[F.col(f"winner.{c}") for c in PLACE])
    return (
        competing.join(winners, "message_id")
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


def without(calls: DataFrame, duplicates: DataFrame) -> DataFrame:
    """The calls that are not among the duplicates, by their place."""
    return calls.join(duplicates.select(*PLACE), list(PLACE), "left_anti")
