"""Every table of the lake, declared once.

Writers conform their frames to these values, README's table reference is printed from them,
and readers find here what a row is. Times are TIMESTAMPs in UTC with microseconds.
"""

from __future__ import annotations

from collections.abc import Iterable

from lake.schema import Column, Table
from lake.segment_tables import PROFILES_SYNC

IDENTIFIERS_TYPE = "array<struct<type:string,value:string>>"
#: The same where each has its `identifier_key`.
KEYED_TYPE = "array<struct<type:string,value:string,key:bigint>>"
MOMENT_TYPE = (
    "struct<received_at:timestamp,timestamp:timestamp,message_id:string,source:string,"
    "type:string,event:string>"
)
PATH_TYPE = f"array<struct<segment_id:string,identity_set:binary,moment:{MOMENT_TYPE}>>"

_MESSAGE_ID = Column(
    "message_id", "string", "The call's messageId, or `sha:` and a hash of its bytes."
)
_SET = Column(
    "identity_set", "binary", "Key of the identity set: 16 bytes of a hash of its identifiers."
)
_BATCH = Column("batch", "bigint", "The ingest batch that wrote the row.")
_OBJECT = Column("object", "string", "URI of the landing object.", personal=True)
_ETAG = Column("etag", "string", "Version of the object: etag, or size and change time on disk.")
_LINE = Column("line", "bigint", "Line in the object, from 1; gz objects are counted unpacked.")
_SOURCE = Column("source", "string", "Name of the configured source.")
_TYPE = Column("type", "string", "Identifier type, such as user_id.")
_VALUE = Column("value", "string", "Normalised identifier value.", personal=True)
_PROFILE = Column(
    "profile_id", "string", "The profile: 32 hex digits, a hash of space and founder."
)
_FIRST_SEEN = Column(
    "first_seen", "timestamp", "Time of the first call, by the clock of identity.order_by."
)
_LAST_SEEN = Column(
    "last_seen", "timestamp", "Time of the last call, by the clock of identity.order_by."
)
_CALLS = Column("calls", "bigint", "Accepted calls, each counted once.")
_RUN = Column("run", "string", "The run that wrote the row.")

EVENTS = Table(
    name="events",
    about="Every accepted call, once, with its identifiers.",
    grain=("message_id",),
    writer="compact",
    audience="published",
    rebuildable=False,
    partitioned_by=("received_date",),
    columns=(
        _MESSAGE_ID,
        Column("type", "string", "identify, track, page, screen, group or alias."),
        Column("event", "string", "Name of a track call."),
        Column("name", "string", "Name of a page or screen call."),
        Column("category", "string", "Category of a page or screen call."),
        Column("user_id", "string", "userId as sent.", personal=True),
        Column("anonymous_id", "string", "anonymousId as sent.", personal=True),
        Column("group_id", "string", "groupId as sent.", personal=True),
        Column("previous_id", "string", "previousId of an alias call.", personal=True),
        Column("received_at", "timestamp", "When the call arrived; never null."),
        Column("sent_at", "timestamp", "sentAt; null where missing or unreadable."),
        Column("timestamp", "timestamp", "When it happened; null where missing or unreadable."),
        Column("original_timestamp", "timestamp", "originalTimestamp of the client's clock."),
        Column(
            "received_at_from",
            "string",
            "The field received_at was taken from: receivedAt, else sentAt, timestamp, "
            "originalTimestamp or object.",
        ),
        Column("bad_times", "int", "How many of the four times were present but unreadable."),
        Column("channel", "string", "server, browser or mobile, as sent."),
        Column("version", "string", "Version of the call's format, as sent."),
        Column("project_id", "string", "projectId as sent."),
        Column("context", "string", "`context` as its exact JSON text.", personal=True),
        Column("traits", "string", "`traits` as its exact JSON text.", personal=True),
        Column("properties", "string", "`properties` as its exact JSON text.", personal=True),
        Column("integrations", "string", "`integrations` as its exact JSON text.", personal=True),
        Column(
            "identifiers",
            IDENTIFIERS_TYPE,
            "The call's identifiers, normalised, sorted by type and value.",
            personal=True,
        ),
        Column(
            "identity_set",
            "binary",
            "Key of the identity set; null where the call has no identifier.",
        ),
        Column(
            "extraction", "string", "Hash of the extraction rules the identifiers were taken with."
        ),
        Column(
            "payload_hash", "binary", "16 bytes of a hash of the line; tells true repeats apart."
        ),
        _SOURCE,
        _BATCH,
        _OBJECT,
        _ETAG,
        _LINE,
        Column("received_date", "date", "UTC day of received_at; the partition."),
    ),
)

