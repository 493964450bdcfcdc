"""The nine tables of Segment's Profiles Sync, from the merge history and the facts.

    created_profiles ─► id_graph_updates · id_graph · profile_merges
    identities ───────► external_id_mapping_updates · external_id_mapping · user_identifiers
    profile_traits ───► user_traits · profile_traits
    identify_calls ───► profile_traits_updates

Columns and their meaning are in `lake.segment_tables`. A row is dated by the call that made it:
``timestamp`` is when that happened, ``received_at`` when it arrived, and ``seq`` sorts rows in the
order of their calls, by the clock that orders calls here.

In the wide tables a trait's column is its name in snake_case, as in Segment's warehouses; values
are plain text (of an object or an array, its JSON). Where a trait is spelt in two ways that give
one name, the value told last counts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
from pyspark.sql import functions as F

from lake.clock import moment, order_of
from lake.profiles.values import plain_text
from lake.schema import arrow_type
from lake.tables import MOMENT_TYPE

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_SOURCE = ("id", "name", "slug")
_CALL = ("message_id", "received_at", "timestamp", "source", "event")
_traits = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)

_FOLDED = f"segment_id string, moment {MOMENT_TYPE}, traits map<string,string>"
_ARROW = pa.schema(
    [
        ("segment_id", pa.string()),
        ("moment", arrow_type(MOMENT_TYPE)),
        ("traits", pa.map_(pa.string(), pa.string())),
    ]
)
_ROWS = 10_000

#: So many columns there are at most; the other traits are in `user_traits` alone.
MOST_COLUMNS = 1000


def id_graph_updates(created: DataFrame, clock: str) -> DataFrame:
    """A row for each profile at its creation, and for each that comes under another at a merge.

    In: ``created_profiles``; also in the next two. A merge gives rows to the younger profile and
    to all that had come under it.
    """
    birth = F.struct(F.col("segment_id"), F.col("created").alias("moment"))
    merges = F.transform("path", lambda s: F.struct(s["segment_id"], s["moment"]))
    steps = F.concat(F.array(birth), merges)
    return created.select("segment_id", F.explode(steps).alias("step")).select(
        "segment_id",
        F.col("step.segment_id").alias("canonical_segment_id"),
        F.col("step.moment.type").alias("triggering_event_type"),
        F.col("step.moment.message_id").alias("triggering_event_id"),
        *_times("step.moment", clock),
    )


def id_graph(created: DataFrame, clock: str) -> DataFrame:
    """Where each created profile belongs now, dated by the call that made it so."""
    return (
        created.withColumn("last", _last_step())
        .select("segment_id", F.col("profile_id").alias("canonical_segment_id"), "last")
        .select(
            "segment_id",
            "canonical_segment_id",
            F.col("last.received_at").alias("etl_ts"),
            *_times("last", clock),
        )
        .drop("received_at")
    )


def profile_merges(created: DataFrame, clock: str) -> DataFrame:
    """The same by the columns of ``profile_merges``."""
    return created.withColumn("last", _last_step()).select(
        F.col("profile_id").alias("canonical_segment_id"), "segment_id", *_times("last", clock)
    )


def external_id_mapping_updates(identities: DataFrame, clock: str) -> DataFrame:
    """A row for each identifier, with the call that brought it to a profile.

    In: ``identities``; also in the next two. Those that link nothing have no row.
    """
    own = F.sha2(F.concat_ws("\0", _hash(), F.col("mapped.message_id")), 256)
    return _linking(identities).select(
        *_external_id(),
        F.substring(own, 1, 32).alias("id"),
        "segment_id",
        F.col("mapped.message_id").alias("triggering_event_id"),
        F.col("mapped.type").alias("triggering_event_type"),
        F.col("mapped.event").alias("triggering_event_name"),
        *[F.col("mapped.source").alias(f"triggering_event_source_{k}") for k in _SOURCE],
        *_times("mapped", clock),
        F.lit("CREATED").alias("__operation"),
    )


def external_id_mapping(identities: DataFrame) -> DataFrame:
    """The profile of each identifier now, dated by the call that brought it to one."""
    return _linking(identities).select(
        F.col("profile_id").alias("canonical_segment_id"),
        *_external_id(),
        _happened("mapped").alias("timestamp"),
        F.col("mapped.received_at").alias("uuid_ts"),
    )


def user_identifiers(identities: DataFrame, clock: str) -> DataFrame:
    """The identifiers of each profile, dated by the call that brought them to one."""
    return _linking(identities).select(
        F.col("profile_id").alias("canonical_segment_id"),
        "type",
        "value",
        *_times("mapped", clock),
    )


def user_traits(profile_traits: DataFrame, clock: str) -> DataFrame:
    """The traits of each profile, dated by the call that told the value. In: ours, with winners."""
    return profile_traits.select(
        F.col("profile_id").alias("canonical_segment_id"),
        F.col("trait").alias("name"),
        plain_text(F.col("value")).alias("value"),
        *_times("", clock),
    )


def column_names(
    calls: Mapping[str, int], taken: Sequence[str], most: int = MOST_COLUMNS
) -> dict[str, str]:
    """The column in the wide tables of each trait that has one; ``taken`` are the names of other
    columns there, ``calls`` how many calls told each trait.

    Of more columns than ``most`` those have a place that most calls told, so the columns that
    there are decide which traits are in them.

    >>> column_names({"firstName": 1, "first_name": 2, "1st": 2, "seq": 1, "age": 1}, ["seq"], 3)
    {'firstName': 'first_name', 'first_name': 'first_name', '1st': '_1st', 'age': 'age'}
    >>> column_names({"seq": 1}, ["seq"])
    {'seq': 'trait_seq'}
    """
    names = {trait: _column_name(trait, taken) for trait in calls}
    told = Counter[str]()
    for trait, column in names.items():
        told[column] += calls[trait]
    kept = set(sorted(told, key=lambda column: (-told[column], column))[:most])
    return {trait: column for trait, column in names.items() if column in kept}


def _column_name(trait: str, taken: Sequence[str]) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", trait)
    name = re.sub(r"[^a-z0-9]+", "_", words.lower()) or "_"
    if name[0].isdigit():
        name = f"_{name}"
    return f"trait_{name}" if name in taken else name


def wide_traits(
    profile_traits: DataFrame, created: DataFrame, names: DataFrame, columns: Sequence[str]
) -> DataFrame:
    """The wide ``profile_traits``: each created profile, with its traits where it stands.

    In: ours, with the winning values; ``created_profiles``; ``names``: (trait, column) of the
    traits that have a column; ``columns``: all of those.
    """
    value = F.struct("column", plain_text(F.col("value")).alias("value"))
    newest = F.struct("received_at", "timestamp", "message_id", "trait")
    held = (
        profile_traits.join(F.broadcast(names), "trait")
        .groupBy("profile_id", "column")
        .agg(F.max_by(value, newest).alias("entry"))
        .groupBy(F.col("profile_id").alias("segment_id"))
        .agg(F.map_from_entries(F.collect_list("entry")).alias("traits"))
    )
    gone = F.col("merged_into").isNotNull()
    return created.join(held, "segment_id", "left").select(
        F.col("segment_id").alias("canonical_segment_id"),
        F.when(gone, F.col("profile_id")).alias("merged_to"),
        *_wide(columns),
    )


def identify_calls(events: DataFrame, _clock: str) -> DataFrame:
    """The calls that tell traits of a person: the columns of ``identify_calls``."""
    own = events.where("type = 'identify' and identity_set is not null")
    return own.select("identity_set", *_CALL, "traits", "batch")


def traits_updates(
    identify_calls: DataFrame,
    set_profiles: DataFrame,
    created: DataFrame,
    names: Mapping[str, str],
    clock: str,
) -> DataFrame:
    """The wide ``profile_traits_updates``, from the identify calls and the merges of profiles.

    In: ``identify_calls``, and what `column_names` gives. A call that merges and tells traits gives
    one row: the profile that is left, with both. The calls are folded in order, a profile at a
    time, by an Arrow kernel; a task holds the traits of one profile.
    """
    missing = F.lit(None).cast("string")
    own = identify_calls.join(set_profiles, "identity_set").withColumn("type", F.lit("identify"))
    calls = own.select(
        "profile_id", moment().alias("moment"), "segment_id", "traits", missing.alias("into")
    )
    merges = created.where("merged_into is not null").select(
        "profile_id",
        F.col("merged").alias("moment"),
        "segment_id",
        F.lit(None).cast("string").alias("traits"),
        F.col("merged_into").alias("into"),
    )
    # Of one call its merges come first: false sorts before true.
    ordered = (
        calls.unionByName(merges)
        .withColumns({"seq": _seq("moment", clock), "tells": F.col("into").isNull()})
        .repartition("profile_id")
        .sortWithinPartitions("profile_id", "seq", "tells", "segment_id")
    )
    told = ordered.mapInArrow(partial(_folded, dict(names)), _FOLDED)
    return told.select(
        "segment_id",
        F.col("moment.type").alias("triggering_event_type"),
        F.col("moment.message_id").alias("triggering_event_id"),
        F.col("moment.event").alias("triggering_event_name"),
        *[F.col("moment.source").alias(f"triggering_event_source_{k}") for k in _SOURCE],
        *_times("moment", clock),
        *_wide(sorted(set(names.values()))),
    )


def _folded(names: dict[str, str], batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """A row for each call that told traits or merged: the profile it leaves, and its traits."""
    whose: str | None = None
    state = _State(names)
    done: list[tuple[Any, ...]] = []
    for (profile, _), call in groupby(_rows(batches), key=itemgetter(0, 1)):
        if profile != whose:
            whose, state = profile, _State(names)
        for _, _, segment, into, text, when in call:
            owner = state.merge(segment, into) if into else state.tell(segment, text)
            row = owner, when, state.shown(owner)
        done.append(row)
        if len(done) >= _ROWS:
            yield _batch(done)
            done = []
    if done:
        yield _batch(done)


def _rows(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[Any, ...]]:
    names = ("profile_id", "seq", "segment_id", "into", "traits", "moment")
    for batch in batches:
        yield from zip(*(batch[name].to_pylist() for name in names), strict=True)


def _batch(rows: list[tuple[Any, ...]]) -> pa.RecordBatch:
    arrays = [pa.array(c, f.type) for c, f in zip(zip(*rows, strict=True), _ARROW, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_ARROW)


class _State:
    """The traits of one profile's parts while its calls are folded."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names
        self.under: dict[str, str] = {}
        #: Column → (place of the call that told it, plain text; None: removed), by part.
        self.traits: dict[str, dict[str, tuple[int, str | None]]] = {}
        self.calls = 0

    def root(self, segment: str) -> str:
        """The part that this one belongs to by now."""
        while segment in self.under:
            segment = self.under[segment]
        return segment

    def merge(self, segment: str, into: str) -> str:
        """Let a part go into an older one: of each trait the value told last stays."""
        root = self.root(into)
        kept = self.traits.setdefault(root, {})
        for name, told in self.traits.pop(segment, {}).items():
            kept[name] = max(told, kept.get(name, told), key=itemgetter(0))
        self.under[segment] = root
        return root

    def tell(self, segment: str, text: str | None) -> str:
        """Take in the traits of a call."""
        self.calls += 1
        root = self.root(segment)
        own = self.traits.setdefault(root, {})
        for name, raw in (_traits.decode(text) if text and text[0] == "{" else {}).items():
            if name in self.names:
                own[self.names[name]] = self.calls, _plain(bytes(raw))
        return root

    def shown(self, segment: str) -> list[tuple[str, str]]:
        """The traits of a part, those that were removed left out."""
        told = self.traits.get(segment, {}).items()
        return [(name, value) for name, (_, value) in told if value is not None]


