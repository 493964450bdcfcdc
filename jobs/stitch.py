"""events → identity_sets, sightings, trait_observations → identities, set_profiles."""

from __future__ import annotations

from functools import partial, reduce
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lake.frames import as_frame
from lake.identity import shared, touched
from lake.identity.reextraction import re_extracted
from lake.identity.stitching import without_keys
from lake.parallel import together
from lake.profiles.activity import activity
from lake.run import set_facts
from lake.run.facts import FACTS, Fact, facts_told
from lake.run.night import RETOLD_SETS, TOUCHED_IDENTITIES, TOUCHED_PROFILES, Night, sets_since
from lake.run.planning import ASKED
from lake.run.resolution import Resolved, Resolver
from lake.run.rules import measured
from lake.run.scope import Told, everything, touched_by
from lake.tables import (
    ACCOUNT_ACTIVITY,
    ACCOUNT_OBSERVATIONS,
    ACTIVITY,
    CONSENT_OBSERVATIONS,
    CREATED_PROFILES,
    DUPLICATE_CALLS,
    EVENTS,
    IDENTIFY_CALLS,
    IDENTITIES,
    IDENTITY_SETS,
    SET_PROFILES,
    SHARED_VALUES,
    SIGHTINGS,
    TRAIT_OBSERVATIONS,
    VIOLATIONS,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lake.frames import Storable
    from lake.io.delta import Writable
    from lake.schema import Table

READS = (EVENTS, DUPLICATE_CALLS)
WRITES = (
    IDENTITY_SETS,
    SIGHTINGS,
    TRAIT_OBSERVATIONS,
    ACTIVITY,
    ACCOUNT_OBSERVATIONS,
    ACCOUNT_ACTIVITY,
    CONSENT_OBSERVATIONS,
    IDENTIFY_CALLS,
    IDENTITIES,
    VIOLATIONS,
    SHARED_VALUES,
    CREATED_PROFILES,
    SET_PROFILES,
)

#: What these tell of calls without an identity set, no retold set can put right.
OF_NOBODY = (ACCOUNT_OBSERVATIONS, ACCOUNT_ACTIVITY)


def run(night: Night) -> None:
    """Add what the new events say to the facts, then resolve who is who."""
    if night.tables.holds(SET_PROFILES, night.transaction("stitch")):
        return
    add_facts(night)
    resolve(night)


def add_facts(night: Night) -> None:
    """Append what each new batch says of sets, traits and sightings.

    All anew where the rules of extraction or the order of calls changed. Where a call that was
    counted turned out to be a duplicate, no sum of parts is right for the set that it carried:
    such sets are told of anew, and all accounts, of which calls without a set tell too.
    """
    lake, clock = night.lake, night.config.identity.order_by
    anew = is_stale(night)
    if anew:
        re_extract(night)
    retold = None if anew else retold_sets(night)
    events = lake.read(EVENTS)
    ask_anew(night, events, whole=anew or retold is not None)
    placed = tell_of_sets(night, anew=anew) if retold is None else {}

    def add(fact: Fact) -> None:
        """What the events that a table of facts knows nothing of yet say."""
        (table, transform), once = fact, night.transaction("stitch")
        # A run that died may have left one table ahead of another, so each is asked.
        whole = anew or is_behind(night, table) or (retold is not None and table in OF_NOBODY)
        found: Writable
        if table.name in placed:
            found = placed[table.name]
        else:
            rows = events if whole else events.where(F.col("batch") > told(night, table))
            if retold is not None and not whole:
                own = events.join(F.broadcast(retold), "identity_set", "left_semi")
                rows = rows.join(F.broadcast(retold), "identity_set", "left_anti").unionByName(own)
            found = transform(rows, clock)
            if table is IDENTITY_SETS and not anew:
                found = unknown_sets(night, as_frame(found), retold)
        if whole:
            lake.replace(table, found, once)
        elif retold is not None:
            lake.update(table, retold, found, once)
        else:
            lake.append(table, found, once)

    *others, sightings = facts_told(night.config, night.tables).values()
    together(*(partial(add, fact) for fact in others))
    add(sightings)  # last, for they tell the next run where to go on


def tell_of_sets(night: Night, *, anew: bool) -> dict[str, Writable]:
    """What new calls, or all of them, say of identity sets: by table what is to be added.

    In one pass, which leaves in scratch what they add to each set. Nothing where a run that died
    left these tables at different batches: then each is told of for itself.
    """
    lake, tables = night.lake, [table for table, _ in FACTS.values()]
    since = {0 if anew else told(night, table) for table in tables}
    once = night.transaction("stitch")
    if len(since) > 1 or all(night.tables.holds(table, once) for table in tables):
        return {}
    batch = since.pop()
    is_first = anew or not night.tables.rows(IDENTITY_SETS)
    if not is_first:
        tables.remove(IDENTITY_SETS)
    kinds = {set_facts.SETS, *(table.name for table in tables)}
    found = set_facts.told(lake.stored(EVENTS, batch), night.config.identity.order_by, kinds)
    sets, placed = lake.write_apart(sets_since(batch), set_facts.SETS, found, tables)
    if is_first or not placed:
        return {**placed}
    plain = sets.frame.select("identity_set", without_keys().alias("identifiers"), "batch")
    return {**placed, IDENTITY_SETS.name: unknown_sets(night, plain)}


def unknown_sets(night: Night, found: DataFrame, retold: DataFrame | None = None) -> DataFrame:
    """Those of the sets that the table of them does not have, or is told of anew."""
    known = night.lake.read(IDENTITY_SETS)
    if retold is not None:
        known = known.join(F.broadcast(retold), "identity_set", "left_anti")
    return found.join(known, "identity_set", "left_anti")


def is_behind(night: Night, table: Table) -> bool:
    """Whether a fact was not kept for a time in which what it tells of has changed."""
    batch = told(night, table)
    if batch >= told(night, SIGHTINGS) or night.tables.version(table) is None:
        return False
    same = night.tables.notes(table).get("facts") == night.facts
    return not same or displaced_earlier(night, batch)


def ask_anew(night: Night, events: DataFrame, *, whole: bool) -> None:
    """Make `activity` anew where other questions are asked of calls than its rows answer.

    A new measure is made of all events, one that nobody asks for any more goes, the others stay.
    ``whole``: none can stay. Nothing where the same questions are asked, or none.
    """
    kept, clock, lake = measured(night.config), night.config.identity.order_by, night.lake
    made, since = night.tables.notes(ACTIVITY), told(night, ACTIVITY)
    if made.get("facts") != night.facts or displaced_earlier(night, since):
        made = {}
    held = made.get("measures", [])
    if not kept or held == [measure.key for measure in kept]:
        return
    old = [] if whole else [measure for measure in kept if measure.key in held]
    new = [measure for measure in kept if measure not in old]
    parts = [activity(new, events, clock).as_frame()] if new else []
    if old:
        stays = lake.read(ACTIVITY).where(F.col("measure").isin([measure.key for measure in old]))
        since_then = events.where(F.col("batch") > since)
        parts += [stays, activity(old, since_then, clock).as_frame()]
    found = reduce(DataFrame.unionByName, parts)
    lake.replace(ACTIVITY, found, night.transaction("stitch"))


def retold_sets(night: Night) -> DataFrame | None:
    """The identity sets of calls that were accepted until this batch found them to be duplicates:
    (identity_set); None if there are none."""
    lake, since = night.lake, f"displaced and batch > {told(night, SIGHTINGS)}"
    if found := lake.kept(RETOLD_SETS, "identity_set binary"):
        return found.frame
    if not night.tables.any(DUPLICATE_CALLS, since):
        return None
    gone = lake.read(DUPLICATE_CALLS).where(since).select("message_id")
    before = lake.read(EVENTS, night.plan.versions[EVENTS.name])
    sets = before.join(F.broadcast(gone), "message_id", "left_semi").select("identity_set")
    return lake.scratch(RETOLD_SETS, sets.where("identity_set is not null").distinct()).frame


def displaced_earlier(night: Night, batch: int) -> bool:
    """Whether a run after this batch and before this one took calls out of `events`."""
    since = f"displaced and batch > {batch} and batch < {night.plan.run}"
    return night.tables.any(DUPLICATE_CALLS, since)


def told(night: Night, table: Table) -> int:
    """The newest batch that a table of facts tells of; 0 if none."""
    return night.tables.last_transaction(table, "stitch") or 0


def is_stale(night: Night) -> bool:
    """Whether the facts as they are cannot be added to.

    A run that died under other rules may have left its events, or some of its facts. A full pass
    that was asked for is to mend whatever is wrong.
    """
    if night.plan.full == ASKED:
        return True
    notes = [night.tables.notes(t) for t in (IDENTITY_SETS, TRAIT_OBSERVATIONS, SIGHTINGS)]
    if any(made.get("facts", night.facts) != night.facts for made in notes):
        return True
    if holds_other_extractions(night):
        return True
    # Calls that an earlier run took back, and told of nowhere: which sets they had is not known.
    return displaced_earlier(night, told(night, SIGHTINGS))


def holds_other_extractions(night: Night) -> bool:
    """Whether an event's identifiers were taken by other rules; statistics skip the rest."""
    return night.tables.any(EVENTS, f"extraction <> '{night.extraction.fingerprint}'")


def re_extract(night: Night) -> None:
    """Take identifiers from stored events again, where they were taken by other rules."""
    if holds_other_extractions(night):
        events = re_extracted(night.lake.read(EVENTS), night.extraction)
        night.lake.replace(EVENTS, events, night.transaction("extract"))


def resolve(night: Night) -> None:
    """Group identity sets into profiles: `identities`, `violations`, `set_profiles` and
    `created_profiles`.

    All of them, or those of the raw components that the night touched: the rows are the same.
    """
    lake, resolver = night.lake, Resolver.of(night.config, night.lake)
    if whole := reason_for_all(night):
        night.progress.say(f"resolving everything: {whole}")
        night.outcome |= {"pass": "full", "because": whole}
        scope = everything(Told.of(lake), resolver)
        write_state(night, resolver.resolved(scope.facts), scope.too_many)
        return
    scope = touched_by(night, resolver)
    found = resolver.resolved(scope.facts)
    assert scope.known is not None
    assert scope.touched_sets is not None
    identities = lake.scratch(TOUCHED_IDENTITIES, found.identities).frame
    profiles = lake.scratch(TOUCHED_PROFILES, touched.profiles(scope.known, identities)).frame
    keys = {
        IDENTITIES.name: touched.identifier_keys(scope.known, identities),
        CREATED_PROFILES.name: profiles,
        **dict.fromkeys((VIOLATIONS.name, SET_PROFILES.name), scope.touched_sets),
    }
    write_state(night, found._replace(identities=identities), scope.too_many, keys)


def write_state(
    night: Night,
    found: Resolved,
    too_many: shared.Found | None,
    keys: Mapping[str, DataFrame] | None = None,
) -> None:
    """Write what was resolved: all that there is, or in the place of the rows of these ``keys``,
    by table."""
    lake, once = night.lake, night.transaction("stitch")

    def put(table: Table, rows: Storable) -> None:
        if keys is None:
            lake.replace(table, rows, once)
        else:
            lake.update(table, keys[table.name], rows, once)

    def write_identities() -> None:
        put(IDENTITIES, found.identities)
        write_evidence(night, too_many)

    together(
        write_identities,
        partial(put, VIOLATIONS, found.violations),
        partial(put, CREATED_PROFILES, found.created_profiles),
    )
    put(SET_PROFILES, found.set_profiles)  # last: with them this step is done


def reason_for_all(night: Night) -> str | None:
    """Why a night resolves everything; None where it need not."""
    if night.plan.full:
        return night.plan.full
    if displaced_earlier(night, night.plan.resolved):
        return "calls that were accepted turned out to be duplicates in a run that was given up"
    return None


def write_evidence(night: Night, too_many: shared.Found | None) -> None:
    """Say in `shared_values` what is guarded and why; nothing where nothing is or was."""
    lake, once = night.lake, night.transaction("stitch")
    if too_many:
        told = shared.evidence(too_many, lake.read(IDENTITY_SETS), lake.read(IDENTITIES))
        lake.replace(SHARED_VALUES, told, once)
    elif night.tables.rows(SHARED_VALUES):
        lake.replace(SHARED_VALUES, lake.empty(SHARED_VALUES), once)


if __name__ == "__main__":
    from jobs import main

    main("stitch")