REJECTED_CALLS = Table(
    name="rejected_calls",
    about="Every line that was refused, with its reason.",
    grain=("object", "etag", "line"),
    writer="compact",
    audience="state",
    rebuildable=False,
    columns=(
        Column("reason", "string", "Why, in a closed vocabulary: lake/events/rejection.py."),
        Column("detail", "string", "Where in the line, in words, without a value of it."),
        Column("raw", "binary", "The line, cut at 64 KiB.", personal=True),
        Column("bytes", "bigint", "Length of the whole line."),
        _SOURCE,
        _BATCH,
        _OBJECT,
        _ETAG,
        _LINE,
    ),
)

DUPLICATE_CALLS = Table(
    name="duplicate_calls",
    about="Every readable line whose message_id another line holds in `events`.",
    grain=("object", "etag", "line"),
    writer="compact",
    audience="state",
    rebuildable=False,
    long_rows=False,
    columns=(
        _MESSAGE_ID,
        Column("received_at", "timestamp", "When this copy arrived."),
        Column("payload_differs", "boolean", "Whether its bytes differ from the accepted call's."),
        Column("payload_hash", "binary", "16 bytes of a hash of this line."),
        Column("displaced", "boolean", "Whether it stood in `events` until this batch."),
        _SOURCE,
        _BATCH,
        _OBJECT,
        _ETAG,
        _LINE,
    ),
)

INGEST_LEDGER = Table(
    name="ingest_ledger",
    about="Every landing object version that was read: lines = accepted + rejected + duplicate.",
    grain=("object", "etag"),
    writer="compact",
    audience="state",
    rebuildable=False,
    columns=(
        _SOURCE,
        _OBJECT,
        Column(
            "etag", "string", "Version of the object: the store's etag, or size and change time."
        ),
        Column("size", "bigint", "Bytes as listed."),
        Column("last_modified", "timestamp", "The object's last change as planned."),
        Column("state", "string", "read, damaged (its rest was unreadable), changed or missing."),
        Column("lines", "bigint", "Lines read; blank ones are none, an unreadable rest is one."),
        Column("accepted", "bigint", "Lines that are in events."),
        Column("rejected", "bigint", "Lines that are in rejected_calls."),
        Column("duplicate", "bigint", "Lines that are in duplicate_calls."),
        _BATCH,
    ),
)

STAGED_LINES = Table(
    name="staged_lines",
    about="What reading the planned objects gave: a row a line, and one row an object; never kept.",
    grain=("kind", "object", "etag", "line"),
    writer="compact",
    columns=(
        *EVENTS.columns,
        Column("message_key", "bigint", "64-bit hash of a call's message id."),
        Column("kind", "string", "call, rejected or object."),
        *(c for c in REJECTED_CALLS.columns if c.name in ("reason", "detail", "raw", "bytes")),
        *(
            c
            for c in INGEST_LEDGER.columns
            if c.name in ("size", "last_modified", "state", "lines")
        ),
    ),
)

IDENTITY_SETS = Table(
    name="identity_sets",
    about="Every distinct set of identifiers that one call carried.",
    grain=("identity_set",),
    writer="stitch",
    long_rows=False,
    columns=(
        _SET,
        Column("identifiers", IDENTIFIERS_TYPE, "The set's identifiers, sorted.", personal=True),
        _BATCH,
    ),
)

SIGHTINGS = Table(
    name="sightings",
    about="An identity set seen on one UTC day: partial sums, one row a batch.",
    grain=("identity_set", "day", "batch"),
    writer="stitch",
    long_rows=False,
    columns=(
        _SET,
        Column("day", "date", "UTC day, by the clock of identity.order_by."),
        _CALLS,
        Column("first", MOMENT_TYPE, "The first call of the day.", personal=True),
        Column("last", MOMENT_TYPE, "The last call of the day.", personal=True),
        _BATCH,
    ),
)

