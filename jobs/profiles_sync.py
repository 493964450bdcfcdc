"""The merge history, identities, traits → the tables of Segment's Profiles Sync, where enabled.

A part of `publish`: its tables are candidates like the others and belong to the publication. A
night that resolved what it touched replaces the rows of the profiles that it touched. Cost: as
for the other tables of profiles; besides, a scan of `identify_calls`, and one of what traits
there are in `trait_observations`. The two wide tables are written whole where a trait comes or
goes that has a column; all nine where the tables of profiles are, as every night where values
grow old or windows slide.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from pyspark.sql import functions as F

from lake.frames import rows_of
from lake.io import publications
from lake.parallel import together
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
    IDENTIFY_CALLS,
    IDENTITIES,
    PROFILE_TRAITS,
    SET_PROFILES,
    TRAIT_OBSERVATIONS,
    dictionary,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from jobs.publish import Change, Put
    from lake.frames import Storable
    from lake.io.delta import Tables
    from lake.run.night import Night
    from lake.schema import Table

READS = (
    CREATED_PROFILES,
    IDENTIFY_CALLS,
    IDENTITIES,
    PROFILE_TRAITS,
    SET_PROFILES,
    TRAIT_OBSERVATIONS,
)
WRITES = PROFILES_SYNC

#: The tables with a column for each trait.
WIDE = (PROFILES_SYNC_PROFILE_TRAITS, PROFILES_SYNC_PROFILE_TRAITS_UPDATES)


class Basis(NamedTuple):
    """What the rows are made from, each table by its name.

    Restricted to some profiles, these give the rows of those, and the same ones.
    """

    identities: DataFrame
    set_profiles: DataFrame
    created_profiles: DataFrame
    profile_traits: DataFrame
    identify_calls: DataFrame


def write(night: Night, change: Change) -> None:
    """Write the nine tables, all or what can have changed, and what their columns say."""
    lake, once = night.lake, night.transaction("publish")
    names, clock = trait_columns(night.tables), night.config.identity.order_by
    keys = touched_ids(night, change)
    every = Basis(
        lake.read(IDENTITIES),
        lake.read(SET_PROFILES),
        lake.read(CREATED_PROFILES),
        lake.read(PROFILE_TRAITS),
        lake.read(IDENTIFY_CALLS),
    )
    basis = every if keys is None else restricted(every, night, change)
    wide = every if has_other_columns(night, names) else basis

    def put(table: Table, rows: Storable, more: tuple[Column, ...] = ()) -> DataFrame:
        if keys is None or (table in WIDE and wide is every):
            lake.replace(table, rows, once, more)
        else:
            key = key_of(table)
            own = keys.select(F.col("segment_id").alias(key))
            lake.update(table, own, rows, once, more, f"touched_by_{key}")
        return lake.read(table)

    sync_rows(basis, names, clock, put, wide)
    guide = f"{night.tables.root.rstrip('/')}/{FOLDER}/README.md"
    night.place.objects.put(guide, dictionary(PROFILES_SYNC).encode())


def touched_ids(night: Night, change: Change) -> DataFrame | None:
    """The ids whose rows the night can have changed: (segment_id); None for all.

    A row is of one created profile, or of the one that it belongs to, and both are of one raw
    component. So the rows that go are those of ids that the touched profiles had, as published
    last: whatever comes in their place is made from the touched profiles as they are now.
    """
    if change.profiles is None:
        return None
    shown = publications.versions(night.tables, night.plan.publication - 1)
    before = change.of(night.lake.read(CREATED_PROFILES, shown[CREATED_PROFILES.name]))
    both = F.explode(F.array("segment_id", "profile_id"))
    return before.select(both.alias("segment_id")).distinct()


def restricted(every: Basis, night: Night, change: Change) -> Basis:
    """What the rows of the touched profiles are made from."""
    store = night.lake.scratch
    return Basis(
        rows_of(change.basis.identities),
        change.basis.by_set,
        store("touched_created", change.of(every.created_profiles)).frame,
        store("touched_traits", change.of(every.profile_traits)).frame,
        every.identify_calls,
    )


def has_other_columns(night: Night, names: Mapping[str, str]) -> bool:
    """Whether the wide tables had other columns when the night was planned."""
    table = PROFILES_SYNC_PROFILE_TRAITS
    before = night.tables.columns(table, night.plan.versions.get(table.name))
    return set(before) != {*table.names, *names.values()}


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


def sync_rows(
    basis: Basis, names: Mapping[str, str], clock: str, put: Put, wide: Basis | None = None
) -> None:
    """Hand every table of Profiles Sync and its rows to ``put``.

    ``names``: see `trait_columns`; ``wide``: what the wide tables are made from, where that is
    more than the others are.
    """
    created, identities, traits = basis.created_profiles, basis.identities, basis.profile_traits
    own = wide or basis
    columns = sorted(set(names.values()))
    more = tuple(Column(n, "string", "A trait as plain text.", personal=True) for n in columns)
    named = created.sparkSession.createDataFrame(list(names.items()), "trait string, column string")
    held = sync.wide_traits(own.profile_traits, own.created_profiles, named, columns)
    told = sync.traits_updates(
        own.identify_calls, own.set_profiles, own.created_profiles, names, clock
    )
    updates = sync.external_id_mapping_updates(identities, clock)
    together(
        partial(put, PROFILES_SYNC_ID_GRAPH_UPDATES, sync.id_graph_updates(created, clock)),
        partial(put, PROFILES_SYNC_ID_GRAPH, sync.id_graph(created, clock)),
        partial(put, PROFILES_SYNC_PROFILE_MERGES, sync.profile_merges(created, clock)),
        partial(put, PROFILES_SYNC_EXTERNAL_ID_MAPPING_UPDATES, updates),
        partial(put, PROFILES_SYNC_EXTERNAL_ID_MAPPING, sync.external_id_mapping(identities)),
        partial(put, PROFILES_SYNC_USER_IDENTIFIERS, sync.user_identifiers(identities, clock)),
        partial(put, PROFILES_SYNC_USER_TRAITS, sync.user_traits(traits, clock)),
        partial(put, PROFILES_SYNC_PROFILE_TRAITS, held, more),
        partial(put, PROFILES_SYNC_PROFILE_TRAITS_UPDATES, told, more),
    )
