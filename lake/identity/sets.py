"""Identity sets and their sightings: what events say about identity, and nothing more.

A hundred million events are a few million sightings. Sightings are partial sums, one row a
batch: appended, never changed, and summed up when read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lake import sums
from lake.clock import time_of
from lake.tables import SIGHTINGS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lake.frames import WorkerRows


def identity_sets(events: DataFrame) -> DataFrame:
    """The distinct identity sets of the events, with the first batch that carried each."""
    carried = events.where(F.col("identity_set").isNotNull())
    # Identifiers follow from the set's key; as a part of it they are hashed, else Spark sorts.
    return carried.groupBy("identity_set", "identifiers").agg(F.min("batch").alias("batch"))


def sightings(events: DataFrame, clock: str) -> WorkerRows:
    """Each identity set on each UTC day and batch: how many calls, the first and the last."""
    carried = events.where(F.col("identity_set").isNotNull())
    daily = carried.withColumn("day", F.to_date(time_of("", clock)))
    return sums.of_calls(daily, SIGHTINGS.grain, clock)
