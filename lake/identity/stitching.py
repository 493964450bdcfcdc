"""From identity sets to profiles: guards, links, raw components, and who is one person.

    sets ─► identifiers ─► guards ─► links ─► edges ─► components ─► founders ─► profiles

Every function takes frames and gives a frame; the job that calls them says what is stored where.
A *graph key* is an identifier's 64-bit key, unless two identifiers share it: then each gets a
key of its own, because keys come from clients, who can craft a pair that collides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from pyspark.sql import functions as F

from lake.identity.guards import REASONS
from lake.identity.ids import identifier_key, identifier_key_column, profile_id_column
from lake.identity.sets import order_of

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from lake.identity.resolve import Rules
    from lake.identity.resolve.model import Pair


def set_totals(identity_sets: DataFrame, summed_sightings: DataFrame) -> DataFrame:
    """One row a set: its identifiers, calls, first and last moment over all days."""
    return identity_sets.select("identity_set", "identifiers").join(
        summed_sightings.select("identity_set", "calls", "first", "last"), "identity_set"
    )


def members(sets: DataFrame) -> DataFrame:
    """One row an identifier of a set: (identity_set, type, value)."""
    return sets.select("identity_set", F.explode("identifiers").alias("i")).select(
        "identity_set", F.col("i.type").alias("type"), F.col("i.value").alias("value")
    )


def identifiers(sets: DataFrame, clock: str) -> DataFrame:
    """One row an identifier: its key, the calls that carried it, the first and the last."""
    exploded = sets.select(F.explode("identifiers").alias("i"), "calls", "first", "last")
    return (
        exploded.groupBy(F.col("i.type").alias("type"), F.col("i.value").alias("value"))
        .agg(
            F.sum("calls").alias("calls"),
            F.min_by("first", order_of("first.", clock)).alias("first"),
            F.max_by("last", order_of("last.", clock)).alias("last"),
        )
        .withColumn("identifier_key", identifier_key_column(F.col("type"), F.col("value")))
    )


def collisions(identifiers: DataFrame) -> DataFrame:
    """Keys that two or more linking identifiers share, exactly: (identifier_key); none is usual.

    ``identifiers`` has one row an identifier, so counting rows is an exact test. Those with a
    guard have no place in the graph and collide with nobody.
    """
    shared = (
        identifiers.where("guard is null")
        .groupBy("identifier_key")
        .agg(F.count(F.lit(1)).alias("n"))
    )
    return shared.where("n > 1").select("identifier_key")


def exceptions(identifiers: DataFrame, collisions: DataFrame) -> DataFrame:
    """Identifiers that do not link under their own key: guarded ones and colliding ones.

    (type, value, guard, graph_key): a colliding one links under 60 bits of its SHA-256 instead;
    null for a guarded one. Few rows: everything else links as it is.
    """
    colliding = F.broadcast(collisions.select("identifier_key", F.lit(True).alias("colliding")))  # noqa: FBT003
    digest = F.sha2(F.encode(F.concat("type", F.lit("\0"), "value"), "UTF-8"), 256)
    own = F.conv(F.substring(digest, 1, 15), 16, 10).cast("bigint")
    return (
        identifiers.join(colliding, "identifier_key", "left")
        .where("guard is not null or colliding")
        .select(
            "type",
            "value",
            "guard",
            F.when(F.col("guard").isNull(), own).alias("graph_key"),
        )
    )


def links(sets: DataFrame, exceptions: DataFrame | None) -> DataFrame:
    """Each set's linking identifiers: (identity_set, first, linking array of type, value, key).

    Sets all of whose identifiers are guarded have no row. ``exceptions`` None says there are none.
    """
    if exceptions is None:
        linking = F.transform(
            "identifiers",
            lambda i: F.struct(
                i["type"].alias("type"),
                i["value"].alias("value"),
                identifier_key_column(i["type"], i["value"]).alias("key"),
            ),
        )
        return sets.select("identity_set", "first", linking.alias("linking"))
    exploded = sets.select("identity_set", "first", F.explode("identifiers").alias("i")).select(
        "identity_set", "first", F.col("i.type").alias("type"), F.col("i.value").alias("value")
    )
    key = F.coalesce("graph_key", identifier_key_column(F.col("type"), F.col("value")))
    return (
        exploded.join(F.broadcast(exceptions), ["type", "value"], "left")
        .where("guard is null")
        .groupBy("identity_set")
        .agg(
            F.min("first").alias("first"),  # the same in every row of a set
            F.array_sort(F.collect_list(F.struct("type", "value", key.alias("key")))).alias(
                "linking"
            ),
        )
    )


def edges(links: DataFrame) -> DataFrame:
    """The graph: each set as a star around its first identifier, (a, b) of graph keys.

    A star of n identifiers connects what all n(n - 1)/2 pairs would. Its centre is linked to
    itself, so that an identifier that is always alone is in the graph too.
    """
    return links.select(
        F.element_at("linking.key", 1).alias("a"), F.explode("linking.key").alias("b")
    )


def rank_of(kind: Column, priority: Sequence[str]) -> Column:
    """The place of an identifier type; types that ``priority`` does not list share the last."""
    ranks = F.create_map(*[F.lit(x) for i, name in enumerate(priority) for x in (name, i)])
    return F.coalesce(F.try_element_at(ranks, kind), F.lit(len(priority)))


def strongest(linking: Column, priority: Sequence[str]) -> Column:
    """The highest-priority identifier of an array: (rank, type, value).

    Types that ``priority`` does not list follow alphabetically; equal types by smallest value.
    """

    def ranked(i: Column) -> Column:
        rank = rank_of(i["type"], priority)
        return F.struct(rank.alias("rank"), i["type"].alias("type"), i["value"].alias("value"))

    return F.array_min(F.transform(linking, ranked))


def set_components(links: DataFrame, components: DataFrame) -> DataFrame:
    """Each linking set with its raw component: (identity_set, first, linking, component)."""
    hub = F.element_at("linking.key", 1)
    return links.join(components, hub == F.col("node")).select(
        "identity_set", "first", "linking", "component"
    )


def override_edges(spark: SparkSession, pairs: Sequence[Pair]) -> DataFrame:
    """The ``always_together`` pairs as edges of the graph, so that both ends are resolved together.

    An identifier that no call ever carried may stand between two that were: the pairs are closed
    over it by being edges.
    """
    keys = [(identifier_key(*one), identifier_key(*other)) for one, other in pairs]
    return spark.createDataFrame(keys, "a bigint, b bigint")


class Naming(NamedTuple):
    """What gives a profile its id: the space, the types by priority, the clock that orders."""

    space: str
    priority: tuple[str, ...]
    clock: str


def founded(set_components: DataFrame, naming: Naming) -> DataFrame:
    """The profile of each raw component: (component, profile_id).

    The founder is the strongest identifier of the component's first set: a rebuild from nothing
    gives the same id, and it changes only to an older founder's.
    """
    strong = strongest(F.col("linking"), naming.priority)
    first = F.min_by(strong, order_of("first.", naming.clock)).alias("founder")
    own = profile_id_column(naming.space, F.col("founder.type"), F.col("founder.value"))
    return (
        set_components.groupBy("component").agg(first).select("component", own.alias("profile_id"))
    )


def linked_identifiers(
    identifiers: DataFrame, exceptions: DataFrame | None, components: DataFrame
) -> DataFrame:
    """The identifiers with their ``graph_key`` and raw ``component``; the latter null where a
    guard keeps one from linking."""
    keyed = identifiers.withColumn("graph_key", F.col("identifier_key"))
    if exceptions is not None:
        own = exceptions.select("type", "value", F.col("graph_key").alias("own"))
        keyed = identifiers.join(F.broadcast(own), ["type", "value"], "left").select(
            *identifiers.columns, F.coalesce("own", "identifier_key").alias("graph_key")
        )
    unguarded = (F.col("graph_key") == F.col("node")) & F.col("guard").isNull()
    return keyed.join(components, unguarded, "left").drop("node")


def founded_by_person(
    linked: DataFrame, founded: DataFrame, rules: Rules, naming: Naming
) -> DataFrame:
    """The same under latest_wins: the first-seen identifier of a unique type founds, if any.

    So whoever logs in on a device that was there first does not inherit the id of the person who
    used it before; see `lake.identity.resolve.latest_wins`.
    """
    unique = [kind for kind, limit in rules.limits.items() if limit.count == 1]
    order = order_of("first.", naming.clock)
    rank = rank_of(F.col("type"), naming.priority)
    persons = (
        linked.where(F.col("component").isNotNull() & F.col("type").isin(unique))
        .groupBy("component")
        .agg(F.min_by(F.struct("type", "value"), F.struct(order, rank, "type", "value")).alias("i"))
        .select(
            "component",
            profile_id_column(naming.space, F.col("i.type"), F.col("i.value")).alias("own"),
        )
    )
    return founded.join(persons, "component", "left").select(
        "component", F.coalesce("own", "profile_id").alias("profile_id")
    )


def identities(
    linked: DataFrame, founded: DataFrame, resolved: DataFrame | None, contested: DataFrame
) -> DataFrame:
    """Every identifier with its component and profile: the columns of ``identities``.

    ``founded`` names the profiles of clean components, ``resolved`` (None: there are none) those
    of the identifiers of conflicting ones; ``contested``: the components in which a rule may bind.
    A guarded identifier is listed with neither. One without totals has no row.
    """
    bound = F.broadcast(contested.select("component", F.lit(True).alias("bound")))  # noqa: FBT003
    named = (
        linked.where("calls is not null")
        .join(founded, "component", "left")
        .join(bound, "component", "left")
    )
    if resolved is not None:
        own = resolved.where("kind = 'identifier'").select(
            "type", "value", F.col("profile_id").alias("own")
        )
        named = (
            named.join(own, ["type", "value"], "left")
            .withColumn("profile_id", F.coalesce("own", "profile_id"))
            .drop("own")
        )
    return named.select(
        "type",
        "value",
        "identifier_key",
        "graph_key",
        "component",
        "profile_id",
        "guard",
        F.coalesce("bound", F.lit(False)).alias("contested"),  # noqa: FBT003
        "first",
        "last",
        "calls",
    )


def set_profiles(
    set_components: DataFrame, founded: DataFrame, resolved: DataFrame | None
) -> DataFrame:
    """Which profile each set belongs to: (identity_set, profile_id)."""
    clean = set_components.join(founded, "component").select("identity_set", "profile_id")
    if resolved is None:
        return clean
    return clean.unionByName(resolved.where("kind = 'set'").select("identity_set", "profile_id"))


def guard_violations(sets: DataFrame, exceptions: DataFrame, daily: DataFrame) -> DataFrame:
    """A row for each day a set carried a guarded identifier: the columns of ``violations``."""
    guarded = exceptions.where("guard is not null").select("type", "value", "guard")
    carried = members(sets).join(F.broadcast(guarded), ["type", "value"])
    reasons = F.create_map(*[F.lit(x) for pair in REASONS.items() for x in pair])
    return carried.join(daily.select("identity_set", "day"), "identity_set").select(
        "identity_set",
        "day",
        "type",
        "value",
        reasons[F.col("guard")].alias("reason"),
        F.col("guard").alias("rule"),
        F.array().cast("array<string>").alias("apart"),
    )
