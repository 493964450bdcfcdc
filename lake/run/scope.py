"""What a pass resolves: the facts of a whole lake, or of what a night touched."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lake.frames import Rows, Storable, WorkerRows, rows_of, unchanged
from lake.identity import conflicts, shared, stitching, touched
from lake.identity.guards import BLOCKED, SHARED, guarded
from lake.io.delta import Lake
from lake.run.night import RETOLD_SETS, Night, sets_since
from lake.run.resolution import Facts, Resolver
from lake.run.rules import blocked
from lake.tables import IDENTITIES, IDENTITY_SETS, MOMENT_TYPE, SHARED_VALUES, SIGHTINGS


class Told(NamedTuple):
    """What events say of identity: `identity_sets` and `sightings`."""

    identity_sets: DataFrame
    sightings: Rows

    @classmethod
    def of(cls, lake: Lake) -> Told:
        """All that a lake knows."""
        return cls(lake.read(IDENTITY_SETS), lake.stored(SIGHTINGS))

    @property
    def seen(self) -> DataFrame:
        """The sightings as a frame."""
        return rows_of(self.sightings)


class Scope(NamedTuple):
    """What is resolved, and the values that are shared by too many (None: there are none).

    Of an incremental pass, ``known``: the rows of `identities` until now in touched components and
    of seeds; ``touched_sets``: (identity_set) of all sets in scope, and of those that are gone.
    """

    facts: Facts
    too_many: shared.Found | None
    known: DataFrame | None = None
    touched_sets: DataFrame | None = None


def everything(told: Told, resolver: Resolver, degrees_of: DataFrame | None = None) -> Scope:
    """All facts, for the full pass.

    ``degrees_of``: the identity sets over which degrees of shared values are counted, where these
    are more than are resolved; default those of ``told``.
    """
    clock, store = resolver.clock, resolver.store
    totals = stitching.set_totals(told.identity_sets, told.seen, clock)
    known_sets = store(sets_since(0), totals)
    carried = stitching.identifiers(known_sets, clock)
    identifiers = store("identifiers", guarded(carried, blocked(resolver.config)))
    if degrees_of is None:
        too_many = resolver.too_many(known_sets.frame, identifiers.frame)
    else:
        every = touched.carried_by(degrees_of)
        stopped = guarded(every, blocked(resolver.config)).as_frame()
        too_many = resolver.too_many(degrees_of, stopped)
    guards: Rows = identifiers
    if too_many:
        guards = shared.guarded(identifiers.frame, too_many.values)
    return Scope(Facts(known_sets, guards, told.sightings), too_many)


def touched_by(night: Night, resolver: Resolver) -> Scope:
    """Everything that can have changed since the state that the plan starts from.

    Cost: a scan each of `identity_sets` (twice), `sightings` and `identities`, by columns that
    are joined on small frames; all else is as large as the touched components.
    """
    lake, clock, stops = night.lake, resolver.clock, blocked(night.config)
    told, versions = Told.of(lake), night.plan.versions
    before = lake.read(IDENTITIES, versions[IDENTITIES.name])
    since = night.plan.resolved
    news = lake.scratch(sets_since(since), new_sets(told, since, clock), long_rows=False).frame
    retold = lake.kept(RETOLD_SETS, "identity_set binary")
    if retold:
        until_now = Told(lake.read(IDENTITY_SETS, versions[IDENTITY_SETS.name]), told.sightings)
        others = retold.frame.join(news, "identity_set", "left_anti")
        news = lake.scratch("news", news.unionByName(without_news(until_now, others))).frame
    seeds = lake.scratch("seeds", guarded(touched.seeds(news, clock), stops)).frame

    too_many, flips = guard_flips(night, resolver, before, seeds)
    if flips is not None:
        others = touched.sets_with(told.identity_sets, flips).join(
            news, "identity_set", "left_anti"
        )
        news = lake.scratch("more_news", news.unionByName(without_news(told, others))).frame
        seeds = lake.scratch("more_seeds", guarded(touched.seeds(news, clock), stops)).frame
    if ends := resolver.override_ends:
        seeds = touched.with_ends(seeds, ends, lake.spark)

    components = lake.scratch("touched", touched_components(night, resolver, before, seeds)).frame
    known = lake.scratch("known", touched.known(before, components, seeds)).frame

    guards = seeds.where("guard is not null").select("type", "value")
    if too_many:
        guards = guards.unionByName(too_many.values.select("type", "value")).distinct()
    carrying = touched.sets_with(told.identity_sets, touched.linking(known, seeds, guards))
    own = carrying.unionByName(news.select("identity_set")).distinct()
    own = lake.scratch("touched_sets", own).frame
    seen = told.seen.join(own, "identity_set", "left_semi")
    stored = lake.scratch("sightings", seen)
    own_sets = told.identity_sets.join(own, "identity_set", "left_semi")
    in_scope = lake.scratch("sets", stitching.set_totals(own_sets, stored.frame, clock))
    counted = touched.totals(known, seeds, clock)
    if retold:
        every = stitching.set_totals(told.identity_sets, told.seen, clock).as_frame()
        counted = touched.recounted(seeds, known, every, clock)
    blocks = guarded(touched.identifiers(in_scope.frame, counted), stops)
    both: Storable = shared.guarded(blocks.as_frame(), too_many.values) if too_many else blocks
    facts = Facts(in_scope, lake.scratch("identifiers", both), stored)
    return Scope(facts, too_many, known, own)


def new_sets(told: Told, resolved_batch: int, clock: str) -> WorkerRows:
    """The sets seen in batches after this one, with what these add: calls, first and last."""
    new = told.seen.where(F.col("batch") > resolved_batch)
    own = told.identity_sets.join(new, "identity_set", "left_semi")
    return stitching.set_totals(own, new, clock)


def without_news(told: Told, own: DataFrame) -> DataFrame:
    """Sets of which there is nothing new, as rows of the news."""
    nothing = [("calls", "bigint"), ("first", MOMENT_TYPE), ("last", MOMENT_TYPE)]
    return told.identity_sets.join(own, "identity_set", "left_semi").select(
        "identity_set",
        stitching.keyed().alias("identifiers"),
        *[F.lit(None).cast(kind).alias(n) for n, kind in nothing],
    )


def touched_components(
    night: Night, resolver: Resolver, before: DataFrame, seeds: DataFrame
) -> DataFrame:
    """The raw components that the seeds, or changed rules, touch: (component)."""
    bound = None
    if night.plan.changed & {"limits", "overrides"}:
        bound = F.col("contested")
    found = touched.components(before, seeds, bound)
    if "limits" in night.plan.changed:
        every = unchanged(before.select("component", "type", "value"))
        binding = conflicts.in_conflict(every, resolver.rules).as_frame()
        found = found.unionByName(binding).distinct()
    return found


def guard_flips(
    night: Night, resolver: Resolver, before: DataFrame, seeds: DataFrame
) -> tuple[shared.Found | None, DataFrame | None]:
    """The values that are shared by too many now, and those whose guard is not what it was:
    (type, value); None where there are none.

    Where values are shared, degrees are counted over all sets: one more row of evidence far away
    can move a limit that was found in the data.
    """
    lake, flips = night.lake, list[DataFrame]()
    was = before.select("type", "value", F.col("guard").alias("was"))
    if "blocked" in night.plan.changed:
        now = guarded(was, blocked(night.config)).as_frame()
        was_blocked = F.coalesce(F.col("was") == BLOCKED, F.lit(False))  # noqa: FBT003
        flips.append(now.where(F.col("guard").isNotNull() != was_blocked))
    blocks = was.where(F.col("was") == BLOCKED).select("type", "value", F.col("was").alias("guard"))
    stops = blocks.unionByName(seeds.where("guard is not null").select("type", "value", "guard"))
    too_many = resolver.too_many(lake.read(IDENTITY_SETS), stops.distinct())
    if too_many or night.tables.rows(SHARED_VALUES):
        earlier = was.where(F.col("was") == SHARED).select("type", "value")
        now = too_many.values.select("type", "value").distinct() if too_many else earlier.limit(0)
        flips += [earlier.exceptAll(now), now.exceptAll(earlier)]
    if not flips:
        return too_many, None
    every = reduce(DataFrame.unionByName, [f.select("type", "value") for f in flips])
    found = lake.scratch("flips", every.distinct())
    return too_many, found.frame if found.rows else None
