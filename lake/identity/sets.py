"""Identity sets and their sightings: what events say about identity, and nothing more.

A hundred million events are a few million sightings. Sightings are partial sums, one row a
batch: appended, never changed, and summed up when read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lake.clock import RECEIVED_AT, order_of, sums_of_calls, time_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["RECEIVED_AT", "identity_sets", "order_of", "sightings", "summed"]


def identity_sets(events: DataFrame) -> DataFrame:
    """The distinct identity sets of the events, with the first batch that carried each."""
    carried = events.where(F.col("identity_set").isNotNull())
    # Identifiers follow from the set's key; as a part of it they are hashed, else Spark sorts.
    return carried.groupBy("identity_set", "identifiers").agg(F.min("batch").alias("batch"))


def sightings(events: DataFrame, clock: str) -> DataFrame:
    """Each identity set on each UTC day and batch: how many calls, the first and the last."""
    return (
        events.where(F.col("identity_set").isNotNull())
        .groupBy("identity_set", F.to_date(time_of("", clock)).alias("day"), "batch")
        .agg(*sums_of_calls(clock))
    )


def summed(facts: DataFrame, keys: list[str], clock: str) -> DataFrame:
    """Partial sums added up by ``keys``: calls, the first and the last moment."""
    return facts.groupBy(*keys).agg(
        F.sum("calls").alias("calls"),
        F.min_by("first", order_of("first.", clock)).alias("first"),
        F.max_by("last", order_of("last.", clock)).alias("last"),
    )
