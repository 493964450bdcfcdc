"""Who is who, from facts: for a whole lake, or for the raw components that a night touched.

    facts ─► identifiers ─► guards ─► links ─► raw components ─┬─ clean ───────► one profile each
                                                               └─ in conflict ─► the rules decide

The same function serves the full pass, the incremental one and `verify`: what is not in the facts
it is given is in other raw components, and those never matter. It writes to scratch alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial, reduce
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lake import sums
from lake.config import Config
from lake.errors import ConservationError
from lake.frames import Materialised, Rows, Storable, WorkerRows, as_one, rows_of
from lake.identity import conflicts, shared, stitching
from lake.identity.components import (
    broken_links,
    connected_components,
    faults,
    over_merged,
    repeated_nodes,
)
from lake.identity.contraction import BROKEN, OVER_MERGED, REPEATED
from lake.identity.resolve import Identifier, Rules
from lake.io.delta import MOST_SETS
from lake.parallel import beside, together
from lake.run.rules import resolution_rules, sharing
from lake.tables import VIOLATIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import SparkSession

    from lake.io.delta import Lake


class Store(Protocol):
    """Stores rows under a name of their own and gives them back as read from there."""

    def __call__(self, name: str, rows: Storable) -> Materialised:
        """The stored rows."""


SMALL_SETS = 1_000_000


class Facts(NamedTuple):
    """What is resolved, closed under raw components.

    ``sets``: (identity_set, identifiers with keys, calls, first, last). ``identifiers``: all that
    the sets carry, a row each: (type, value, identifier_key, calls, first, last, guard); without
    totals where the row in `identities` is to stay as it is. Both are read several times: stored.
    ``sightings``: those of the sets, (identity_set, day, calls, first, last).
    """

    sets: Materialised
    identifiers: Rows
    sightings: Rows


class Resolved(NamedTuple):
    """The rows of four tables for the facts that were given."""

    identities: Storable
    violations: Storable
    set_profiles: Storable
    created_profiles: Storable


@dataclass(frozen=True)
class Resolver:
    """The rules of a configuration, and where to store what is used twice."""

    config: Config
    spark: SparkSession
    store: Store
    #: In how many ranges of a key rows of so many identity sets are made.
    ranges: Callable[[int], int]

    @classmethod
    def of(cls, config: Config, lake: Lake) -> Resolver:
        """What resolves identities of a lake. All that it stores has short rows."""
        return cls(config, lake.spark, partial(lake.scratch, long_rows=False), lake.ranges)

    @property
    def clock(self) -> str:
        """The time that orders calls."""
        return self.config.identity.order_by

    @cached_property
    def rules(self) -> Rules:
        """The rules of resolution."""
        return resolution_rules(self.config)

    @property
    def override_ends(self) -> list[Identifier]:
        """Every identifier that an override names."""
        pairs = (*self.rules.always_together, *self.rules.never_together)
        return sorted({end for pair in pairs for end in pair})

    def resolved(self, facts: Facts) -> Resolved:
        """Every set's profile, every identifier's, and what was kept apart.

        Raises ConservationError if two identifiers share both of their keys.
        """
        sets, identifiers = facts.sets, facts.identifiers
        exceptions = self._exceptional(identifiers)
        links = sets
        if exceptions is not None:
            links = self.store("links", stitching.links(sets.frame, exceptions.frame))
        edges = stitching.edges(links, self.rules.always_together)
        is_small = links.rows < SMALL_SETS
        solved = self._raw_components(edges, is_small=is_small)
        linking = partial(stitching.linked_identifiers, identifiers, exceptions, solved)
        with beside(partial(self._check, edges, solved, is_small=is_small)):
            pairs = self.rules.always_together
            bound = conflicts.in_conflict(linking(), self.rules, pairs)
            binding = self.store("in_conflict", bound)
            outcome = self._outcome(stitching.set_components(links, solved), binding, facts)
        if binding.rows:
            self._check_limits(outcome)
        return Resolved(
            stitching.identities(linking(sums.SUMS), outcome, binding, self.ranges(sets.rows)),
            self._violations(facts, exceptions, outcome),
            stitching.set_profiles(outcome),
            stitching.created_profiles(outcome),
        )

    def _outcome(self, of_sets: WorkerRows, binding: Materialised, facts: Facts) -> Materialised:
        """What becomes of components with these sets: those where a rule is ``binding``, and all
        others. The former begin first, for one of them may be larger than all the rest."""
        judge = conflicts.Judge(self.rules, self.config.space, self.clock)
        tasks = self.ranges(facts.sets.rows)

        def resolve(name: str, sightings: WorkerRows, tasks: int) -> Materialised:
            return self.store(name, conflicts.resolved(sightings, judge, tasks))

        clean = stitching.of_components(of_sets, binding, others=True)
        others = partial(resolve, "resolved", clean, tasks)
        if not binding.rows:
            return others()
        own = self.store("contested_sets", stitching.of_components(of_sets, binding))
        sighted = conflicts.every_sighting(facts.sightings, own)
        every = self.store("contested_sightings", sighted)
        here = 1 if every.rows <= MOST_SETS else tasks
        bound = partial(resolve, "resolved_in_conflict", every.columns(), here)
        return as_one(together(bound, others))

    def too_many(self, sets: DataFrame, blocked: DataFrame) -> shared.Found | None:
        """The values that the guard `shared` keeps from linking; None if there are none.

        ``sets``: all of the lake (identity_set, identifiers); ``blocked``: (type, value, guard) of
        the blocked values among their identifiers.
        """
        rule = sharing(self.config)
        if rule is None:
            return None
        degrees = shared.degrees(sets, blocked, rule)
        limits = rule.limits
        if limits is None:
            degrees = self.store("degrees", degrees).frame
            counts = shared.histograms(degrees).collect()
            limits = shared.natural_limits((r[0], r[1], r[2], r[3]) for r in counts)
        if not limits:
            return None
        found = self.store("shared", shared.exceeding(degrees, limits))
        return shared.Found(found.frame, limits, rule.mode) if found.rows else None

    def _raw_components(self, edges: Materialised, *, is_small: bool) -> Materialised:
        """Connected components over what the guards left and the overrides join."""

        def level(name: str, rows: Storable) -> Materialised:
            return self.store(f"components_{name}", rows)

        # A graph that one task solves anyway need not be stored first.
        return connected_components(edges if is_small else edges.frame, level)

    def _check(self, edges: Materialised, components: Materialised, *, is_small: bool) -> None:
        """Raises ConservationError unless every node is in one component, both ends of every link
        in the same, and none holds what its own links do not hold together."""
        if is_small:
            found = faults(edges, components)
        else:
            broken = {
                REPEATED: repeated_nodes(components.frame),
                BROKEN: broken_links(edges.frame, components.frame),
                OVER_MERGED: over_merged(edges.frame, components.frame),
            }
            kinds = [rows.select(F.lit(kind).alias("kind")) for kind, rows in broken.items()]
            found = reduce(DataFrame.unionByName, kinds).groupBy("kind").count()
        counts = [(row["kind"], row["count"]) for row in found.collect() if row["count"]]
        if counts:
            told = "; ".join(f"{count} {kind}" for kind, count in counts)
            raise ConservationError(
                f"The raw components are wrong: {told}. Nothing was published; this is a fault of "
                "the product, please report it with _scratch."
            )

    def _check_limits(self, outcome: Materialised) -> None:
        """Raises ConservationError if a resolved profile is over a limit."""
        told = conflicts.over_limit(outcome, self.rules).as_frame().collect()
        if over := sum(row["times"] for row in told):
            raise ConservationError(
                f"Profiles broke limits that hold for ever, {over} in all. Nothing was published; "
                "this is a fault of the product, please report it with _scratch."
            )

    def _exceptional(self, facts: Rows) -> Materialised | None:
        """Identifiers that do not link under their own key; None if there are none."""
        sizes = stitching.exceptional(facts).as_frame().collect()
        guarded, colliding = (sum(row[name] for row in sizes) for name in ("guarded", "colliding"))
        if not guarded and not colliding:
            return None
        identifiers = rows_of(facts)
        found = self.store(
            "exceptions", stitching.exceptions(identifiers, stitching.collisions(identifiers))
        )
        if colliding:
            keys = (
                identifiers.where("guard is null")
                .drop("guard")
                .join(F.broadcast(found.frame), [*stitching.KEY], "left")
                .select(
                    F.coalesce("graph_key", "identifier_key").alias("identifier_key"),
                    F.lit(None).alias("guard"),
                )
            )
            if not stitching.collisions(keys).isEmpty():
                raise ConservationError(
                    "Two identifiers share both of their keys, which cannot happen by chance. "
                    "Nothing was published; look for crafted identifiers in the newest batch."
                )
        return found

    def _violations(
        self, facts: Facts, exceptions: Materialised | None, outcome: Materialised
    ) -> Storable:
        """What did not link and why: the guards' part and the rules' part."""
        found = outcome.of_kind(conflicts.VIOLATION, VIOLATIONS.ddl)
        if exceptions is None:
            return found
        guarded = stitching.guard_violations(
            facts.sets.frame, exceptions.frame, rows_of(facts.sightings)
        )
        return found.as_frame().unionByName(guarded)
