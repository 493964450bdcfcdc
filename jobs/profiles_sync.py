"""The merge history, identities, traits → the tables of Segment's Profiles Sync, where enabled.

A part of `publish`: its tables are candidates like the others and belong to the publication.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

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
    from pyspark.sql import DataFrame

    from jobs.publish import Put
    from lake.io.delta import Tables
    from lake.run.night import Night
    from lake.schema import Table

READS = (EVENTS, IDENTITIES, SET_PROFILES, CREATED_PROFILES, TRAIT_OBSERVATIONS, PROFILE_TRAITS)
WRITES = PROFILES_SYNC


class Basis(NamedTuple):
    """What the rows are made from, tables by their names; ``identify_calls``: see there.

    Restricted to some profiles, these give the rows of those, and the same ones.
    """

    identities: DataFrame
    set_profiles: DataFrame
    created_profiles: DataFrame
    profile_traits: DataFrame
    identify_calls: DataFrame


def write(night: Night) -> None:
    """Write the nine tables and, beside them, what their columns say."""
    lake, once = night.lake, night.transaction("publish")

    def put(table: Table, rows: DataFrame, more: tuple[Column, ...] = ()) -> DataFrame:
        lake.replace(table, rows, once, more)
        return lake.read(table)

    basis = Basis(
        lake.read(IDENTITIES),
        lake.read(SET_PROFILES),
        lake.read(CREATED_PROFILES),
        lake.read(PROFILE_TRAITS),
        sync.identify_calls(lake.read(EVENTS)),
    )
    sync_rows(basis, trait_columns(night.tables), night.config.identity.order_by, put)
    guide = f"{night.tables.root.rstrip('/')}/{FOLDER}/README.md"
    night.place.objects.put(guide, dictionary(PROFILES_SYNC).encode())


def trait_columns(tables: Tables) -> dict[str, str]:
    """The column of each trait that has one in the two wide tables, by all that was ever told."""
    told = tables.query(
        "select trait, sum(calls) as calls from t group by trait",
        t=(TRAIT_OBSERVATIONS, None),
    )
    calls = {row["trait"]: int(row["calls"]) for row in told.to_pylist()}
    taken = (*PROFILES_SYNC_PROFILE_TRAITS.names, *PROFILES_SYNC_PROFILE_TRAITS_UPDATES.names)
    return sync.column_names(calls, taken)


def key_of(table: Table) -> str:
    """The column by which a table's rows are those of one profile, or of one that was created."""
    ids = ("profile_id", "segment_id", "canonical_segment_id")
    return next(name for name in ids if name in table.names)


def sync_rows(basis: Basis, names: Mapping[str, str], clock: str, put: Put) -> None:
    """Hand every table of Profiles Sync and its rows to ``put``; ``names``: see `trait_columns`."""
    created, identities, traits = basis.created_profiles, basis.identities, basis.profile_traits
    put(PROFILES_SYNC_ID_GRAPH_UPDATES, sync.id_graph_updates(created, clock))
    put(PROFILES_SYNC_ID_GRAPH, sync.id_graph(created, clock))
    put(PROFILES_SYNC_PROFILE_MERGES, sync.profile_merges(created, clock))
    updates = sync.external_id_mapping_updates(identities, clock)
    put(PROFILES_SYNC_EXTERNAL_ID_MAPPING_UPDATES, updates)
    put(PROFILES_SYNC_EXTERNAL_ID_MAPPING, sync.external_id_mapping(identities))
    put(PROFILES_SYNC_USER_IDENTIFIERS, sync.user_identifiers(identities, clock))
    put(PROFILES_SYNC_USER_TRAITS, sync.user_traits(traits, clock))

    columns = sorted(set(names.values()))
    more = tuple(Column(n, "string", "A trait as plain text.", personal=True) for n in columns)
    spark = created.sparkSession
    named = spark.createDataFrame(list(names.items()), "trait string, column string")
    held = sync.wide_traits(traits, created, named, columns)
    put(PROFILES_SYNC_PROFILE_TRAITS, held, more)
    told = sync.traits_updates(basis.identify_calls, basis.set_profiles, created, names, clock)
    put(PROFILES_SYNC_PROFILE_TRAITS_UPDATES, told, more)