TRAIT_OBSERVATIONS = Table(
    name="trait_observations",
    about="A trait's value as told by calls of one identity set: partial sums, one row a batch.",
    grain=("identity_set", "trait", "value", "source", "batch"),
    writer="stitch",
    columns=(
        _SET,
        Column("trait", "string", "The trait's name as sent."),
        Column("value", "string", "JSON text; null says the trait was removed.", personal=True),
        _SOURCE,
        _CALLS,
        Column("first", MOMENT_TYPE, "The first call that told it.", personal=True),
        Column("last", MOMENT_TYPE, "The last call that told it.", personal=True),
        _BATCH,
    ),
)

ACTIVITY = Table(
    name="activity",
    about="What calls of one identity set add to a measure that the configuration asks for.",
    grain=("identity_set", "measure", "hour", "value", "batch"),
    writer="stitch",
    columns=(
        _SET,
        Column("measure", "string", "Hash of which calls count and what is kept of them."),
        Column("hour", "timestamp", "Begin of the UTC hour, or of the day where no window asks."),
        Column("value", "string", "A property's plain text, where values are kept.", personal=True),
        _CALLS,
        Column("total", "decimal(38,9)", "Sum of a property, where numbers are kept."),
        Column("least", "decimal(28,9)", "The least of them."),
        Column("greatest", "decimal(28,9)", "The greatest of them."),
        Column("first", MOMENT_TYPE, "The first of the calls.", personal=True),
        Column("last", MOMENT_TYPE, "The last of the calls.", personal=True),
        _BATCH,
    ),
)

ACCOUNT_OBSERVATIONS = Table(
    name="account_observations",
    about="What group calls of one identity set say of an account: partial sums, one row a batch.",
    grain=("identity_set", "group_id", "trait", "value", "source", "batch"),
    writer="stitch",
    columns=(
        Column("identity_set", "binary", "Key of the identity set; null where there is none."),
        Column("group_id", "string", "groupId as sent.", personal=True),
        Column("trait", "string", "The trait's name as sent; null for the call itself."),
        Column("value", "string", "JSON text; null says the trait was removed.", personal=True),
        _SOURCE,
        _CALLS,
        Column("first", MOMENT_TYPE, "The first call that told it.", personal=True),
        Column("last", MOMENT_TYPE, "The last call that told it.", personal=True),
        _BATCH,
    ),
)

ACCOUNT_ACTIVITY = Table(
    name="account_activity",
    about="Calls that name an account in context.groupId, by identity set and UTC day: partial "
    "sums, one row a batch.",
    grain=("identity_set", "group_id", "day", "batch"),
    writer="stitch",
    columns=(
        Column("identity_set", "binary", "Key of the identity set; null where there is none."),
        Column("group_id", "string", "context.groupId as sent.", personal=True),
        Column("day", "date", "UTC day, by the clock of identity.order_by."),
        _CALLS,
        Column("first", MOMENT_TYPE, "The first call of the day.", personal=True),
        Column("last", MOMENT_TYPE, "The last call of the day.", personal=True),
        _BATCH,
    ),
)

CONSENT_OBSERVATIONS = Table(
    name="consent_observations",
    about="What calls of one identity set say of consent: partial sums, one row a batch.",
    grain=("identity_set", "category", "given", "source", "batch"),
    writer="stitch",
    columns=(
        _SET,
        Column("category", "string", "The category, as in context.consent.categoryPreferences."),
        Column("given", "boolean", "Whether consent was given."),
        _SOURCE,
        _CALLS,
        Column("first", MOMENT_TYPE, "The first call that told it.", personal=True),
        Column("last", MOMENT_TYPE, "The last call that told it.", personal=True),
        _BATCH,
    ),
)

IDENTIFY_CALLS = Table(
    name="identify_calls",
    about="The identify calls of identity sets and what each told, for Profiles Sync.",
    grain=("message_id",),
    writer="stitch",
    columns=(
        _SET,
        _MESSAGE_ID,
        Column("received_at", "timestamp", "When the call arrived."),
        Column("timestamp", "timestamp", "When it happened; null where unknown."),
        _SOURCE,
        Column("event", "string", "As in events."),
        Column("traits", "string", "`traits` as its exact JSON text.", personal=True),
        _BATCH,
    ),
)

