"""The tables people open in the morning: a profile is a `group by`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lake import sums
from lake.clock import time_of
from lake.profiles.survivorship import LIST
from lake.profiles.values import plain_text, typed_as

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import Column, DataFrame

    from lake.profiles.survivorship import TraitRule


def profile_identifiers(identities: DataFrame, clock: str) -> DataFrame:
    """One row a linking identifier, with its one profile: the columns of the table.

    ``clock`` is received_at or timestamp, whichever orders calls.
    """
    return identities.where(F.col("profile_id").isNotNull()).select(
        "type",
        "value",
        "profile_id",
        time_of("first.", clock).alias("first_seen"),
        time_of("last.", clock).alias("last_seen"),
        "calls",
        F.col("first.message_id").alias("first_message_id"),
        F.col("first.source").alias("first_source"),
        "identifier_key",
    )


def profiles(
    sightings: DataFrame,
    set_profiles: DataFrame,
    identifiers: DataFrame,
    traits: DataFrame,
    clock: str,
) -> DataFrame:
    """One row a profile: when it was seen, its identifiers by type, its traits as plain text.

    In: ``sightings``, or what they add up to by set, ``set_profiles``, ``profile_identifiers``,
    ``profile_traits``; the clock that orders calls, by which ``first_seen`` and ``last_seen`` are
    told too.
    """
    own = sightings.join(set_profiles.select("identity_set", "profile_id"), "identity_set")
    seen = (
        sums.added_up(own, ["profile_id"], clock)
        .as_frame()
        .select(
            "profile_id",
            time_of("first.", clock).alias("first_seen"),
            time_of("last.", clock).alias("last_seen"),
            "calls",
            F.col("first.source").alias("first_source"),
            F.col("last.source").alias("last_source"),
        )
    )
    return (
        seen.join(_identifiers_by_type(identifiers), "profile_id", "left")
        .join(_traits_as_text(traits), "profile_id", "left")
        .select(
            "profile_id",
            "first_seen",
            "last_seen",
            F.coalesce("identifiers", F.expr("map()").cast("map<string,array<string>>")).alias(
                "identifiers"
            ),
            F.coalesce("traits", F.expr("map()").cast("map<string,string>")).alias("traits"),
            "calls",
            "first_source",
            "last_source",
        )
    )


def with_typed_traits(profiles: DataFrame, rules: Sequence[TraitRule]) -> DataFrame:
    """The profiles with a column for each trait declared with a type, and ``bad_casts``.

    A value that is not of its type is null and counted. Of a list each member is of the type, and
    those that are not are left out and counted.
    """
    declared = [r for r in rules if r.type]
    if not declared:
        return profiles
    columns: dict[str, Column] = {}
    bad = F.lit(0)
    for rule in declared:
        assert rule.type is not None
        typed = typed_as(rule.type)
        text = F.try_element_at("traits", F.lit(rule.name))
        if rule.rule == LIST:
            texts = F.from_json(text, "array<string>")
            members = F.transform(texts, typed)
            columns[rule.column] = F.array_compact(members)
            bad += F.coalesce(F.size(texts) - F.size(columns[rule.column]), F.lit(0))
        else:
            columns[rule.column] = typed(text)
            bad += (text.isNotNull() & columns[rule.column].isNull()).cast("int")
    return profiles.withColumns({**columns, "bad_casts": bad})


def _identifiers_by_type(identifiers: DataFrame) -> DataFrame:
    values = (
        identifiers.groupBy("profile_id", "type")
        .agg(F.array_sort(F.collect_list("value")).alias("values"))
        .groupBy("profile_id")
        .agg(F.array_sort(F.collect_list(F.struct("type", "values"))).alias("entries"))
    )
    return values.select("profile_id", F.map_from_entries("entries").alias("identifiers"))


def _traits_as_text(traits: DataFrame) -> DataFrame:
    entry = F.struct("trait", plain_text(F.col("value")).alias("value"))
    entries = traits.groupBy("profile_id").agg(F.array_sort(F.collect_list(entry)).alias("entries"))
    return entries.select("profile_id", F.map_from_entries("entries").alias("traits"))