def _plain(raw: bytes) -> str | None:
    """A JSON value as `plain_text` has it; None where it is null."""
    if raw == b"null":
        return None
    return _text.decode(raw) if raw.startswith(b'"') else raw.decode()


def _wide(columns: Sequence[str]) -> list[Column]:
    """A map ``traits`` as a column an entry."""
    return [F.try_element_at("traits", F.lit(name)).alias(name) for name in columns]


def _linking(identities: DataFrame) -> DataFrame:
    return identities.where(F.col("profile_id").isNotNull())


def _hash() -> Column:
    return F.sha1(F.concat("type", "value"))


def _external_id() -> list[Column]:
    return [
        _hash().alias("external_id_hash"),
        F.col("type").alias("external_id_type"),
        F.col("value").alias("external_id_value"),
    ]


def _last_step() -> Column:
    """The call that brought a created profile to where it belongs now."""
    return F.coalesce(F.try_element_at("path", F.lit(-1))["moment"], F.col("created"))


def _times(moment: str, clock: str) -> list[Column]:
    """What a row is dated by; ``moment`` names a struct, or "" the frame's own columns."""
    received = F.col(f"{moment}.received_at" if moment else "received_at")
    return [
        _happened(moment).alias("timestamp"),
        received.alias("received_at"),
        received.alias("uuid_ts"),
        _seq(moment, clock).alias("seq"),
    ]


def _happened(moment: str) -> Column:
    begin = f"{moment}." if moment else ""
    return F.coalesce(F.col(f"{begin}timestamp"), F.col(f"{begin}received_at"))


def _seq(moment: str, clock: str) -> Column:
    """The total order of calls as text that sorts."""
    begin = f"{moment}." if moment else ""
    order = order_of(begin, clock)
    digits = [F.date_format(order[name], "yyyyMMddHHmmssSSSSSS") for name in ("a", "b")]
    return F.concat_ws("-", *digits, order["message_id"])
