"""The tables of Segment's Profiles Sync, by Segment's names, columns and types.

They lie under ``<root>/profiles_sync/<name>``, so that SQL written for Segment runs unchanged once
that folder is the schema it names. Sources: segment.com/docs/unify/profiles-sync/tables and
github.com/segmentio/profiles-sync-dbt. Where those are silent, the columns' sentences say what is
here. Unlike Segment's own backfill, history is real: every row has the time of its call.
"""

from __future__ import annotations

from lake.schema import Column, Table

FOLDER = "profiles_sync"

_SEGMENT = Column("segment_id", "string", "The profile as it was created; a profile_id.")
_CANONICAL = Column("canonical_segment_id", "string", "The profile it belongs to now: profile_id.")
_TIMESTAMP = Column("timestamp", "timestamp", "When the call happened; where unknown, arrived.")
_RECEIVED = Column("received_at", "timestamp", "When the call arrived.")
_LOADED = Column("uuid_ts", "timestamp", "The same as received_at: rows come by replay of history.")
_SEQ = Column("seq", "string", "Sorts rows in the order of their calls.")
_HASH = Column("external_id_hash", "string", "SHA-1 of type and value, in hexadecimal.")
_ID_TYPE = Column("external_id_type", "string", "Identifier type, such as user_id.")
_ID_VALUE = Column("external_id_value", "string", "Normalised identifier value.", personal=True)
_TRIGGER = (
    Column("triggering_event_type", "string", "Type of the call, such as identify."),
    Column("triggering_event_id", "string", "messageId of the call."),
)
_TRIGGER_SOURCE = (
    Column("triggering_event_name", "string", "Name of a track call."),
    Column("triggering_event_source_id", "string", "Name of the configured source."),
    Column("triggering_event_source_name", "string", "Name of the configured source."),
    Column("triggering_event_source_slug", "string", "Name of the configured source."),
)


def _synced(name: str, about: str, grain: tuple[str, ...], *columns: Column) -> Table:
    return Table(
        name=f"{FOLDER}_{name}",
        path=f"{FOLDER}/{name}",
        about=about,
        grain=grain,
        writer="profiles_sync",
        audience="published",
        sorted_by=grain[:1],
        columns=columns,
    )


PROFILES_SYNC_ID_GRAPH_UPDATES = _synced(
    "id_graph_updates",
    "Every creation of a profile and every merge, one row a profile that came under another.",
    ("segment_id", "canonical_segment_id"),
    _SEGMENT,
    Column("canonical_segment_id", "string", "The profile it belonged to from then on."),
    *_TRIGGER,
    _TIMESTAMP,
    _RECEIVED,
    _LOADED,
    _SEQ,
)

PROFILES_SYNC_EXTERNAL_ID_MAPPING_UPDATES = _synced(
    "external_id_mapping_updates",
    "Every identifier and the call that brought it to a profile.",
    ("external_id_hash", "external_id_type", "external_id_value"),
    _HASH,
    _ID_TYPE,
    _ID_VALUE,
    Column("id", "string", "Key of the row: a hash of identifier and call."),
    _RECEIVED,
    Column("segment_id", "string", "The profile it was mapped to, as it was then."),
    _SEQ,
    _TIMESTAMP,
    *_TRIGGER,
    *_TRIGGER_SOURCE,
    _LOADED,
    Column("__operation", "string", "Always CREATED: nothing is taken out here."),
)

PROFILES_SYNC_PROFILE_TRAITS_UPDATES = _synced(
    "profile_traits_updates",
    "All traits of a profile after each identify call and after each merge; a column a trait.",
    ("segment_id", "seq"),
    Column("segment_id", "string", "The profile after the call, as it was then."),
    _SEQ,
    _LOADED,
    _TIMESTAMP,
    _RECEIVED,
    *_TRIGGER,
    *_TRIGGER_SOURCE,
)

PROFILES_SYNC_USER_TRAITS = _synced(
    "user_traits",
    "The traits of every profile, a row a trait.",
    ("canonical_segment_id", "name"),
    _CANONICAL,
    Column("name", "string", "The trait's name as sent."),
    Column("value", "string", "Its value as plain text.", personal=True),
    _SEQ,
    _RECEIVED,
    _LOADED,
    _TIMESTAMP,
)

PROFILES_SYNC_USER_IDENTIFIERS = _synced(
    "user_identifiers",
    "The identifiers of every profile.",
    ("canonical_segment_id", "type", "value"),
    _CANONICAL,
    Column("type", "string", "Identifier type, such as user_id."),
    Column("value", "string", "Normalised identifier value.", personal=True),
    _SEQ,
    _RECEIVED,
    _LOADED,
    _TIMESTAMP,
)

PROFILES_SYNC_PROFILE_MERGES = _synced(
    "profile_merges",
    "Every created profile and the one it belongs to now, which may be itself.",
    ("segment_id",),
    _CANONICAL,
    _SEGMENT,
    _SEQ,
    _RECEIVED,
    _LOADED,
    _TIMESTAMP,
)

PROFILES_SYNC_ID_GRAPH = _synced(
    "id_graph",
    "Every created profile and the one it belongs to now: what event tables are joined through.",
    ("segment_id",),
    _SEGMENT,
    _CANONICAL,
    _LOADED,
    Column("etl_ts", "timestamp", "The same as received_at of the call that made it so."),
    _TIMESTAMP,
    _SEQ,
)

PROFILES_SYNC_EXTERNAL_ID_MAPPING = _synced(
    "external_id_mapping",
    "Every identifier and the profile it belongs to now.",
    ("external_id_hash", "external_id_type", "external_id_value"),
    _CANONICAL,
    _ID_VALUE,
    _ID_TYPE,
    _HASH,
    _TIMESTAMP,
    _LOADED,
)

PROFILES_SYNC_PROFILE_TRAITS = _synced(
    "profile_traits",
    "The traits of every created profile, a column a trait; null where it was merged away.",
    ("canonical_segment_id",),
    Column("canonical_segment_id", "string", "The profile; of one merged away, its own id."),
    Column("merged_to", "string", "Where it was merged to; null: it stands."),
)

PROFILES_SYNC = (
    PROFILES_SYNC_ID_GRAPH_UPDATES,
    PROFILES_SYNC_EXTERNAL_ID_MAPPING_UPDATES,
    PROFILES_SYNC_PROFILE_TRAITS_UPDATES,
    PROFILES_SYNC_USER_TRAITS,
    PROFILES_SYNC_USER_IDENTIFIERS,
    PROFILES_SYNC_PROFILE_MERGES,
    PROFILES_SYNC_ID_GRAPH,
    PROFILES_SYNC_EXTERNAL_ID_MAPPING,
    PROFILES_SYNC_PROFILE_TRAITS,
)
