"""The tables people open in the morning: a profile is a `group by`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import functions as F

from lake import sums
from lake.clock import times_of
from lake.frames import columns_of
from lake.lookups import looked_up
from lake.ordered import ascending, begins
from lake.profiles.survivorship import LIST
from lake.profiles.values import plain_texts, typed_as
from lake.schema import arrow_type
from lake.tables import PROFILE_IDENTIFIERS, PROFILES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pyspark.sql import Column, DataFrame

    from lake.frames import Rows, WorkerRows
    from lake.profiles.survivorship import TraitRule


def profile_identifiers(identities: Rows, clock: str) -> WorkerRows:
    """One row a linking identifier, with its one profile: the columns of the table.

    ``clock`` is received_at or timestamp, whichever orders calls.
    """
    kept = ("type", "value", "profile_id", "calls", "identifier_key")
    rows = columns_of(identities, (*kept, "first", "last"))
    return rows.then(partial(_linking, clock, kept), PROFILE_IDENTIFIERS.ddl)


def _linking(
    clock: str, kept: tuple[str, ...], batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    for every in batches:
        rows = every.filter(every["profile_id"].is_valid())
        first, last = rows["first"], rows["last"]
        told = {name: rows[name] for name in kept} | {
            "first_seen": times_of(first, clock)[0],
            "last_seen": times_of(last, clock)[0],
            "first_message_id": first.field("message_id"),
            "first_source": first.field("source"),
        }
        yield pa.RecordBatch.from_pydict({name: told[name] for name in PROFILE_IDENTIFIERS.names})


def profiles(
    sightings: Rows,
    set_profiles: Rows,
    identifiers: Rows,
    traits: Rows,
    clock: str,
    ranges: int,
) -> WorkerRows:
    """One row a profile: when it was seen, its identifiers by type, its traits as plain text.

    In: ``sightings``, or what they add up to by set, ``set_profiles``, ``profile_identifiers``,
    ``profile_traits``; the clock that orders calls, by which ``first_seen`` and ``last_seen`` are
    told too. Out: the columns of ``profiles``, sorted, each of the ``ranges`` of profile_id by a
    task. One shuffle of all that is told: a worker puts it together, as `lake.sums` adds up.
    """
    key = "identity_set"
    seen = looked_up(sightings, (key, *sums.SUMS), set_profiles, key, ("profile_id",))
    named = columns_of(identifiers, ("profile_id", "type", "value"))
    had = columns_of(traits, ("profile_id", "trait", "value"))
    told = [
        seen.then(_seen, f"profile_id string, calls bigint, first {_TOLD}, last {_TOLD}"),
        named.then(_named, f"profile_id string, identifiers {_ENTRY}"),
        had.then(_had, f"profile_id string, traits {_ENTRY}"),
    ]
    lists = {"identifiers": sums.LISTED, "traits": sums.LISTED}
    every = sums.added_up(told, ["profile_id"], clock, lists, ranges)
    return every.then(partial(_put_together, clock), PROFILES.ddl)


#: Something of a profile: its name, and what it is.
_ENTRY: Final = "struct<name:string,value:string>"


def _named(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for rows in batches:
        yield _entry(rows, "identifiers", rows["type"], rows["value"])


def _had(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for rows in batches:
        yield _entry(rows, "traits", rows["trait"], plain_texts(rows["value"]))


def _entry(rows: pa.RecordBatch, column: str, names: pa.Array, values: pa.Array) -> pa.RecordBatch:
    entries = pa.StructArray.from_arrays([names, values], ["name", "value"])
    return pa.RecordBatch.from_arrays([rows["profile_id"], entries], ["profile_id", column])


#: Of a moment what orders it, and what a profile says of it.
_TOLD: Final = "struct<received_at:timestamp,timestamp:timestamp,message_id:string,source:string>"


def _seen(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    parts = [field.name for field in arrow_type(_TOLD)]
    for rows in batches:
        moments = [
            pa.StructArray.from_arrays([rows[moment].field(part) for part in parts], parts)
            for moment in (sums.FIRST, sums.LAST)
        ]
        own = [rows["profile_id"], rows["calls"], *moments]
        yield pa.RecordBatch.from_arrays(own, ["profile_id", *sums.SUMS])


def _put_together(clock: str, told: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows of ``profiles``, of all that is told of each; none of one not seen."""
    for batch in told:
        rows = batch.filter(batch.column("first").is_valid())
        first, last = rows.column("first"), rows.column("last")
        identifiers = _by_name(_entries(rows.column("identifiers")))
        yield pa.RecordBatch.from_pydict(
            {
                "profile_id": rows.column("profile_id"),
                "first_seen": times_of(first, clock)[0],
                "last_seen": times_of(last, clock)[0],
                "identifiers": _maps(identifiers, len(rows)),
                "traits": _maps(_entries(rows.column("traits")), len(rows)),
                "calls": rows.column("calls"),
                "first_source": first.field("source"),
                "last_source": last.field("source"),
            }
        )


def _entries(lists: pa.ListArray) -> pa.Table:
    """What is in lists of (name, value), sorted: (row, name, value)."""
    columns = [pc.list_parent_indices(lists), *lists.flatten().flatten()]
    entries = pa.table(columns, ["row", "name", "value"])
    return ascending(entries, entries.column_names)


def _by_name(entries: pa.Table) -> pa.Table:
    """The entries of each row and name as one, with a list of their values."""
    row, names, values = (column.combine_chunks() for column in entries.columns)
    starts = pa.array(begins(row, names), pa.int32())
    ends = pa.concat_arrays([starts, pa.array([len(row)], pa.int32())])
    lists = pa.ListArray.from_arrays(ends, values)
    return pa.table([row.take(starts), names.take(starts), lists], entries.column_names)


def _maps(entries: pa.Table, rows: int) -> pa.MapArray:
    """A map for each row of (row, name, value), in the order of these."""
    row, names, values = (column.combine_chunks() for column in entries.columns)
    starts = np.searchsorted(row.to_numpy(), np.arange(rows + 1)).astype(np.int32)
    return pa.MapArray.from_arrays(starts, names, values)


def with_typed_traits(profiles: DataFrame, rules: Sequence[TraitRule]) -> DataFrame:
    """The profiles with a column for each trait declared with a type, and ``bad_casts``.

    A value that is not of its type is null and counted. Of a list each member is of the type, and
    those that are not are left out and counted.
    """
    declared = [r for r in rules if r.type]
    if not declared:
        return profiles
    columns: dict[str, Column] = {}
    bad = F.lit(0)
    for rule in declared:
        assert rule.type is not None
        typed = typed_as(rule.type)
        text = F.try_element_at("traits", F.lit(rule.name))
        if rule.rule == LIST:
            texts = F.from_json(text, "array<string>")
            members = F.transform(texts, typed)
            columns[rule.column] = F.array_compact(members)
            bad += F.coalesce(F.size(texts) - F.size(columns[rule.column]), F.lit(0))
        else:
            columns[rule.column] = typed(text)
            bad += (text.isNotNull() & columns[rule.column].isNull()).cast("int")
    return profiles.withColumns({**columns, "bad_casts": bad})
