"""identities, set_profiles, facts → the published tables, judged, then exposed by one commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pyspark.sql import functions as F

from jobs import profiles_sync
from lake import sums
from lake.errors import ConservationError
from lake.frames import as_frame, columns_of, rows_of
from lake.identity import changes, spans
from lake.identity.stitching import SET_TOTALS
from lake.io import publications, views
from lake.io.delta import Lake
from lake.lookups import looked_up
from lake.parallel import together
from lake.profiles.accounts import account_members, accounts
from lake.profiles.activity import with_computed
from lake.profiles.audiences import members, with_audiences
from lake.profiles.consent import consented, linking_sets, profile_consents
from lake.profiles.snapshot import profile_identifiers, profiles, with_typed_traits
from lake.profiles.survivorship import judged_values, trait_candidates, winning_traits
from lake.quality.expectations import load_suites
from lake.quality.gate import Candidate, Gate, blocking, result_rows
from lake.run.facts import facts
from lake.run.night import BLOCKED, TOUCHED_IDENTITIES, TOUCHED_PROFILES, Night, sets_since
from lake.run.rules import asked, profile_columns, trait_rules
from lake.tables import (
    ACCOUNT_ACTIVITY,
    ACCOUNT_MEMBERS,
    ACCOUNT_OBSERVATIONS,
    ACCOUNTS,
    ACTIVITY,
    AUDIENCE_MEMBERS,
    CONSENT_OBSERVATIONS,
    EVENTS,
    EXPECTATION_RESULTS,
    IDENTITIES,
    IDENTITY_CHANGES,
    IDENTITY_HISTORY,
    IDENTITY_SETS,
    PROFILE_CONSENTS,
    PROFILE_IDENTIFIERS,
    PROFILE_REDIRECTS,
    PROFILE_TRAIT_CANDIDATES,
    PROFILE_TRAITS,
    PROFILES,
    PROFILES_CONSENTED,
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
    from lake.frames import Rows, Storable, WorkerRows
    from lake.profiles.survivorship import TraitRule
    from lake.quality.expectations import Suite
    from lake.run.resolution import Store
    from lake.schema import Column, Table

READS = (
    ACCOUNT_ACTIVITY,
    ACCOUNT_OBSERVATIONS,
    ACTIVITY,
    CONSENT_OBSERVATIONS,
    IDENTITIES,
    IDENTITY_SETS,
    SET_PROFILES,
    SIGHTINGS,
    TRAIT_OBSERVATIONS,
)
WRITES = (
    PROFILES,
    PROFILE_IDENTIFIERS,
    PROFILE_TRAITS,
    PROFILE_TRAIT_CANDIDATES,
    AUDIENCE_MEMBERS,
    ACCOUNTS,
    ACCOUNT_MEMBERS,
    PROFILE_CONSENTS,
    PROFILES_CONSENTED,
    IDENTITY_CHANGES,
    IDENTITY_HISTORY,
    PROFILE_REDIRECTS,
    EXPECTATION_RESULTS,
    PUBLICATIONS,
)

#: Tables that are empty where nothing of their kind was asked for or told.
OPTIONAL = (AUDIENCE_MEMBERS, ACCOUNTS, ACCOUNT_MEMBERS, PROFILE_CONSENTS, PROFILES_CONSENTED)


def run(night: Night) -> None:
    """Write the candidates, judge them, and expose them unless a blocking expectation failed."""
    for table in OPTIONAL:
        night.tables.create(table)
    told = change(night)
    folder = night.config.quality.expectations
    suites = load_suites(Path(folder) if folder else None)
    with Gate() as gate:

        def show(tables: Iterable[Table]) -> None:
            others = (table for table in tables if table.name not in gate.shown)
            gate.show(candidates(night, told, suites, others))

        show(t for t in PUBLISHED if t not in WRITES)
        write(night, told, show)
        with night.progress.stage("quality"):
            show(PUBLISHED)
            found = gate.verdicts()
            results = result_rows(night.plan.name, found)
            night.lake.append_rows(EXPECTATION_RESULTS, results, night.transaction("publish"))
    night.outcome["quality"] = results
    if blocking(found):
        night.outcome["status"] = BLOCKED
        return
    plan, published = night.plan, PUBLISHED
    if night.config.profiles_sync.enabled:
        published += profiles_sync.WRITES
    publications.publish(night.lake, published, plan.publication, plan.as_of, plan.inputs)
    shown = publications.versions(night.tables, plan.publication)
    clock = night.config.identity.order_by
    views.write_views(night.tables, night.place.objects, shown, plan.publication, clock)
    publications.point(night.tables, night.place.control)
    night.lake.after_commit("current.json", "wrote")


def write(night: Night, change: Change, show: Callable[[Iterable[Table]], None]) -> None:
    """Write all that may be published, and show it. Raises ConservationError if calls were lost on
    the way."""
    terms = Terms(night.config, night.plan.as_of, night.lake.scratch, change.ranges)

    def put(table: Table, rows: Storable, more: tuple[Column, ...] = ()) -> Rows:
        stored = change.put(table, rows, more)
        show([table])
        return stored

    def put_changes() -> None:
        write_changes(night, change)
        show([IDENTITY_CHANGES, PROFILE_REDIRECTS])

    def put_history() -> None:
        write_history(night, change)
        show([IDENTITY_HISTORY])

    forget_consent(night)
    published_rows(change.basis, terms, put, put_changes, put_history)
    together(
        partial(write_accounts, night),
        partial(write_members, night, change),
        partial(write_profiles_sync, night, change),
        partial(check_conservation, night, change),
    )


class Basis(NamedTuple):
    """What rows of profiles are made from: facts by table, those of traits, what sightings add up
    to, by set or by set and day, `set_profiles` and `identities`.

    Restricted to some profiles, these give the rows of those, and the same ones.
    """

    facts: Mapping[str, DataFrame]
    traits: Rows
    sightings: Rows
    set_profiles: Rows
    identities: Rows

    @property
    def by_set(self) -> DataFrame:
        """`set_profiles` as a frame."""
        return rows_of(self.set_profiles)


class Terms(NamedTuple):
    """What rows of profiles depend on besides the facts: the rules, the time of the publication;
    where to store what is used twice, and in how many ranges of profile_id rows are made."""

    config: Config
    as_of: datetime
    store: Store
    ranges: int


class Put(Protocol):
    """Takes a table of profiles and its rows, and gives them back as stored."""

    def __call__(self, table: Table, rows: Storable, more: tuple[Column, ...] = ()) -> Rows:
        """``more``: columns that the configuration adds to the table's."""


