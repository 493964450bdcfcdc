"""events → identity_sets, sightings, trait_observations → identities, set_profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lake.errors import ConservationError
from lake.identity import conflicts, sets, shared, stitching
from lake.identity.components import Materialise, Materialised, connected_components
from lake.identity.guards import guarded
from lake.identity.reextraction import re_extracted
from lake.identity.resolve import Rules, Strategy
from lake.io.delta import Lake, Scratch
from lake.profiles.traits import told_traits
from lake.run.night import Night
from lake.run.rules import blocked, resolution_rules, sharing
from lake.tables import (
    DUPLICATE_CALLS,
    EVENTS,
    IDENTITIES,
    IDENTITY_SETS,
    SET_PROFILES,
    SHARED_VALUES,
    SIGHTINGS,
    TRAIT_OBSERVATIONS,
    VIOLATIONS,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lake.schema import Table

READS = (EVENTS, DUPLICATE_CALLS)
WRITES = (
    IDENTITY_SETS,
    SIGHTINGS,
    TRAIT_OBSERVATIONS,
    IDENTITIES,
    VIOLATIONS,
    SHARED_VALUES,
    SET_PROFILES,
)

SMALL_SETS = 1_000_000


def run(night: Night) -> None:
    """Add what the new events say to the facts, then resolve who is who."""
    if night.tables.holds(SET_PROFILES, night.transaction("stitch")):
        return
    add_facts(night)
    resolve(night)


def add_facts(night: Night) -> None:
    """Append what each new batch says of sets, traits and sightings, or make it all anew.

    Anew where the rules of extraction or the order of calls changed, and where a call that was
    counted turned out to be a duplicate: then no sum of parts is right. Sightings come last, for
    they tell the next run where to go on.
    """
    lake, clock = night.lake, night.config.identity.order_by
    anew = is_stale(night)
    if anew:
        re_extract(night)
    events = lake.read(EVENTS)

    def untold(table: Table) -> DataFrame:
        """A run that died may have left one table ahead of another, so each is asked."""
        return events if anew else events.where(F.col("batch") > told(night, table))

    found = sets.identity_sets(untold(IDENTITY_SETS))
    if not anew:
        found = found.join(lake.read(IDENTITY_SETS), "identity_set", "left_anti")
    write = lake.replace if anew else lake.append
    once = night.transaction("stitch")
    write(IDENTITY_SETS, found, once)
    traits = trait_observations(untold(TRAIT_OBSERVATIONS), clock)
    write(TRAIT_OBSERVATIONS, traits, once)
    write(SIGHTINGS, sets.sightings(untold(SIGHTINGS), clock), once)


def told(night: Night, table: Table) -> int:
    """The newest batch that a table of facts tells of; 0 if none."""
    return night.tables.last_transaction(table, "stitch") or 0


def is_stale(night: Night) -> bool:
    """Whether the facts as they are cannot be added to.

    A run that died under other rules may have left its events, or some of its facts.
    """
    facts = [night.tables.notes(t) for t in (IDENTITY_SETS, TRAIT_OBSERVATIONS, SIGHTINGS)]
    if any(made.get("facts", night.facts) != night.facts for made in facts):
        return True
    if holds_other_extractions(night):
        return True
    displaced = night.lake.read(DUPLICATE_CALLS).where("displaced")
    return not displaced.where(F.col("batch") > told(night, SIGHTINGS)).isEmpty()


def holds_other_extractions(night: Night) -> bool:
    """Whether an event's identifiers were taken by other rules; statistics skip the rest."""
    return night.tables.any(EVENTS, f"extraction <> '{night.extraction.fingerprint}'")


def re_extract(night: Night) -> None:
    """Take identifiers from stored events again, where they were taken by other rules."""
    if holds_other_extractions(night):
        events = re_extracted(night.lake.read(EVENTS), night.extraction)
        night.lake.replace(EVENTS, events, night.transaction("extract"))


def resolve(night: Night) -> None:
    """Group all identity sets into profiles: `identities`, `violations` and `set_profiles`."""
    lake, clock = night.lake, night.config.identity.order_by
    rules = resolution_rules(night.config)
    naming = stitching.Naming(night.config.space, rules.priority, clock)
    daily = sets.summed(lake.read(SIGHTINGS), ["identity_set", "day"], clock)
    totals = sets.summed(lake.read(SIGHTINGS), ["identity_set"], clock)
    known_sets = lake.scratch("sets", stitching.set_totals(lake.read(IDENTITY_SETS), totals)).frame
    identifiers = lake.scratch(
        "identifiers", guarded(stitching.identifiers(known_sets, clock), blocked(night.config))
    ).frame
    too_many = shared_values(night, known_sets, identifiers)
    if too_many:
        identifiers = shared.guarded(identifiers, too_many.values)
    exceptions = exceptional(night, identifiers)
    links = lake.scratch("links", stitching.links(known_sets, exceptions))

    components = raw_components(night, links, rules)
    linked = stitching.linked_identifiers(identifiers, exceptions, components)
    of_sets = stitching.set_components(links.frame, components)
    write_evidence(night, too_many, known_sets, of_sets)
    outcome = None
    binding = lake.scratch("in_conflict", conflicts.in_conflict(linked, rules))
    if binding.rows:
        bad = of_sets.join(F.broadcast(binding.frame), "component", "left_semi")
        of_sets = of_sets.join(F.broadcast(binding.frame), "component", "left_anti")
        sightings = conflicts.ordered_sightings(daily, bad, clock)
        judge = conflicts.Judge(rules, naming.space)
        outcome = lake.scratch("resolved", conflicts.resolved(sightings, judge)).frame

    named = stitching.founded(of_sets, naming)
    if rules.strategy is Strategy.LATEST_WINS:
        named = stitching.founded_by_person(linked, named, rules, naming)
    founded = lake.scratch("founded", named).frame
    once = night.transaction("stitch")
    lake.replace(IDENTITIES, stitching.identities(linked, founded, outcome), once)
    found = violations(lake, known_sets, exceptions, daily, outcome)
    lake.replace(VIOLATIONS, found, once)
    lake.replace(SET_PROFILES, stitching.set_profiles(of_sets, founded, outcome), once)


