"""identities, set_profiles, facts → the published tables, judged, then exposed by one commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pyspark.sql import functions as F

from jobs import profiles_sync
from lake.errors import ConservationError
from lake.identity import changes, sets
from lake.io import publications
from lake.io.delta import Lake
from lake.profiles.snapshot import profile_identifiers, profiles, with_typed_traits
from lake.profiles.survivorship import judged_values, trait_candidates, winning_traits
from lake.quality.expectations import load_suites
from lake.quality.gate import Verdict, blocking, result_rows, verdicts
from lake.run.facts import FACTS
from lake.run.night import BLOCKED, TOUCHED_IDENTITIES, TOUCHED_PROFILES, Night
from lake.run.rules import profile_columns, trait_rules
from lake.tables import (
    EVENTS,
    EXPECTATION_RESULTS,
    IDENTITIES,
    IDENTITY_CHANGES,
    IDENTITY_SETS,
    PROFILE_IDENTIFIERS,
    PROFILE_REDIRECTS,
    PROFILE_TRAIT_CANDIDATES,
    PROFILE_TRAITS,
    PROFILES,
    PUBLICATIONS,
    PUBLISHED,
    SET_PROFILES,
    SIGHTINGS,
    TRAIT_OBSERVATIONS,
)

if TYPE_CHECKING:
    from datetime import datetime

    from pyspark.sql import DataFrame

    from lake.config import Config
    from lake.run.resolution import Store
    from lake.schema import Column, Table

READS = (IDENTITIES, IDENTITY_SETS, SET_PROFILES, SIGHTINGS, TRAIT_OBSERVATIONS)
WRITES = (
    PROFILES,
    PROFILE_IDENTIFIERS,
    PROFILE_TRAITS,
    PROFILE_TRAIT_CANDIDATES,
    IDENTITY_CHANGES,
    PROFILE_REDIRECTS,
    EXPECTATION_RESULTS,
    PUBLICATIONS,
)


def run(night: Night) -> None:
    """Write the candidates, judge them, and expose them unless a blocking expectation failed."""
    told = change(night)
    terms = Terms(night.config, night.plan.as_of, night.lake.scratch)
    published_rows(told.basis, terms, told.put)
    write_changes(night, told)
    published = PUBLISHED
    if night.config.profiles_sync.enabled:
        profiles_sync.write(night)
        published += profiles_sync.WRITES
    check_conservation(night, told)
    with night.progress.stage("quality"):
        found = judged(night, told)
    night.outcome["quality"] = result_rows(night.plan.name, found)
    if blocking(found):
        night.outcome["status"] = BLOCKED
        return
    plan = night.plan
    publications.publish(night.lake, published, plan.publication, plan.as_of, plan.inputs)
    publications.point(night.tables, night.place.control)
    night.lake.after_commit("current.json", "wrote")


class Basis(NamedTuple):
    """What rows of profiles are made from: facts by table, `set_profiles` and `identities`.

    Restricted to some profiles, these give the rows of those, and the same ones.
    """

    facts: Mapping[str, DataFrame]
    set_profiles: DataFrame
    identities: DataFrame


class Terms(NamedTuple):
    """What rows of profiles depend on besides the facts: the rules, the time of the publication;
    and where to store what is used twice."""

    config: Config
    as_of: datetime
    store: Store


class Put(Protocol):
    """Takes a table of profiles and its rows, and gives them back as stored."""

    def __call__(self, table: Table, rows: DataFrame, more: tuple[Column, ...] = ()) -> DataFrame:
        """``more``: columns that the configuration adds to the table's."""


def published_rows(basis: Basis, terms: Terms, put: Put) -> None:
    """Hand every table of profiles and its rows to ``put``.

    Everything published is a regroup of facts per identity set.
    """
    clock, by_set, rules = (
        terms.config.identity.order_by,
        basis.set_profiles,
        trait_rules(terms.config),
    )
    sightings = basis.facts[SIGHTINGS.name].join(by_set, "identity_set", "left_semi")
    totals = sets.summed(sightings, ["identity_set"], clock)
    order = (sets.order_of("first.", clock), sets.order_of("last.", clock))

    identifiers = put(PROFILE_IDENTIFIERS, profile_identifiers(basis.identities, clock))
    told = basis.facts[TRAIT_OBSERVATIONS.name]
    values = judged_values(told, by_set, rules, clock, terms.as_of)
    judged = terms.store("trait_values", values).frame
    won = put(PROFILE_TRAITS, winning_traits(judged, clock, rules))
    put(PROFILE_TRAIT_CANDIDATES, trait_candidates(judged, clock))
    plain = profiles(totals, by_set, identifiers, won, order, clock)
    put(PROFILES, with_typed_traits(plain, rules), profile_columns(terms.config))