def published_rows(basis: Basis, terms: Terms, put: Put, *beside: Callable[[], None]) -> None:
    """Hand every table of profiles and its rows to ``put``.

    Everything published is a regroup of facts per identity set. ``beside``: what needs
    `profile_identifiers` alone, done while the others are made.
    """
    clock, facts = terms.config.identity.order_by, basis.facts
    identifiers = put(PROFILE_IDENTIFIERS, profile_identifiers(basis.identities, clock))
    works: list[Callable[[], None]] = [
        partial(put_profiles, basis, terms, put, identifiers),
        *beside,
    ]
    if ACCOUNT_OBSERVATIONS.name in facts:
        works.append(partial(put_account_members, basis, clock, put))
    if CONSENT_OBSERVATIONS.name in facts:
        works.append(partial(put_consents, basis, clock, put))
    together(*works)


def put_profiles(basis: Basis, terms: Terms, put: Put, identifiers: Rows) -> None:
    """Traits by profile, their candidates, and the profiles."""
    clock, rules = terms.config.identity.order_by, trait_rules(terms.config)
    values = judged_values(
        basis.traits, basis.set_profiles, rules, clock, terms.as_of, terms.ranges
    )
    judged = terms.store("trait_values", values)

    def put_won() -> None:
        won = put(PROFILE_TRAITS, winning_traits(judged))
        columns = profile_columns(terms.config)
        plain = profiles(basis.sightings, basis.set_profiles, identifiers, won, clock, terms.ranges)
        put(PROFILES, with_columns(plain, rules, basis, terms) if columns else plain, columns)

    together(put_won, partial(put, PROFILE_TRAIT_CANDIDATES, trait_candidates(judged, clock)))


def put_account_members(basis: Basis, clock: str, put: Put) -> None:
    """Which accounts the profiles are members of."""
    made, done = (basis.facts[t.name] for t in (ACCOUNT_OBSERVATIONS, ACCOUNT_ACTIVITY))
    put(ACCOUNT_MEMBERS, account_members(made, done, basis.by_set, clock))


def put_consents(basis: Basis, clock: str, put: Put) -> None:
    """What the profiles consented to."""
    by_set, known = basis.by_set, basis.facts[IDENTITY_SETS.name]
    own = rows_of(basis.sightings).join(by_set, "identity_set", "left_semi")
    totals = sums.added_up(own, ["identity_set"], clock).as_frame()
    members = linking_sets(known, totals, by_set, rows_of(basis.identities))
    said = basis.facts[CONSENT_OBSERVATIONS.name]
    consents = put(PROFILE_CONSENTS, profile_consents(said, by_set, members, clock))
    put(PROFILES_CONSENTED, consented(rows_of(consents)))