def shared_values(
    night: Night, known_sets: DataFrame, identifiers: DataFrame
) -> shared.Found | None:
    """The values that the guard `shared` keeps from linking; None if there are none."""
    rule, lake = sharing(night.config), night.lake
    if rule is None:
        return None
    degrees = shared.degrees(known_sets, identifiers, rule)
    limits = rule.limits
    if limits is None:
        degrees = lake.scratch("degrees", degrees).frame
        counts = shared.histograms(degrees).collect()
        limits = shared.natural_limits((r[0], r[1], r[2], r[3]) for r in counts)
    if not limits:
        return None
    found = lake.scratch("shared", shared.exceeding(degrees, limits))
    return shared.Found(found.frame, limits, rule.mode) if found.rows else None


def write_evidence(
    night: Night, too_many: shared.Found | None, known_sets: DataFrame, of_sets: DataFrame
) -> None:
    """Say in `shared_values` what is guarded and why; nothing where nothing is or was."""
    lake, once = night.lake, night.transaction("stitch")
    if too_many:
        lake.replace(SHARED_VALUES, shared.evidence(too_many, known_sets, of_sets), once)
    elif night.tables.rows(SHARED_VALUES):
        lake.replace(SHARED_VALUES, lake.empty(SHARED_VALUES), once)


def raw_components(night: Night, links: Scratch, rules: Rules) -> DataFrame:
    """Connected components over what the guards left and the overrides join."""
    edges = stitching.edges(links.frame)
    if rules.always_together:
        edges = edges.unionByName(stitching.override_edges(night.lake.spark, rules.always_together))
    # A graph that one task solves anyway need not be stored first.
    small = links.rows * 3 if links.rows < SMALL_SETS else None
    found = connected_components(edges, materialised(night), edge_rows=small)
    return night.lake.scratch("components", found).frame


def violations(
    lake: Lake,
    known_sets: DataFrame,
    exceptions: DataFrame | None,
    daily: DataFrame,
    outcome: DataFrame | None,
) -> DataFrame:
    """What did not link and why: the guards' part and the rules' part."""
    found = lake.empty(VIOLATIONS)
    if outcome is not None:
        bound = outcome.where("kind = 'violation'").select(*VIOLATIONS.names)
        found = found.unionByName(bound)
    if exceptions is not None:
        found = found.unionByName(stitching.guard_violations(known_sets, exceptions, daily))
    return found


def exceptional(night: Night, identifiers: DataFrame) -> DataFrame | None:
    """Identifiers that do not link under their own key; None if there are none.

    Raises ConservationError if two identifiers share both of their keys.
    """
    sizes = identifiers.agg(
        F.count("guard").alias("guarded"),
        (F.count(F.lit(1)) - F.count_distinct("identifier_key")).alias("colliding"),
    ).first()
    assert sizes is not None
    if not sizes["guarded"] and not sizes["colliding"]:
        return None
    found = night.lake.scratch(
        "exceptions", stitching.exceptions(identifiers, stitching.collisions(identifiers))
    ).frame
    if sizes["colliding"]:
        keys = identifiers.join(F.broadcast(found), ["type", "value"], "left").select(
            F.coalesce("graph_key", "identifier_key").alias("identifier_key")
        )
        if not stitching.collisions(keys).isEmpty():
            raise ConservationError(
                "Two identifiers share both of their keys, which cannot happen by chance. Nothing "
                "was published; look for crafted identifiers in the newest batch."
            )
    return found


def materialised(night: Night) -> Materialise:
    """Scratch tables for the levels of contraction."""

    def store(name: str, frame: DataFrame) -> Materialised:
        stored = night.lake.scratch(f"components_{name}", frame)
        return Materialised(stored.frame, stored.rows)

    return store


def trait_observations(events: DataFrame, clock: str) -> DataFrame:
    """Each trait's value by identity set, source and batch: calls, the first and the last."""
    order = sets.order_of("", clock)
    return (
        told_traits(events)
        .groupBy("identity_set", "trait", "value", "source", "batch")
        .agg(
            F.count(F.lit(1)).alias("calls"),
            F.min_by(sets.moment(), order).alias("first"),
            F.max_by(sets.moment(), order).alias("last"),
        )
    )


if __name__ == "__main__":
    from jobs import main

    main("stitch")