IDENTITIES = Table(
    name="identities",
    about="Every identifier: what it is linked to now, or why it links nothing.",
    grain=("type", "value"),
    writer="stitch",
    sorted_by=("identifier_key",),
    long_rows=False,
    columns=(
        _TYPE,
        _VALUE,
        Column("identifier_key", "bigint", "64-bit hash of type and value."),
        Column("graph_key", "bigint", "The same key, or another where two identifiers share it."),
        Column("component", "bigint", "Raw component: the smallest graph key it is connected to."),
        Column("profile_id", "string", "Its profile; null where a guard keeps it from linking."),
        Column("segment_id", "string", "The created profile it came to first."),
        Column("mapped", MOMENT_TYPE, "The call that brought it there.", personal=True),
        Column("guard", "string", "Why it links nothing (blocked, shared), else null."),
        Column(
            "contested",
            "boolean",
            "Whether a limit, a cap or an override may bind in its component.",
        ),
        Column("first", MOMENT_TYPE, "The first call that carried it.", personal=True),
        Column("last", MOMENT_TYPE, "The last call that carried it.", personal=True),
        _CALLS,
    ),
)

VIOLATIONS = Table(
    name="violations",
    about="Every rule that bound, for every set and day it bound on: what did not link, and why.",
    grain=("identity_set", "day", "type", "value", "reason"),
    writer="stitch",
    long_rows=False,
    columns=(
        _SET,
        Column("day", "date", "UTC day of the sighting, by the clock of identity.order_by."),
        _TYPE,
        _VALUE,
        Column("reason", "string", "In Segment's vocabulary; lake/identity/resolve/model.py."),
        Column("rule", "string", "The setting that bound, such as `user_id: 1 ever`."),
        Column("apart", "array<string>", "The two profiles it keeps apart; empty if just one."),
    ),
)

SHARED_VALUES = Table(
    name="shared_values",
    about="What the newest night guards as shared by too many, and the evidence, without values.",
    grain=("identifier_key", "type", "with_type"),
    writer="stitch",
    columns=(
        Column("identifier_key", "bigint", "64-bit hash of type and value, as in identities."),
        _TYPE,
        Column("masked", "string", "The value's first character and its length.", personal=True),
        Column("with_type", "string", "The type whose values are counted."),
        Column("degree", "bigint", "With how many distinct values of it calls carry the value."),
        Column("limit", "bigint", "The most that is allowed: of the configuration, or found."),
        Column("mode", "string", "limits (configured) or auto (found in the data)."),
        Column("people", "bigint", "Raw components, made without it, that it would have joined."),
        Column("setting", "string", "The line of the identity block that states these limits."),
    ),
)

SET_PROFILES = Table(
    name="set_profiles",
    about="How every event reaches its profile: join `events` on identity_set.",
    grain=("identity_set",),
    writer="stitch",
    audience="published",
    sorted_by=("identity_set",),
    long_rows=False,
    columns=(
        _SET,
        _PROFILE,
        Column(
            "segment_id",
            "string",
            "The created profile of its first call; of one that merges several, the youngest.",
        ),
    ),
)

CREATED_PROFILES = Table(
    name="created_profiles",
    about="Every profile that was ever created, and the older ones that it was merged into.",
    grain=("segment_id",),
    writer="stitch",
    audience="published",
    sorted_by=("segment_id",),
    long_rows=False,
    columns=(
        Column("segment_id", "string", "The id that the profile was created with; never reused."),
        Column("type", "string", "Identifier type of its founder."),
        Column("value", "string", "Normalised value of its founder.", personal=True),
        Column("component", "bigint", "Raw component, as in identities."),
        _PROFILE,
        Column("created_by", "binary", "The identity set that created it."),
        Column("created", MOMENT_TYPE, "The call that created it.", personal=True),
        Column("merged_into", "string", "The older one it was merged into first; null: it stands."),
        Column("merged_by", "binary", "The identity set that merged it."),
        Column("merged", MOMENT_TYPE, "The call that merged it.", personal=True),
        Column(
            "path",
            PATH_TYPE,
            "Every one it came to belong to, in time, with the call that merged them; of more than "
            "128, the first and the last.",
            personal=True,
        ),
    ),
)

