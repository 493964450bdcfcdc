"""The merge history, identities, traits → the tables of Segment's Profiles Sync, where enabled.

A part of `publish`: its tables are candidates like the others and belong to the publication.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lake.profiles import profiles_sync as sync
from lake.schema import Column
from lake.segment_tables import (
    FOLDER,
    PROFILES_SYNC,
    PROFILES_SYNC_EXTERNAL_ID_MAPPING,
    PROFILES_SYNC_EXTERNAL_ID_MAPPING_UPDATES,
    PROFILES_SYNC_ID_GRAPH,
    PROFILES_SYNC_ID_GRAPH_UPDATES,
    PROFILES_SYNC_PROFILE_MERGES,
    PROFILES_SYNC_PROFILE_TRAITS,
    PROFILES_SYNC_PROFILE_TRAITS_UPDATES,
    PROFILES_SYNC_USER_IDENTIFIERS,
    PROFILES_SYNC_USER_TRAITS,
)
from lake.tables import (
    CREATED_PROFILES,
    EVENTS,
    IDENTITIES,
    PROFILE_TRAITS,
    SET_PROFILES,
    TRAIT_OBSERVATIONS,
    dictionary,
)

if TYPE_CHECKING:
    from lake.run.night import Night

READS = (EVENTS, IDENTITIES, SET_PROFILES, CREATED_PROFILES, TRAIT_OBSERVATIONS, PROFILE_TRAITS)
WRITES = PROFILES_SYNC


def write(night: Night) -> None:
    """Write the nine tables and, beside them, what their columns say."""
    lake, clock = night.lake, night.config.identity.order_by
    once = night.transaction("publish")
    created, identities = lake.read(CREATED_PROFILES), lake.read(IDENTITIES)
    traits = lake.read(PROFILE_TRAITS)

    lake.replace(PROFILES_SYNC_ID_GRAPH_UPDATES, sync.id_graph_updates(created, clock), once)
    lake.replace(PROFILES_SYNC_ID_GRAPH, sync.id_graph(created, clock), once)
    lake.replace(PROFILES_SYNC_PROFILE_MERGES, sync.profile_merges(created, clock), once)
    updates = sync.external_id_mapping_updates(identities, clock)
    lake.replace(PROFILES_SYNC_EXTERNAL_ID_MAPPING_UPDATES, updates, once)
    mapping = sync.external_id_mapping(identities)
    lake.replace(PROFILES_SYNC_EXTERNAL_ID_MAPPING, mapping, once)
    lake.replace(PROFILES_SYNC_USER_IDENTIFIERS, sync.user_identifiers(identities, clock), once)
    lake.replace(PROFILES_SYNC_USER_TRAITS, sync.user_traits(traits, clock), once)
    write_wide(night)
    guide = f"{night.tables.root.rstrip('/')}/{FOLDER}/README.md"
    night.place.objects.put(guide, dictionary(PROFILES_SYNC).encode())


def write_wide(night: Night) -> None:
    """Write the two tables that have a column for each trait."""
    lake, once = night.lake, night.transaction("publish")
    counted = night.tables.query(
        "select trait, count(*) as n from t group by trait order by n desc, trait "  # noqa: S608
        f"limit {sync.MOST_COLUMNS}",
        t=(TRAIT_OBSERVATIONS, None),
    )
    taken = (*PROFILES_SYNC_PROFILE_TRAITS.names, *PROFILES_SYNC_PROFILE_TRAITS_UPDATES.names)
    names = sync.column_names(counted["trait"].to_pylist(), taken)
    columns = sorted(set(names.values()))
    more = tuple(Column(n, "string", "A trait as plain text.", personal=True) for n in columns)
    created, by_set = lake.read(CREATED_PROFILES), lake.read(SET_PROFILES)

    named = lake.spark.createDataFrame(list(names.items()), "trait string, column string")
    held = sync.wide_traits(lake.read(PROFILE_TRAITS), created, named, columns)
    lake.replace(PROFILES_SYNC_PROFILE_TRAITS, held, once, more)
    clock = night.config.identity.order_by
    told = sync.traits_updates(lake.read(EVENTS), by_set, created, names, clock)
    lake.replace(PROFILES_SYNC_PROFILE_TRAITS_UPDATES, told, once, more)
