"""Accounts: what group calls say of a group, and which profiles are its members.

A group id never links people. Members are many to many: whoever made a group call with its id is
a member, and stays one, as Segment knows no call that removes a user from a group
(segment.com/docs/connections/spec/group). Of several values of an account's trait the latest
survives; a null removes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lake.clock import moment, order_of, time_of
from lake.profiles.traits import told_traits
from lake.profiles.values import plain_text

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def account_observations(events: DataFrame, clock: str) -> DataFrame:
    """What group calls say: the columns of ``account_observations``.

    A call says that its identity set is of the group (a row without a trait), and its traits.
    """
    own = events.where((F.col("type") == "group") & F.col("group_id").isNotNull())
    missing = F.lit(None).cast("string")
    member = own.withColumns({"trait": missing, "value": missing})
    traits = told_traits(own, "group", ("group_id",))
    order = order_of("", clock)
    return (
        member.select(traits.columns)
        .unionByName(traits)
        .groupBy("identity_set", "group_id", "trait", "value", "source", "batch")
        .agg(
            F.count(F.lit(1)).alias("calls"),
            F.min_by(moment(), order).alias("first"),
            F.max_by(moment(), order).alias("last"),
        )
    )


def account_members(observations: DataFrame, set_profiles: DataFrame, clock: str) -> DataFrame:
    """The columns of ``account_members``: who made a group call with the account's id."""
    return (
        observations.where(F.col("trait").isNull())
        .join(set_profiles, "identity_set")
        .groupBy("group_id", "profile_id")
        .agg(
            F.min(time_of("first.", clock)).alias("first_seen"),
            F.max(time_of("last.", clock)).alias("last_seen"),
            F.sum("calls").alias("calls"),
        )
    )


def accounts(observations: DataFrame, members: DataFrame, clock: str) -> DataFrame:
    """The columns of ``accounts``: one row a group id that any group call carried."""
    seen = (
        observations.where(F.col("trait").isNull())
        .groupBy("group_id")
        .agg(
            F.min(time_of("first.", clock)).alias("first_seen"),
            F.max(time_of("last.", clock)).alias("last_seen"),
            F.sum("calls").alias("calls"),
        )
    )
    latest = (
        observations.where(F.col("trait").isNotNull())
        .groupBy("group_id", "trait")
        .agg(F.max_by("value", order_of("last.", clock)).alias("value"))
        .where(F.col("value").isNotNull())
    )
    entry = F.struct("trait", plain_text(F.col("value")).alias("value"))
    traits = latest.groupBy("group_id").agg(
        F.map_from_entries(F.array_sort(F.collect_list(entry))).alias("traits")
    )
    counted = members.groupBy("group_id").agg(F.count(F.lit(1)).alias("members"))
    none = F.expr("map()").cast("map<string,string>")
    return (
        seen.join(traits, "group_id", "left")
        .join(counted, "group_id", "left")
        .withColumns(
            {
                "traits": F.coalesce("traits", none),
                "members": F.coalesce("members", F.lit(0)),
            }
        )
    )