PROFILES = Table(
    name="profiles",
    about="One row a customer.",
    grain=("profile_id",),
    writer="publish",
    audience="published",
    sorted_by=("profile_id",),
    columns=(
        _PROFILE,
        _FIRST_SEEN,
        _LAST_SEEN,
        Column(
            "identifiers", "map<string,array<string>>", "Values by type, sorted.", personal=True
        ),
        Column(
            "traits", "map<string,string>", "Winning trait values as plain text.", personal=True
        ),
        _CALLS,
        Column("first_source", "string", "Source of the first call."),
        Column("last_source", "string", "Source of the last call."),
    ),
)

PROFILE_IDENTIFIERS = Table(
    name="profile_identifiers",
    about="Every linking identifier and the one profile it belongs to.",
    grain=("type", "value"),
    writer="publish",
    audience="published",
    sorted_by=("identifier_key",),
    long_rows=False,
    columns=(
        _TYPE,
        _VALUE,
        _PROFILE,
        _FIRST_SEEN,
        _LAST_SEEN,
        _CALLS,
        Column("first_message_id", "string", "The first call that carried it."),
        Column("first_source", "string", "Source of that call."),
        Column("identifier_key", "bigint", "64-bit hash of type and value; rows are sorted by it."),
    ),
)

PROFILE_TRAITS = Table(
    name="profile_traits",
    about="The winning value of every trait, and the call it came from.",
    grain=("profile_id", "trait"),
    writer="publish",
    audience="published",
    sorted_by=("profile_id", "trait"),
    columns=(
        _PROFILE,
        Column("trait", "string", "The trait's name: as declared, else as sent."),
        Column("value", "string", "JSON text of the winning value.", personal=True),
        _MESSAGE_ID,
        _SOURCE,
        Column("received_at", "timestamp", "When the winning call arrived."),
        Column("timestamp", "timestamp", "When it happened by its own clock."),
        Column("rule", "string", "The survivorship rule that chose it."),
    ),
)

PROFILE_TRAIT_CANDIDATES = Table(
    name="profile_trait_candidates",
    about="Every trait value that was told and is not published, and why: no value is lost.",
    grain=("profile_id", "trait", "value", "source"),
    writer="publish",
    audience="published",
    sorted_by=("profile_id", "trait"),
    columns=(
        _PROFILE,
        Column("trait", "string", "The trait's name, as in profile_traits."),
        Column("value", "string", "JSON text of the value.", personal=True),
        _SOURCE,
        Column(
            "reason",
            "string",
            "older, later, less_frequent, shorter, lower, higher (than the winner), lesser_source, "
            "removed (by a null), empty, expired, not_comparable, or agrees: another source told "
            "the same.",
        ),
        Column("rule", "string", "The survivorship rule that decided."),
        _CALLS,
        _FIRST_SEEN,
        _LAST_SEEN,
        Column("message_id", "string", "The last call that told it."),
    ),
)

_ACTIVE = (
    Column("active_days", "bigint", "UTC days with such a call."),
    Column("first_active", "timestamp", "Time of the first such call; null if there is none."),
    Column("last_active", "timestamp", "Time of the last such call; null if there is none."),
)

AUDIENCE_MEMBERS = Table(
    name="audience_members",
    about="Who is in an audience, and who was: when each entered and left, by publication.",
    grain=("audience", "profile_id", "entered"),
    writer="publish",
    audience="published",
    rebuildable=False,
    sorted_by=("audience", "profile_id"),
    columns=(
        Column("audience", "string", "Name of the audience."),
        _PROFILE,
        Column("entered", "bigint", "The publication that shows the profile in it first."),
        Column("entered_at", "timestamp", "When that was, by `as_of` of its run."),
        Column("exited", "bigint", "The publication that no longer does; null while it is in."),
        Column("exited_at", "timestamp", "When that was."),
    ),
)

ACCOUNTS = Table(
    name="accounts",
    about="One row an account: every group id that a group call carried.",
    grain=("group_id",),
    writer="publish",
    audience="published",
    sorted_by=("group_id",),
    columns=(
        Column("group_id", "string", "groupId as sent.", personal=True),
        _FIRST_SEEN,
        _LAST_SEEN,
        Column("traits", "map<string,string>", "Latest trait values as text.", personal=True),
        Column("calls", "bigint", "Group calls with its id."),
        Column("members", "bigint", "Profiles that are its members."),
        Column("activity", "bigint", "Calls of other types with its id in context.groupId."),
        *_ACTIVE,
    ),
)

