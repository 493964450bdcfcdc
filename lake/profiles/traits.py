"""Traits: what identify calls said of a person.

Observations are kept per identity set, so a merge or an un-merge regroups them and recomputes
nothing from events. `context.traits` of other calls never sets a trait
(segment.com/docs/connections/spec/track), and a group call's traits belong to its account.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
from pyspark.sql import functions as F

from lake import sums

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lake.frames import WorkerRows

_told = msgspec.json.Decoder(dict[str, msgspec.Raw])


def told_traits(
    events: DataFrame, type_: str = "identify", also: tuple[str, ...] = ()
) -> DataFrame:
    """One row a trait of each call of the type; of identify calls those with an identity set.

    ``trait`` and ``value`` (its exact JSON text, null where the call removed the trait) beside
    the call's identity_set, batch, times, message_id, source, type, event and what is ``also``
    asked for. A call's ``traits`` that are no object tell nothing.
    """
    call = ["received_at", "timestamp", "message_id", "source", "type", "event"]
    kept = ["identity_set", "batch", *call, *also]
    told = events.where((F.col("type") == type_) & F.startswith("traits", F.lit("{")))
    if type_ == "identify":
        told = told.where(F.col("identity_set").isNotNull())
    told = told.select(*kept, "traits")
    text = F.lit(None).cast("string")
    schema = told.select(*kept, text.alias("trait"), text.alias("value")).schema
    return told.mapInArrow(_exploded, schema)


def added_up(observations: DataFrame, clock: str) -> WorkerRows:
    """Trait observations with the partial sums of all batches in one row, of the newest batch."""
    keys = ["identity_set", "trait", "value", "source"]
    return sums.added_up(observations, keys, clock, {"batch": "max"})


def _exploded(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    return map(exploded, batches)


def exploded(calls: pa.RecordBatch) -> pa.RecordBatch:
    """One row a trait: the calls' columns, but ``traits``, with ``trait`` and ``value`` (its exact
    JSON text, null where the call removed the trait). In: calls whose traits are an object."""
    rows: list[int] = []
    names: list[str] = []
    values: list[str | None] = []
    for row, text in enumerate(calls["traits"].to_pylist()):
        for name, raw in _told.decode(text).items():
            value = bytes(raw).decode()
            rows.append(row)
            names.append(name)
            values.append(None if value == "null" else value)
    told = calls.drop_columns(["traits"]).take(pa.array(rows, pa.int64()))
    return told.append_column("trait", pa.array(names, pa.string())).append_column(
        "value", pa.array(values, pa.string())
    )