def with_columns(
    plain: WorkerRows, rules: Sequence[TraitRule], basis: Basis, terms: Terms
) -> DataFrame:
    """The profiles with the columns that the configuration adds: their typed traits, what their
    calls come to, and the audiences they are in."""
    config, questions = terms.config, asked(terms.config)
    rows = with_typed_traits(plain.as_frame(), rules)
    if questions:
        told, clock = basis.facts[ACTIVITY.name], config.identity.order_by
        rows = with_computed(rows, told, basis.by_set, questions, clock, terms.as_of)
    if config.audiences:
        rows = with_audiences(rows, config.conditions, questions, terms.as_of)
    return rows.select(*PROFILES.names, *(column.name for column in profile_columns(config)))


@dataclass(frozen=True)
class Change:
    """What a publication writes: all, or anew the rows of the profiles (profile_id) it is about."""

    night: Night
    basis: Basis
    profiles: DataFrame | None
    ranges: int

    def put(self, table: Table, rows: Storable, more: tuple[Column, ...] = ()) -> Rows:
        """Write the rows in the place of the profiles' own, or of all (see `Put`); as they are
        stored."""
        lake, once = self.night.lake, self.night.transaction("publish")
        if self.profiles is None:
            lake.replace(table, rows, once, more)
            return lake.stored(table)
        lake.update(table, self.profiles, rows, once, more, "profile_keys")
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
    told = {
        name: lake.read(table)
        for name, (table, _) in facts(config).items()
        if night.tables.version(table) is not None
    }
    set_profiles, sightings = lake.stored(SET_PROFILES), lake.stored(SIGHTINGS)
    traits = lake.stored(TRAIT_OBSERVATIONS)
    touched = lake.kept(TOUCHED_PROFILES, "profile_id string")
    identities = lake.kept(TOUCHED_IDENTITIES, IDENTITIES.ddl)
    all_may_change = config.is_dated or not night.plan.published
    if touched is None or identities is None or all_may_change:
        seen = lake.kept(sets_since(0), SET_TOTALS) or sightings
        whole = Basis(told, traits, seen, set_profiles, lake.stored(IDENTITIES))
        return Change(night, whole, None, lake.ranges(night.tables.rows(IDENTITY_SETS)))
    own = set_profiles.frame.join(F.broadcast(touched.frame), "profile_id", "left_semi")
    ranges = lake.ranges(touched.rows)
    basis = Basis(told, traits, sightings, own, identities)
    return Change(night, basis, touched.frame, ranges)


def write_accounts(night: Night) -> None:
    """The accounts that group calls told of; nothing where there are none."""
    lake, clock = night.lake, night.config.identity.order_by
    if night.tables.rows(ACCOUNT_OBSERVATIONS) or night.tables.rows(ACCOUNTS):
        made, done = lake.read(ACCOUNT_OBSERVATIONS), lake.read(ACCOUNT_ACTIVITY)
        found = accounts(made, done, lake.read(ACCOUNT_MEMBERS), clock)
        lake.replace(ACCOUNTS, found, night.transaction("publish"))


def forget_consent(night: Night) -> None:
    """Empty what was published of consent, where it is not to be kept any more."""
    lake, once = night.lake, night.transaction("publish")
    if not night.config.consent and night.tables.rows(PROFILE_CONSENTS):
        lake.replace(PROFILE_CONSENTS, lake.empty(PROFILE_CONSENTS), once)
        lake.replace(PROFILES_CONSENTED, lake.empty(PROFILES_CONSENTED), once)


def write_profiles_sync(night: Night, change: Change) -> None:
    """Segment's tables of profiles, where they are asked for."""
    if night.config.profiles_sync.enabled:
        profiles_sync.write(night, change)


def write_members(night: Night, change: Change) -> None:
    """Who is in an audience since when; nothing where nobody is or was in any."""
    lake, audiences = night.lake, night.config.audiences
    if not audiences and not night.tables.rows(AUDIENCE_MEMBERS):
        return
    number = night.plan.publication
    earlier = publications.versions(night.tables, number - 1)
    before = change.of(_before(lake, AUDIENCE_MEMBERS, earlier))
    columns = tuple(c for c in profile_columns(night.config) if c.name == "audiences")
    profiles = change.of(lake.read(PROFILES.extended(columns)))
    if not audiences:
        profiles = profiles.withColumn("audiences", F.array().cast("array<string>"))
    change.put(AUDIENCE_MEMBERS, members(before, profiles, number, night.plan.as_of))


