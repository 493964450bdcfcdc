"""What a night touched: from its new sightings to the raw components that have to be resolved.

    new sightings ─► news: their sets ─► seeds: identifiers ─► touched components
                                                                     │ all their identifiers
    scope: every set that can be concerned, with all of its days ◄───┘

Two sets in different raw components never influence each other, so whatever is outside of the
touched components stays as it is, ids included; what is inside is resolved from its facts as if
it were new. A component is touched where

- a set was seen that carries one of its identifiers (new links, new totals, a later day);
- the guard of a value that it has, or that it would get, changed;
- an override names an end in it, for overrides join what no call joins;
- one of its identifiers shares its 64-bit key with another;
- a limit, a cap or the strategy changed and its rules bind, or did when it was last resolved.

`identities` is the answer of the last night; of its rows only component, guard and totals are
read, which are facts of the sets seen until then and no decision of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lake import sums
from lake.identity.ids import identifier_key, identifier_key_column
from lake.identity.stitching import KEY, carried, members

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import Column, DataFrame, SparkSession

    from lake.frames import WorkerRows
    from lake.identity.resolve import Identifier

_KEY = ["type", "value"]


def seeds(news: DataFrame, clock: str) -> WorkerRows:
    """The identifiers of sets, with what the news add to each one's totals.

    ``news``: (identity_set, identifiers, calls, first, last), the last three null for a set that
    is looked at for another reason than new calls. Out: (type, value, identifier_key, calls,
    first, last), the moments null where nothing is added.
    """
    return sums.added_up(carried(news), KEY, clock)


def with_ends(seeds: DataFrame, ends: Sequence[Identifier], spark: SparkSession) -> DataFrame:
    """The seeds, and the ends of overrides among them, which add nothing to anybody's totals."""
    rows = [(kind, value, identifier_key(kind, value)) for kind, value in ends]
    keyed = spark.createDataFrame(rows, "type string, value string, identifier_key bigint")
    others = {"calls": F.lit(0).cast("bigint")} | {
        name: F.lit(None).cast(seeds.schema[name].dataType) for name in ("first", "last", "guard")
    }
    return seeds.unionByName(keyed.select("*", *[c.alias(n) for n, c in others.items()]))


def profiles(known: DataFrame, identities: DataFrame) -> DataFrame:
    """The profiles whose rows change: those of touched components until now, and from now on."""
    both = known.select("profile_id").unionByName(identities.select("profile_id"))
    return both.where("profile_id is not null").distinct()


def identifier_keys(known: DataFrame, identities: DataFrame) -> DataFrame:
    """The keys of the rows of `identities` that change or go: (identifier_key, type, value)."""
    key = identifier_key_column(F.col("type"), F.col("value")).alias("identifier_key")
    new = identities.select("identifier_key", *_KEY)
    return known.select(key, *_KEY).unionByName(new).distinct()


def carried_by(identity_sets: DataFrame) -> DataFrame:
    """The identifiers that sets carry, once: (type, value)."""
    return members(identity_sets).select(*_KEY).distinct()


def sets_with(identity_sets: DataFrame, identifiers: DataFrame) -> DataFrame:
    """The sets that carry one of the identifiers, once: (identity_set)."""
    wanted = identifiers.select(*_KEY)
    return members(identity_sets).join(wanted, _KEY, "left_semi").select("identity_set").distinct()


def components(identities: DataFrame, seeds: DataFrame, also: Column | None = None) -> DataFrame:
    """The raw components that the seeds touch: (component).

    By key, so that an identifier touches those it shares its key with; where ``also`` is given,
    of identities for which it holds, too.
    """
    hit = seeds.select("identifier_key", F.lit(True).alias("hit")).distinct()  # noqa: FBT003
    touched = F.col("hit") | (F.col("graph_key") != F.col("identifier_key"))
    if also is not None:
        touched |= also
    return (
        identities.where("component is not null")
        .join(hit, "identifier_key", "left")
        .where(touched)
        .select("component")
        .distinct()
    )


def known(identities: DataFrame, components: DataFrame, seeds: DataFrame) -> DataFrame:
    """The rows of ``identities`` in touched components, and the seeds' own: (type, value,
    component, profile_id, calls, first, last)."""
    touched = components.select("component", F.lit(True).alias("touched"))  # noqa: FBT003
    hit = seeds.select(*_KEY, F.lit(True).alias("hit")).distinct()  # noqa: FBT003
    return (
        identities.join(touched, "component", "left")
        .join(hit, _KEY, "left")
        .where("touched or hit")
        .select(*_KEY, "component", "profile_id", "calls", "first", "last")
    )


def linking(known: DataFrame, seeds: DataFrame, guarded: DataFrame) -> DataFrame:
    """The identifiers whose sets are in scope: those of touched components, and seeds that link
    now: (type, value). ``guarded``: (type, value) of those seeds that link nothing."""
    old = known.where("component is not null").select(*_KEY)
    return old.unionByName(seeds.select(*_KEY).join(guarded, _KEY, "left_anti")).distinct()


def totals(known: DataFrame, seeds: DataFrame, clock: str) -> DataFrame:
    """The totals of identifiers in touched components and of seeds: (type, value, calls, first,
    last): those of before and what the news add. An end of an override that no call ever carried
    has none."""
    before = known.select(*_KEY, "calls", "first", "last")
    both = before.unionByName(seeds.select(*_KEY, "calls", "first", "last"))
    return sums.added_up(both, _KEY, clock).as_frame().where("calls > 0")


def identifiers(scope: DataFrame, totals: DataFrame) -> DataFrame:
    """Every identifier of the sets in scope and every one with totals.

    Out: (type, value, identifier_key, calls, first, last); without totals where it links nothing
    and is not in the news: its row stays.
    """
    return (
        carried_by(scope)
        .join(totals, _KEY, "full")
        .select(
            *_KEY,
            identifier_key_column(F.col("type"), F.col("value")).alias("identifier_key"),
            "calls",
            "first",
            "last",
        )
    )


def recounted(seeds: DataFrame, known: DataFrame, told: DataFrame, clock: str) -> DataFrame:
    """The totals of identifiers in touched components and of seeds, from all sets that carry them.

    For a night that takes calls back, when no sum of parts is right. ``told``: (identity_set,
    identifiers, calls, first, last) of the whole lake. Out: (type, value, calls, first, last);
    an identifier that no set carries any more has no row.
    """
    wanted = known.select(*_KEY).unionByName(seeds.select(*_KEY)).distinct()
    own = carried(told).as_frame().join(wanted, _KEY, "left_semi")
    return sums.added_up(own, _KEY, clock).as_frame()
