"""Identity sets and their sightings: what events say about identity, and nothing more.

A hundred million events are a few million sightings. Sightings are partial sums, one row a
batch: appended, never changed, and summed up when read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

RECEIVED_AT = "received_at"


def order_of(moment: str, clock: str) -> Column:
    """The total order of calls: the clock's time, the other time, the message id.

    ``moment`` is a prefix: a struct column's name with a dot, or "" for the frame's own columns.
    ``clock`` is received_at (as Segment resolves) or timestamp. A call without a usable timestamp
    counts as having happened when it arrived.
    """
    received = F.col(f"{moment}received_at")
    happened = F.coalesce(F.col(f"{moment}timestamp"), received)
    times = (received, happened) if clock == RECEIVED_AT else (happened, received)
    return F.struct(times[0].alias("a"), times[1].alias("b"), F.col(f"{moment}message_id"))


def moment() -> Column:
    """A call's place in time and its origin, as the MOMENT struct of lake/tables.py."""
    return F.struct("received_at", "timestamp", "message_id", "source")


def identity_sets(events: DataFrame) -> DataFrame:
    """The distinct identity sets of the events, with the first batch that carried each."""
    carried = events.where(F.col("identity_set").isNotNull())
    return carried.groupBy("identity_set").agg(
        F.min("identifiers").alias("identifiers"), F.min("batch").alias("batch")
    )


def sightings(events: DataFrame, clock: str) -> DataFrame:
    """Each identity set on each UTC day and batch: how many calls, the first and the last."""
    time = F.col("received_at") if clock == RECEIVED_AT else F.coalesce("timestamp", "received_at")
    order = order_of("", clock)
    return (
        events.where(F.col("identity_set").isNotNull())
        .groupBy("identity_set", F.to_date(time).alias("day"), "batch")
        .agg(
            F.count(F.lit(1)).alias("calls"),
            F.min_by(moment(), order).alias("first"),
            F.max_by(moment(), order).alias("last"),
        )
    )


def summed(facts: DataFrame, keys: list[str], clock: str) -> DataFrame:
    """Partial sums added up by ``keys``: calls, the first and the last moment."""
    return facts.groupBy(*keys).agg(
        F.sum("calls").alias("calls"),
        F.min_by("first", order_of("first.", clock)).alias("first"),
        F.max_by("last", order_of("last.", clock)).alias("last"),
    )