def write_changes(night: Night, change: Change) -> None:
    """What became of every profile since the last publication, and where old ids lead."""
    lake, number = night.lake, night.plan.publication
    once = night.transaction("publish")
    earlier = publications.versions(night.tables, number - 1)
    batch, set_profiles = night.plan.batch, change.basis.set_profiles
    new_sets = lake.stored(IDENTITY_SETS, batch - 1) if batch else lake.empty(IDENTITY_SETS)
    now = change.of(lake.read(PROFILE_IDENTIFIERS))
    found: Storable
    if earlier:
        before = change.of(_before(lake, PROFILE_IDENTIFIERS, earlier))
        moves = lake.scratch("moves", changes.moves(before, now)).frame
        causes = changes.causes(new_sets, set_profiles).as_frame()
        found = changes.numbered(changes.identity_changes(moves, causes), number)
    else:
        own = lake.stored(PROFILE_IDENTIFIERS)
        found = changes.first_changes(own, new_sets, set_profiles, number)
    if night.tables.any(IDENTITY_CHANGES, f"publication = {number}"):
        # A run that the gate held back has told of this publication before.
        others = lake.read(IDENTITY_CHANGES).where(F.col("publication") != number)
        lake.replace(IDENTITY_CHANGES, others.unionByName(as_frame(found)), once)
    else:
        lake.append(IDENTITY_CHANGES, found, once)
    old = _before(lake, PROFILE_REDIRECTS, earlier)
    if earlier:  # else nobody can have gone anywhere
        told = lake.read(IDENTITY_CHANGES).where(F.col("publication") == number)
        old = changes.redirects(old, told, now)
    lake.replace(PROFILE_REDIRECTS, old, once)


def write_history(night: Night, change: Change) -> None:
    """End the spans of the identifiers that moved since the last publication, begin new ones."""
    lake, plan, once = night.lake, night.plan, night.transaction("publish")
    earlier = publications.versions(night.tables, plan.publication - 1)
    if IDENTITY_HISTORY.name not in earlier:
        begun = spans.first_spans(lake.stored(PROFILE_IDENTIFIERS), plan.publication, plan.as_of)
        lake.replace(IDENTITY_HISTORY, begun, once)
        return
    before = change.of(_before(lake, PROFILE_IDENTIFIERS, earlier))
    now = change.of(lake.read(PROFILE_IDENTIFIERS))
    moved = lake.scratch("moved", spans.moved(before, now)).frame
    history = _before(lake, IDENTITY_HISTORY, earlier)
    keys = moved.select("identifier_key", "type", "value")
    found = spans.spans(history, moved, plan.publication, plan.as_of)
    if change.profiles is None:
        others = history.join(keys, keys.columns, "left_anti").select(*IDENTITY_HISTORY.names)
        lake.replace(IDENTITY_HISTORY, others.unionByName(found), once)
    else:
        lake.update(IDENTITY_HISTORY, keys, found, once)


def _before(lake: Lake, table: Table, versions: Mapping[str, int]) -> DataFrame:
    """A table as the last publication showed it; empty where it did not."""
    if table.name not in versions:
        return lake.empty(table)
    return lake.read(table, versions[table.name])


def check_conservation(night: Night, change: Change) -> None:
    """Raises ConservationError unless each call of a resolved set is in exactly one profile."""
    lake, key = night.lake, "identity_set"
    profiles: Rows = lake.stored(PROFILES)
    if change.profiles is not None:
        profiles = change.of(rows_of(profiles))
    sets = change.basis.set_profiles
    of_sets = looked_up(lake.stored(SIGHTINGS), (key, sums.CALLS), sets, key, ())
    both = (of_sets, columns_of(profiles, (sums.CALLS,)))
    seen, published = together(*(partial(_calls_in, rows) for rows in both))
    if seen != published:
        raise ConservationError(
            f"The profiles hold {published} calls, their identity sets {seen}. "
            "Nothing was published; this is a fault of the product, please report it."
        )


def _calls_in(rows: WorkerRows) -> int:
    return sum(row[sums.CALLS] for row in sums.total(rows).as_frame().collect())


def candidates(
    night: Night, change: Change, suites: Mapping[str, Suite], tables: Iterable[Table]
) -> Iterator[Candidate]:
    """What the quality gate is to judge of these tables.

    Of `events`, which only grow, an incremental night judges the calls that it brought.
    """
    for table in tables:
        if table.name not in suites or is_idle(night, table):
            continue
        since = None
        if table is EVENTS and change.profiles is not None:
            since = night.plan.batch - 1 if night.plan.batch else night.plan.run
        yield Candidate(table.name, night.lake.stored(table, since), suites[table.name])


def is_idle(night: Night, table: Table) -> bool:
    """Whether a table is empty because nothing of its kind was asked for or told."""
    return table in OPTIONAL and not night.tables.rows(table)


if __name__ == "__main__":
    from jobs import main

    main("publish")