ACCOUNT_MEMBERS = Table(
    name="account_members",
    about="Which profiles made group calls of an account; many to many.",
    grain=("group_id", "profile_id"),
    writer="publish",
    audience="published",
    sorted_by=("group_id", "profile_id"),
    columns=(
        Column("group_id", "string", "groupId as sent.", personal=True),
        _PROFILE,
        _FIRST_SEEN,
        _LAST_SEEN,
        Column("calls", "bigint", "Group calls of the profile with this id."),
        Column("activity", "bigint", "Its calls of other types with this id in context.groupId."),
        *_ACTIVE,
    ),
)

PROFILE_CONSENTS = Table(
    name="profile_consents",
    about="What a profile said of each category of consent last, or that its parts disagree.",
    grain=("profile_id", "category"),
    writer="publish",
    audience="published",
    sorted_by=("profile_id", "category"),
    columns=(
        _PROFILE,
        Column("category", "string", "The category, as in context.consent.categoryPreferences."),
        Column("consent", "string", "granted, denied, or conflict: its parts said both."),
        Column("message_id", "string", "The call with the last word on it."),
        _SOURCE,
        Column("received_at", "timestamp", "When that call arrived."),
        Column("timestamp", "timestamp", "When it happened by its own clock."),
    ),
)

PROFILES_CONSENTED = Table(
    name="profiles_consented",
    about="Who may be used for a category: join `profiles` on profile_id.",
    grain=("category", "profile_id"),
    writer="publish",
    audience="published",
    sorted_by=("category", "profile_id"),
    columns=(Column("category", "string", "A category of consent that was granted."), _PROFILE),
)

PROFILE_REDIRECTS = Table(
    name="profile_redirects",
    about="Every profile_id ever published and no longer current, and where it went; no chains.",
    grain=("old_profile_id",),
    writer="publish",
    audience="published",
    rebuildable=False,
    sorted_by=("old_profile_id",),
    long_rows=False,
    columns=(
        Column("old_profile_id", "string", "The id that is no longer current."),
        Column(
            "profile_id", "string", "The current profile that took it in; null if there is none."
        ),
        Column("outcome", "string", "merged, split (its parts are on several) or retired."),
    ),
)

IDENTITY_CHANGES = Table(
    name="identity_changes",
    about="What became of profiles at each publication.",
    grain=("publication", "profile_id", "change"),
    writer="publish",
    audience="published",
    rebuildable=False,
    long_rows=False,
    columns=(
        Column("publication", "bigint", "The publication that shows the change first."),
        _PROFILE,
        Column("change", "string", "born, grown, merged, split, moved or retired."),
        Column("others", "array<string>", "The profiles it went to or took from, sorted."),
        Column("identifiers", "bigint", "How many identifiers the change is about."),
        Column("cause", "string", "calls, or rules where no new identity set is behind it."),
        Column("cause_set", "binary", "An identity set, new in this publication, behind it."),
    ),
)

IDENTITY_HISTORY = Table(
    name="identity_history",
    about="Which profile each identifier belonged to, publication by publication.",
    grain=("type", "value", "from_publication"),
    writer="publish",
    audience="published",
    rebuildable=False,
    sorted_by=("identifier_key",),
    long_rows=False,
    columns=(
        _TYPE,
        _VALUE,
        _PROFILE,
        Column("from_publication", "bigint", "The first publication that showed it there."),
        Column("valid_from", "timestamp", "The date of that publication."),
        Column("until_publication", "bigint", "The first that did not; null: it is there now."),
        Column("valid_until", "timestamp", "The date of that publication; null: it is there now."),
        Column("identifier_key", "bigint", "64-bit hash of type and value; rows are sorted by it."),
    ),
)

PUBLICATIONS = Table(
    name="publications",
    about="What each publication shows: one row a published table, all in one commit.",
    grain=("publication", "table"),
    writer="publish",
    audience="control",
    rebuildable=False,
    columns=(
        Column("publication", "bigint", "Number of the publication, from 1."),
        Column("published_at", "timestamp", "`as_of` of the run."),
        Column("table", "string", "Name of the published table."),
        Column("path", "string", "Its path, relative to the lake's root."),
        Column("version", "bigint", "Its Delta version; pin it when reading."),
        Column("rows", "bigint", "Its rows."),
        _RUN,
    ),
)