@dataclass(frozen=True)
class Change:
    """What a publication writes: all, or anew the rows of the profiles (profile_id) it is about."""

    night: Night
    basis: Basis
    profiles: DataFrame | None

    def put(self, table: Table, rows: DataFrame, more: tuple[Column, ...] = ()) -> DataFrame:
        """Write the rows in the place of the profiles' own, or of all (``more``: see
        `Lake.replace`); as they are stored."""
        lake, once = self.night.lake, self.night.transaction("publish")
        if self.profiles is None:
            lake.replace(table, rows, once, more)
        else:
            lake.update(table, self.profiles, rows, once, more)
        return self.of(lake.read(table))

    def of(self, rows: DataFrame) -> DataFrame:
        """Those of a table's rows that this is about."""
        if self.profiles is None:
            return rows
        return rows.join(F.broadcast(self.profiles), "profile_id", "left_semi")


def change(night: Night) -> Change:
    """What is to be written: all, unless `stitch` left word of what it touched, the newest
    versions are those that readers see, and no other profile can have changed."""
    lake, config = night.lake, night.config
    facts = {name: lake.read(table) for name, (table, _) in FACTS.items()}
    set_profiles = lake.read(SET_PROFILES)
    touched = lake.kept(TOUCHED_PROFILES, "profile_id string")
    identities = lake.kept(TOUCHED_IDENTITIES, IDENTITIES.ddl)
    all_may_change = config.is_dated or not night.plan.published
    if touched is None or identities is None or all_may_change:
        return Change(night, Basis(facts, set_profiles, lake.read(IDENTITIES)), None)
    own = set_profiles.join(F.broadcast(touched.frame), "profile_id", "left_semi")
    return Change(night, Basis(facts, own, identities.frame), touched.frame)


def write_changes(night: Night, change: Change) -> None:
    """What became of every profile since the last publication, and where old ids lead."""
    lake, number = night.lake, night.plan.publication
    once = night.transaction("publish")
    earlier = publications.versions(night.tables, number - 1)
    before = change.of(_before(lake, PROFILE_IDENTIFIERS, earlier))
    now = change.of(lake.read(PROFILE_IDENTIFIERS))
    new_sets = lake.read(IDENTITY_SETS).where(F.col("batch") == (night.plan.batch or 0))
    moves = lake.scratch("moves", changes.moves(before, now)).frame
    causes = changes.causes(new_sets, change.basis.set_profiles)
    found = changes.identity_changes(moves, causes)
    numbered = found.withColumns(
        {
            "cause": F.when(F.col("cause_set").isNull(), "rules").otherwise("calls"),
            "publication": F.lit(number).cast("bigint"),
        }
    )
    if night.tables.any(IDENTITY_CHANGES, f"publication = {number}"):
        # A run that the gate held back has told of this publication before.
        others = lake.read(IDENTITY_CHANGES).where(F.col("publication") != number)
        lake.replace(IDENTITY_CHANGES, others.unionByName(numbered), once)
    else:
        lake.append(IDENTITY_CHANGES, numbered, once)
    own = lake.read(IDENTITY_CHANGES).where(F.col("publication") == number)
    current = now.select("profile_id").distinct()
    old = _before(lake, PROFILE_REDIRECTS, earlier)
    lake.replace(PROFILE_REDIRECTS, changes.redirects(old, own, current), once)


def _before(lake: Lake, table: Table, versions: Mapping[str, int]) -> DataFrame:
    """A table as the last publication showed it; empty where it did not."""
    if table.name not in versions:
        return lake.empty(table)
    return lake.read(table, versions[table.name])


def check_conservation(night: Night, change: Change) -> None:
    """Raises ConservationError unless each call of a resolved set is in exactly one profile."""
    lake, own = night.lake, change.basis.set_profiles
    resolved = lake.read(SIGHTINGS).join(own, "identity_set", "left_semi")
    sums = resolved.agg(F.sum("calls").alias("seen")).crossJoin(
        change.of(lake.read(PROFILES)).agg(F.sum("calls").alias("published"))
    )
    row = sums.first()
    assert row is not None
    if (row["seen"] or 0) != (row["published"] or 0):
        raise ConservationError(
            f"The profiles hold {row['published']} calls, their identity sets {row['seen']}. "
            "Nothing was published; this is a fault of the product, please report it."
        )


def judged(night: Night, change: Change) -> list[Verdict]:
    """The quality gate's verdicts on the candidates, also stored in expectation_results.

    Of `events`, which only grow, an incremental night judges the calls that it brought.
    """
    folder = night.config.quality.expectations
    suites = load_suites(Path(folder) if folder else None)
    found: list[Verdict] = []
    for table in PUBLISHED:
        if table.name not in suites:
            continue
        rows = night.lake.read(table)
        if table is EVENTS and change.profiles is not None:
            rows = rows.where(F.col("batch") == F.lit(night.plan.batch or 0))
        found += verdicts(table.name, rows, suites[table.name])
    rows_told = result_rows(night.plan.name, found)
    night.lake.append_rows(EXPECTATION_RESULTS, rows_told, night.transaction("publish"))
    return found


if __name__ == "__main__":
    from jobs import main

    main("publish")
