"""Accounts: what group calls say of a group, and which profiles are its members.

A group id never links people. Members are many to many: whoever made a group call with its id is
a member, and stays one, as Segment knows no call that removes a user from a group
(segment.com/docs/connections/spec/group). Of several values of an account's trait the latest
survives; a null removes it.

What is done in an account's name is what other calls say in ``context.groupId``
(segment.com/docs/connections/spec/common#context): counted for the account, and for a member. It
makes neither accounts nor members; those are for group calls to make. Segment itself counts every
call of a member for all of his accounts (segment.com/docs/engage/audiences/account-audiences).
A group id is text or a number and not empty; anything else, and text that reads like a JSON
object, list or boolean, names no account.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lake import sums
from lake.clock import order_of, time_of
from lake.profiles.traits import told_traits
from lake.profiles.values import plain_text
from lake.tables import ACCOUNT_ACTIVITY, ACCOUNT_OBSERVATIONS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lake.frames import WorkerRows

_NO_ID = r"^([\[{]|(true|false)$)"


def account_observations(events: DataFrame, clock: str) -> WorkerRows:
    """What group calls say: the columns of ``account_observations``.

    A call says that its identity set is of the group (a row without a trait), and its traits.
    """
    own = events.where((F.col("type") == "group") & (F.col("group_id") != ""))
    missing = F.lit(None).cast("string")
    member = own.withColumns({"trait": missing, "value": missing})
    traits = told_traits(own, "group", ("group_id",))
    told = member.select(traits.columns).unionByName(traits)
    return sums.of_calls(told, ACCOUNT_OBSERVATIONS.grain, clock)


def account_activity(events: DataFrame, clock: str) -> WorkerRows:
    """What calls say in an account's name: the columns of ``account_activity``."""
    told = F.get_json_object("context", "$.groupId")
    own = (
        events.where((F.col("type") != "group") & F.col("context").contains("groupId"))
        .withColumns({"group_id": told, "day": F.to_date(time_of("", clock))})
        .where((F.col("group_id") != "") & ~F.col("group_id").rlike(_NO_ID))
    )
    return sums.of_calls(own, ACCOUNT_ACTIVITY.grain, clock)


def _active(activity: DataFrame, keys: list[str], clock: str) -> DataFrame:
    """What was done in accounts' names, added up by these keys."""
    return activity.groupBy(*keys).agg(
        F.sum("calls").alias("activity"),
        F.count_distinct("day").alias("active_days"),
        F.min(time_of("first.", clock)).alias("first_active"),
        F.max(time_of("last.", clock)).alias("last_active"),
    )


def account_members(
    observations: DataFrame, activity: DataFrame, set_profiles: DataFrame, clock: str
) -> DataFrame:
    """The columns of ``account_members``: who made a group call with the account's id, and what
    else he did in its name."""
    pair = ["group_id", "profile_id"]
    members = (
        observations.where(F.col("trait").isNull())
        .join(set_profiles, "identity_set")
        .groupBy(*pair)
        .agg(
            F.min(time_of("first.", clock)).alias("first_seen"),
            F.max(time_of("last.", clock)).alias("last_seen"),
            F.sum("calls").alias("calls"),
        )
    )
    active = _active(activity.join(set_profiles, "identity_set"), pair, clock)
    return members.join(active, pair, "left").fillna(0, subset=["activity", "active_days"])


def accounts(
    observations: DataFrame, activity: DataFrame, members: DataFrame, clock: str
) -> DataFrame:
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
        .join(_active(activity, ["group_id"], clock), "group_id", "left")
        .withColumn("traits", F.coalesce("traits", none))
        .fillna(0, subset=["members", "activity", "active_days"])
    )
