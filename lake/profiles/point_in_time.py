"""What was known of profiles at given times, for training data that must not know the future.

A profile is what its parts had told by then: a call counts if it had arrived, and if the profile
that its identity set had belonged to was, by the merges that had happened, already this one. So
what a later merge brought in is not there before the merge. Of what was told, the value survives
that the trait's rule takes. Trait observations are partial sums with a first and a last call
each: they cannot tell which of two values was the newer one in between. Therefore the identify
calls themselves are read, and the answer is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import functions as F

from lake.clock import moment
from lake.frames import unchanged
from lake.profiles.survivorship import TraitRule, judged, named
from lake.profiles.traits import told_traits
from lake.profiles.values import plain_text
from lake.ranges import most_ranges

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lake.sums import Numbers


def profiles_as_of(
    asked: DataFrame,
    events: DataFrame,
    set_profiles: DataFrame,
    created: DataFrame,
    clock: str,
    rules: Sequence[TraitRule] = (),
) -> DataFrame:
    """The rows that were asked for, with ``traits`` (map of plain text) as known at their time.

    ``asked``: (profile_id, time timestamp, any others); ``clock``: the one that orders calls;
    ``rules``: the declared traits. A time is one of arrival: a call counts from its received_at
    on. Empty where nothing was known, or where the profile was not there yet. Cost: the identify
    calls of the profiles asked for, found by a scan of `events`.
    """
    wanted = asked.select("profile_id", "time").where("time is not null").distinct()
    parts = created.select("profile_id", "segment_id", "created", "path").join(wanted, "profile_id")
    merged = F.filter("path", lambda step: step["moment"]["received_at"] <= F.col("time"))
    root = F.coalesce(F.try_element_at(merged, F.lit(-1))["segment_id"], "segment_id")
    known = parts.where(root == F.col("profile_id")).select("profile_id", "time", "segment_id")
    sets = set_profiles.select("identity_set", "segment_id").join(known, "segment_id")
    own = events.join(sets.select("identity_set").distinct(), "identity_set", "left_semi")
    told = told_traits(own).join(sets, "identity_set").where("received_at <= time")
    # A profile at a time is judged as a profile of its own.
    then = F.concat_ws("@", "profile_id", F.unix_micros("time")).alias("profile_id")
    one = (F.lit(1).cast("bigint").alias("calls"), moment().alias("first"), moment().alias("last"))
    rows = unchanged(told.select(then, "trait", "value", "source", *one))
    tasks = most_ranges(asked.sparkSession)
    values = judged(named(rows, rules), rules, clock, _time_in, tasks).as_frame()
    by_then = values.where("reason is null")
    time = F.timestamp_micros(F.substring_index("profile_id", "@", -1).cast("bigint"))
    entry = F.struct("trait", plain_text(F.col("value")).alias("value"))
    traits = by_then.groupBy(
        F.substring_index("profile_id", "@", 1).alias("profile_id"), time.alias("time")
    ).agg(F.map_from_entries(F.array_sort(F.collect_list(entry))).alias("traits"))
    nothing = F.expr("map()").cast("map<string,string>")
    return asked.join(traits, ["profile_id", "time"], "left").withColumn(
        "traits", F.coalesce("traits", nothing)
    )


def _time_in(profiles: pa.Array) -> Numbers:
    """The time at which each profile is judged, which its name here ends with."""
    micros = pc.list_element(pc.split_pattern(profiles, "@"), 1)
    return np.asarray(micros.cast(pa.int64()).to_numpy(), np.int64)
