"""From identity sets to profiles: guards, links, raw components, and who is one person.

    sets ─► identifiers ─► guards ─► links ─► edges ─► components ─► profiles

Every function takes frames and gives a frame; the job that calls them says what is stored where.
A *graph key* is an identifier's 64-bit key, unless two identifiers share it: then each gets a
key of its own, because keys come from clients, who can craft a pair that collides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import functions as F

from lake import sums
from lake.frames import Materialised, columns_of, held, unchanged
from lake.identity.components import BROADCAST_ROWS, COMPONENT
from lake.identity.conflicts import CREATED, IDENTIFIER, SET
from lake.identity.guards import REASONS
from lake.identity.ids import identifier_key, identifier_key_column, keys_of, with_keys
from lake.ordered import ascending
from lake.packing import exchanged, gathered
from lake.schema import arrow_schema, ddl_of
from lake.tables import CREATED_PROFILES, IDENTITIES, KEYED_TYPE, MOMENT_TYPE, SET_PROFILES

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from lake.frames import Reader, Rows, WorkerRows
    from lake.identity.resolve.model import Pair
    from lake.sums import Numbers


#: What tells identifiers apart, and the key that follows from it.
KEY = ("type", "value", "identifier_key")
#: The columns of `set_totals`.
SET_TOTALS = (
    f"identity_set binary, calls bigint, first {MOMENT_TYPE}, last {MOMENT_TYPE}, "
    f"identifiers {KEYED_TYPE}"
)


def set_totals(identity_sets: DataFrame, sightings: DataFrame, clock: str) -> WorkerRows:
    """One row a set that was sighted: (identity_set, calls, first, last, identifiers), over all
    days; the identifiers with their keys. Both come to it in one shuffle."""
    own = identity_sets.select("identity_set", "identifiers")
    told = sightings.select("identity_set", *sums.SUMS)
    both = told.unionByName(own, allowMissingColumns=True)
    totals = sums.added_up(both, ["identity_set"], clock, {"identifiers": sums.SAME})
    return totals.then(_complete, SET_TOTALS)


def _complete(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for every in batches:
        rows = every.filter(pc.and_(every["first"].is_valid(), every["identifiers"].is_valid()))
        yield keyed_sets(rows)


def keyed_sets(sets: pa.RecordBatch) -> pa.RecordBatch:
    """The sets, their identifiers with keys, in a worker."""
    place = sets.schema.get_field_index("identifiers")
    return sets.set_column(place, "identifiers", with_keys(sets["identifiers"]))


def keyed() -> Column:
    """A set's identifiers with their keys: array of (type, value, key)."""
    return F.transform(
        "identifiers",
        lambda i: F.struct(
            i["type"].alias("type"),
            i["value"].alias("value"),
            identifier_key_column(i["type"], i["value"]).alias("key"),
        ),
    )


def without_keys() -> Column:
    """A set's identifiers as they are kept: array of (type, value)."""
    return F.transform(
        "identifiers",
        lambda i: F.struct(i["type"].alias("type"), i["value"].alias("value")),
    )


def members(sets: DataFrame) -> DataFrame:
    """One row an identifier of a set: (identity_set, type, value)."""
    return sets.select("identity_set", F.explode("identifiers").alias("i")).select(
        "identity_set", F.col("i.type").alias("type"), F.col("i.value").alias("value")
    )


def identifiers(sets: Rows, clock: str) -> WorkerRows:
    """One row an identifier: its key, the calls that carried it, the first and the last."""
    return sums.added_up(carried(sets), KEY, clock)


#: The columns that `linked_identifiers` may give.
_LINKED = {
    **dict.fromkeys(("type", "value"), "string"),
    "identifier_key": "bigint",
    "graph_key": "bigint",
    "component": "bigint",
    "guard": "string",
    "calls": "bigint",
    **dict.fromkeys(("first", "last"), MOMENT_TYPE),
}
#: The columns of `carried`.
CARRIED = ddl_of({name: _LINKED[name] for name in (*KEY, *sums.SUMS)})