EXPECTATION_RESULTS = Table(
    name="expectation_results",
    about="What the quality gate found in each candidate table; counts, never values.",
    grain=("run", "table", "expectation"),
    writer="publish",
    audience="control",
    rebuildable=False,
    columns=(
        _RUN,
        Column("table", "string", "The candidate table."),
        Column("expectation", "string", "The expectation with its column, as one phrase."),
        Column("severity", "string", "block or warn."),
        Column("success", "boolean", "Whether it held."),
        Column("observed", "string", "The observed figure, where it is a number."),
        Column("unexpected", "bigint", "Rows that broke it, where it counts rows."),
    ),
)

RUNS = Table(
    name="runs",
    about="One row a finished run.",
    grain=("run",),
    writer="run",
    audience="control",
    rebuildable=False,
    columns=(
        _RUN,
        Column("as_of", "timestamp", "The time the run was planned for."),
        Column("status", "string", "published, noop or blocked."),
        Column("publication", "bigint", "The publication it made, else the one in place."),
        Column("batch", "bigint", "The ingest batch it read, else null."),
        Column("lines", "bigint", "Lines read."),
        Column("accepted", "bigint", "Lines accepted."),
        Column("rejected", "bigint", "Lines rejected."),
        Column("duplicate", "bigint", "Lines that repeat a call."),
        Column("sets", "bigint", "Identity sets in the lake."),
        Column("profiles", "bigint", "Profiles published."),
        Column("seconds", "double", "Wall time of the run."),
        Column("code", "string", "Version of the product."),
        Column("config", "string", "Hash of the configuration."),
    ),
)

TABLES: tuple[Table, ...] = (
    EVENTS,
    REJECTED_CALLS,
    DUPLICATE_CALLS,
    INGEST_LEDGER,
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
    SET_PROFILES,
    CREATED_PROFILES,
    PROFILES,
    PROFILE_IDENTIFIERS,
    PROFILE_TRAITS,
    PROFILE_TRAIT_CANDIDATES,
    AUDIENCE_MEMBERS,
    ACCOUNTS,
    ACCOUNT_MEMBERS,
    PROFILE_CONSENTS,
    PROFILES_CONSENTED,
    PROFILE_REDIRECTS,
    IDENTITY_CHANGES,
    IDENTITY_HISTORY,
    *PROFILES_SYNC,
    PUBLICATIONS,
    EXPECTATION_RESULTS,
    RUNS,
)

#: What every publication shows; PROFILES_SYNC belongs to it where it is enabled.
PUBLISHED: tuple[Table, ...] = tuple(
    t for t in TABLES if t.audience == "published" and t not in PROFILES_SYNC
)

#: Published rows of profiles, which a publication replaces by profile_id.
PROFILE_TABLES = (
    PROFILES,
    PROFILE_IDENTIFIERS,
    PROFILE_TRAITS,
    PROFILE_TRAIT_CANDIDATES,
    AUDIENCE_MEMBERS,
    ACCOUNT_MEMBERS,
    PROFILE_CONSENTS,
    PROFILES_CONSENTED,
)


def table(name: str) -> Table:
    """The declared table of this name or path; KeyError if there is none."""
    return {key: t for t in TABLES for key in (t.path, t.name)}[name]


def dictionary(tables: Iterable[Table]) -> str:
    """A page that explains tables that lie in one folder."""
    return (
        "# Tables\n\nDelta tables of one publication: `_control/current.json` names their "
        f"versions. Times are UTC.\n\n{reference(tables)}\n"
    )


def reference(tables: Iterable[Table] = TABLES) -> str:
    """What the tables are and what their columns say, as Markdown."""
    parts = []
    for t in tables:
        rebuild = "may be rebuilt from `events`" if t.rebuildable else "cannot be rebuilt"
        head = f"#### `{t.path}`\n\n{t.about}"
        facts = (
            f"One row per {', '.join(f'`{g}`' for g in t.grain)} · {t.audience} · "
            f"written by {t.writer} · {rebuild}"
            + (f" · partitioned by `{', '.join(t.partitioned_by)}`" if t.partitioned_by else "")
        )
        rows = "\n".join(f"| `{c.name}` | `{c.type}` | {c.about} |" for c in t.columns)
        parts.append(
            f"{head}\n\n{facts}\n\n| column | type | what it says |\n|---|---|---|\n{rows}"
        )
    return "\n\n".join(parts)