def carried(sets: Rows) -> WorkerRows:
    """One row an identifier of a set: (type, value, identifier_key, calls, first, last)."""
    return columns_of(sets, ("identifiers", *sums.SUMS)).then(_carried, CARRIED)


def _carried(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for sets in batches:
        every = sets["identifiers"].flatten()
        rows = pc.list_parent_indices(sets["identifiers"])
        own = [*every.flatten(), *(sets[name].take(rows) for name in sums.SUMS)]
        yield pa.RecordBatch.from_arrays(own, [*KEY, *sums.SUMS])


def exceptional(identifiers: Rows) -> WorkerRows:
    """How many identifiers do not link under their own key: (guarded, colliding), a row a task.

    ``guarded`` counts those with a guard; ``colliding`` is nought only where no two others share a
    key. One shuffle, of the keys alone.
    """
    own = columns_of(identifiers, ("identifier_key", "guard"))
    return gathered(own, "identifier_key", _exceptional, "guarded bigint, colliding bigint")


def _exceptional(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    keys, guarded = [np.empty(0, np.int64)], 0
    for rows in batches:
        linking = rows["identifier_key"].filter(rows["guard"].is_null())
        guarded += len(rows) - len(linking)
        keys.append(linking.to_numpy())
    every = np.sort(np.concatenate(keys))
    colliding = int(np.count_nonzero(every[1:] == every[:-1]))
    yield pa.RecordBatch.from_pydict({"guarded": [guarded], "colliding": [colliding]})


def collisions(identifiers: DataFrame) -> DataFrame:
    """Keys that two or more linking identifiers share, exactly: (identifier_key); none is usual.

    ``identifiers`` has one row an identifier, so counting rows is an exact test. Those with a
    guard have no place in the graph and collide with nobody.
    """
    shared = (
        identifiers.where("guard is null")
        .groupBy("identifier_key")
        .agg(F.count(F.lit(1)).alias("n"))
    )
    return shared.where("n > 1").select("identifier_key")


def exceptions(identifiers: DataFrame, collisions: DataFrame) -> DataFrame:
    """Identifiers that do not link under their own key: guarded ones and colliding ones.

    (type, value, identifier_key, guard, graph_key): a colliding one links under 60 bits of its
    SHA-256 instead; null for a guarded one. Few rows: everything else links as it is.
    """
    colliding = F.broadcast(collisions.select("identifier_key", F.lit(True).alias("colliding")))  # noqa: FBT003
    digest = F.sha2(F.encode(F.concat("type", F.lit("\0"), "value"), "UTF-8"), 256)
    own = F.conv(F.substring(digest, 1, 15), 16, 10).cast("bigint")
    return (
        identifiers.join(colliding, "identifier_key", "left")
        .where("guard is not null or colliding")
        .select(
            *KEY,
            "guard",
            F.when(F.col("guard").isNull(), own).alias("graph_key"),
        )
    )


def links(sets: DataFrame, exceptions: DataFrame) -> DataFrame:
    """Each set's linking identifiers: (identity_set, first, identifiers with keys).

    Sets all of whose identifiers are guarded have no row. Where there are no ``exceptions``, what
    links is what `set_totals` has.
    """
    exploded = sets.select("identity_set", "first", F.explode("identifiers").alias("i")).select(
        "identity_set", "first", "i.type", "i.value", "i.key"
    )
    key = F.coalesce("graph_key", "key").alias("key")
    return (
        exploded.join(F.broadcast(exceptions.drop("identifier_key")), ["type", "value"], "left")
        .where("guard is null")
        .groupBy("identity_set")
        .agg(
            F.min("first").alias("first"),  # the same in every row of a set
            F.array_sort(F.collect_list(F.struct("type", "value", key))).alias("identifiers"),
        )
    )


def edges(links: Materialised, pairs: Sequence[Pair] = ()) -> Materialised:
    """The graph: each set as a star around its first identifier, (a, b) of graph keys.

    A star of n identifiers connects what all n(n - 1)/2 pairs would. Its centre is linked to
    itself, so that an identifier that is always alone is in the graph too. ``pairs``, those that
    are ``always_together``, are edges too, so that both ends are resolved together: an identifier
    that no call ever carried may stand between two that were. About as many rows as are told.
    """
    keys = F.col("identifiers.key")
    frame = links.frame.select(F.element_at(keys, 1).alias("a"), F.explode(keys).alias("b"))
    more = [(identifier_key(*one), identifier_key(*other)) for one, other in pairs]
    if more:
        spark = links.frame.sparkSession
        frame = frame.unionByName(spark.createDataFrame(more, "a bigint, b bigint"))
    opened = partial(_edges, links.opened, more) if links.opened else None
    return Materialised(frame, links.rows * 3, links.files, opened)


def _edges(
    opened: Callable[..., Iterator[pa.RecordBatch]],
    more: Sequence[tuple[int, int]],
    batches: Iterable[pa.RecordBatch],
    columns: Sequence[str] | None = None,  # noqa: ARG001  there are but two
) -> Iterator[pa.RecordBatch]:
    """The edges of the links in these files; those of pairs come with any, for it does not matter
    how often an edge is told."""
    ends = np.array(more, np.int64).reshape(-1, 2)
    yield pa.RecordBatch.from_pydict({"a": ends[:, 0], "b": ends[:, 1]})
    for sets in opened(batches, columns=["identifiers"]):
        hubs, keys, sizes = _stars(sets["identifiers"])
        yield pa.RecordBatch.from_pydict({"a": np.repeat(hubs, sizes), "b": keys})


def _stars(linking: pa.ListArray) -> tuple[Numbers, Numbers, Numbers]:
    """The key of each set's first identifier, those of all identifiers, and how many of these each
    set has."""
    sizes = pc.list_value_length(linking).to_numpy()
    keys = linking.flatten().field("key").to_numpy()
    return keys[np.cumsum(sizes) - sizes], keys, sizes


#: The columns of `set_components`.
COMPONENT_SETS = f"identity_set binary, first {MOMENT_TYPE}, linking {KEYED_TYPE}, component bigint"
_COMPONENT = arrow_schema(COMPONENT)


def set_components(links: Materialised, components: Materialised) -> WorkerRows:
    """Each linking set with its raw component: (identity_set, first, linking, component).

    Each worker holds all components where they are not many; else Spark joins them.
    """
    if components.rows <= BROADCAST_ROWS:
        needed = ("identity_set", "first", "identifiers")
        return links.through(partial(_in_components, components.reader()), COMPONENT_SETS, needed)
    linking = F.col("identifiers").alias("linking")
    hub = F.element_at("identifiers.key", 1)
    joined = links.frame.join(components.frame, hub == F.col("node"))
    return unchanged(joined.select("identity_set", "first", linking, "component"))


def _in_components(
    components: Reader, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    known = _Components.of_all(components)
    for sets in batches:
        hubs, _, _ = _stars(sets["identifiers"])
        told = known.of(hubs)
        columns = [sets["identity_set"], sets["first"], sets["identifiers"], told]
        names = ["identity_set", "first", "linking", "component"]
        rows = pa.RecordBatch.from_arrays(columns, names)
        yield rows.filter(told.is_valid())


class _Components(NamedTuple):
    """Raw components as a worker holds them: nodes in order, and the component of each."""

    nodes: Numbers
    components: pa.Array

    @classmethod
    def of_all(cls, reader: Reader) -> _Components:
        """All that are stored."""
        known = held(reader, _COMPONENT).sort_by("node").combine_chunks()
        return cls(known["node"].to_numpy(), known["component"].chunk(0))

    def of(self, keys: Numbers) -> pa.Array:
        """The component of each key; null of one that is no node."""
        if not len(self.nodes):
            return pa.nulls(len(keys), pa.int64())
        place = np.minimum(np.searchsorted(self.nodes, keys), len(self.nodes) - 1)
        return self.components.take(pa.array(place, mask=self.nodes[place] != keys))


def of_components(sets: WorkerRows, some: Materialised, *, others: bool = False) -> WorkerRows:
    """Of the rows those of ``some`` components (component), which each worker holds, or else those
    of all ``others``."""
    return sets.then(partial(_of_components, some.reader(), others), sets.schema)


def _of_components(
    some: Reader,
    others: bool,  # noqa: FBT001
    batches: Iterable[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    named = _named(some)
    for sets in batches:
        yield sets.filter(pa.array(np.isin(sets["component"], named, invert=others)))


def _named(some: Reader) -> Numbers:
    """The components that are named by stored rows (component)."""
    return np.concatenate([np.empty(0, np.int64), *(own["component"] for own in some())])


def linked_identifiers(
    identifiers: Rows,
    exceptions: Materialised | None,
    components: Materialised,
    more: Sequence[str] = (),
) -> WorkerRows:
    """The identifiers with their ``graph_key`` and raw ``component``; the latter null where a
    guard keeps one from linking: (type, value, identifier_key, guard, graph_key, component).

    ``more``: which of calls, first and last are told too. Each worker holds all components where
    they are not many; else Spark joins them. It holds the `exceptions`, which are few.
    """
    own = (*KEY, "guard", *more)
    told = {name: _LINKED[name] for name in (*own, "graph_key", "component")}
    keyed = {name: kind for name, kind in told.items() if name != "component"}
    exceptional = exceptions.reader() if exceptions else None
    rows = columns_of(identifiers, own).then(partial(_with_graph_key, exceptional), ddl_of(keyed))
    if components.rows <= BROADCAST_ROWS:
        return rows.then(partial(_with_component, components.reader()), ddl_of(told))
    unguarded = (F.col("graph_key") == F.col("node")) & F.col("guard").isNull()
    return unchanged(rows.as_frame().join(components.frame, unguarded, "left").select(*told))


def _with_graph_key(
    exceptions: Reader | None, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    others: dict[tuple[str, str], int] = {}
    suspected = np.empty(0, np.int64)
    for known in exceptions() if exceptions else ():
        exceptional = known.filter(known["graph_key"].is_valid())
        suspected = np.append(suspected, exceptional["identifier_key"])
        names = zip(*(exceptional[name].to_pylist() for name in ("type", "value")), strict=True)
        others |= zip(names, exceptional["graph_key"].to_pylist(), strict=True)
    for rows in batches:
        keys = rows["identifier_key"].to_numpy().copy()
        # A client who crafts a key that is another's shares it with whoever has it by right.
        for row in np.flatnonzero(np.isin(keys, suspected)).tolist():
            name = rows["type"][row].as_py(), rows["value"][row].as_py()
            keys[row] = others.get(name, keys[row])
        yield rows.append_column("graph_key", pa.array(keys))


def _with_component(
    components: Reader, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    known = _Components.of_all(components)
    for rows in batches:
        told = known.of(rows["graph_key"].to_numpy())
        linking = pc.if_else(rows["guard"].is_null(), told, pa.scalar(None, pa.int64()))
        yield rows.append_column("component", linking)


#: Of what is resolved, the profile of each identifier.
_OWNED = {
    **{name: _LINKED[name] for name in KEY},
    **dict.fromkeys(("profile_id", "segment_id"), "string"),
    "mapped": MOMENT_TYPE,
}


def identities(
    linked: WorkerRows, resolved: Materialised, contested: Materialised, ranges: int
) -> WorkerRows:
    """Every identifier with its component and profile: the columns of ``identities``, sorted, each
    of so many ranges of identifier_key by a task.

    ``linked``: `linked_identifiers`, with calls, first and last; ``resolved`` names the profiles;
    ``contested``: the components in which a rule may bind. A guarded identifier is listed with
    neither. One without totals has no row. One shuffle.
    """
    kernel = partial(_with_contested, contested.reader())
    every = linked.then(kernel, f"{linked.schema}, contested boolean")
    names = ("type", "value", "profile_id", "segment_id")
    named = ddl_of({name: _OWNED[name] for name in names} | {"moment": MOMENT_TYPE})
    owned = resolved.of_kind(IDENTIFIER, named).then(_owned, ddl_of(_OWNED))
    both = [every.as_kind("linked"), owned.as_kind("owned")]
    made = exchanged(both, "identifier_key", _with_owners, {"": IDENTITIES.ddl}, ranges)
    return replace(made.only(""), in_order=True)


def _with_contested(
    contested: Reader, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    named = _named(contested)
    for every in batches:
        rows = every.filter(every["calls"].is_valid())
        known = rows["component"].is_valid().to_numpy(zero_copy_only=False)
        own = known & np.isin(pc.fill_null(rows["component"], 0), named)
        yield rows.append_column("contested", pa.array(own))


def _owned(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for rows in batches:
        keys = keys_of(rows["type"], rows["value"])
        told = {name: rows[name] for name in rows.schema.names}
        told |= {"identifier_key": keys, "mapped": rows["moment"]}
        yield pa.RecordBatch.from_arrays([told[name] for name in _OWNED], list(_OWNED))


def _with_owners(
    rows: Iterable[tuple[str, pa.RecordBatch]],
) -> Iterator[tuple[str, pa.RecordBatch]]:
    of_kind: dict[str, list[pa.RecordBatch]] = {"linked": [], "owned": []}
    for kind, batch in rows:
        of_kind[kind].append(batch)
    if not of_kind["linked"]:
        return
    linked = ascending(
        pa.Table.from_batches(of_kind["linked"]), ["identifier_key", "type", "value"]
    )
    owned = pa.Table.from_batches(of_kind["owned"], arrow_schema(ddl_of(_OWNED)))
    # By all that tells identifiers apart, for two may have one key.
    found = _numbered(linked, "row").join(
        _numbered(owned, "place"), list(KEY), join_type="left outer", use_threads=False
    )
    owners = owned.take(found.sort_by("row")["place"])
    told = {name: linked[name] for name in linked.column_names}
    told |= {name: owners[name] for name in ("profile_id", "segment_id", "mapped")}
    made = pa.table([told[name] for name in IDENTITIES.names], list(IDENTITIES.names))
    yield from (("", batch) for batch in made.to_batches())


def _numbered(rows: pa.Table, name: str) -> pa.Table:
    """What tells the identifiers apart, and the number of each row."""
    return rows.select(KEY).append_column(name, pa.array(np.arange(len(rows))))


def set_profiles(resolved: Materialised) -> WorkerRows:
    """Which profile each set belongs to: (identity_set, profile_id, segment_id)."""
    return resolved.of_kind(SET, SET_PROFILES.ddl)


def created_profiles(resolved: Materialised) -> WorkerRows:
    """Every profile that was ever created, and the older ones it went into: the columns of
    ``created_profiles``."""
    names = ("segment_id", "type", "value", "component", "profile_id", "identity_set", "moment")
    needed = ("kind", *names, "path")
    return resolved.through(_created, CREATED_PROFILES.ddl, needed)


def _created(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for every in batches:
        rows = every.filter(pc.equal(every["kind"], CREATED))
        merges = pc.list_value_length(rows["path"]).to_numpy() > 0
        place = np.where(merges, rows["path"].offsets.to_numpy()[:-1], 0)
        first = rows["path"].values.take(pa.array(place, mask=~merges))
        told = dict(zip(rows.schema.names, rows.columns, strict=True)) | {
            "created_by": rows["identity_set"],
            "created": rows["moment"],
            "merged_into": first.field("segment_id"),
            "merged_by": first.field("identity_set"),
            "merged": first.field("moment"),
        }
        columns = [told[name] for name in CREATED_PROFILES.names]
        yield pa.RecordBatch.from_arrays(columns, list(CREATED_PROFILES.names))


def guard_violations(sets: DataFrame, exceptions: DataFrame, sightings: DataFrame) -> DataFrame:
    """A row for each day a set carried a guarded identifier: the columns of ``violations``."""
    guarded = exceptions.where("guard is not null").select("type", "value", "guard")
    carried = members(sets).join(F.broadcast(guarded), ["type", "value"])
    reasons = F.create_map(*[F.lit(x) for pair in REASONS.items() for x in pair])
    return carried.join(sightings.select("identity_set", "day").distinct(), "identity_set").select(
        "identity_set",
        "day",
        "type",
        "value",
        reasons[F.col("guard")].alias("reason"),
        F.col("guard").alias("rule"),
        F.array().cast("array<string>").alias("apart"),
    )
