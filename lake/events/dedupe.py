"""Which of several lines with one message id is the call.

The earliest received wins, for ever: `(received_at, timestamp, payload hash)`, then the line's
place. So the answer does not depend on the order in which objects land: a line that lands later
but was received earlier takes the place of the one that stood in `events`, which is then recorded
as the duplicate it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial, reduce
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import functions as F

from lake.frames import unchanged
from lake.ordered import ascending, begins, numbers
from lake.packing import gathered
from lake.schema import ddl_of
from lake.tables import DUPLICATE_CALLS

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from lake.frames import Materialised, Storable, WorkerRows

PLACE = ("object", "etag", "line")
#: The column of staged lines that hashes their message ids; null of lines that are no call.
KEY = "message_key"
_KEPT = ("message_id", "received_at", "timestamp", "payload_hash", "source", *PLACE)
_REPEATED = "key bigint, stood boolean"


def repeated(staged: Materialised, known: DataFrame | None) -> Storable:
    """Of message ids that stand in more than one of the staged calls, or in the known events too:
    (key, stood), a 64-bit hash of the id, and whether an event has it.

    By the hash no message id is shuffled but where it may repeat, and of the known events only
    ids are read. It may name a few too many, which compete with nobody and win.
    """
    keys = staged.through(_keys, f"{KEY} bigint", [KEY])
    within = gathered(keys, KEY, _repeated, _REPEATED)
    if known is None:
        return within
    own = staged.frame.select(F.col(KEY).alias("key"))
    stood = known.select(_key().alias("key")).join(own, "key", "left_semi")
    across = stood.distinct().select("key", F.lit(True).alias("stood"))  # noqa: FBT003
    return within.as_frame().unionByName(across)


def _keys(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    return (batch.filter(batch[KEY].is_valid()) for batch in batches)


def _repeated(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The keys of a range that are there more than once; a worker holds 16 bytes a key."""
    every = [batch[KEY].to_numpy() for batch in batches]
    if every:
        keys = np.sort(np.concatenate(every))
        found = np.unique(keys[1:][keys[1:] == keys[:-1]])
        stood = np.zeros(len(found), np.bool_)
        yield pa.RecordBatch.from_pydict({"key": found, "stood": stood})


def duplicates(
    staged: Materialised, known: DataFrame | None, repeated: Materialised, batch: int
) -> WorkerRows:
    """The lines that lose against another of the same message id: rows of ``duplicate_calls``.

    ``staged`` are the lines of a ``batch``, ``known`` the events before it (None before the first),
    ``repeated`` what is told of both by the function of this name, stored. ``displaced`` says that
    the line stood in ``events`` until now. Each worker holds the repeated keys. One shuffle.
    """
    columns = dict(staged.frame.dtypes)
    own = ddl_of({name: columns[name] for name in _KEPT} | {"displaced": "boolean", KEY: "bigint"})
    lines = staged.through(partial(_competing, repeated.reader()), own, (*_KEPT, KEY))
    every = [lines]
    if known is not None:
        keys = F.broadcast(repeated.frame.where("stood").select(F.col("key").alias(KEY)))
        stood = known.select(*_KEPT, F.lit(True).alias("displaced"), _key().alias(KEY))  # noqa: FBT003
        every.append(unchanged(stood.join(keys, KEY, "left_semi")))
    return gathered(every, KEY, partial(_lost, batch), DUPLICATE_CALLS.ddl)


def _lost(batch: int, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Of lines of which all that compete are here, those that lose."""
    every = list(filter(len, batches))
    if not every:
        return
    rows = pa.Table.from_batches(every)
    rows = rows.append_column("tie", pc.coalesce(rows["timestamp"], rows["received_at"]))
    rows = ascending(rows, ["message_id", "received_at", "tie", "payload_hash", *PLACE])
    starts = begins(rows["message_id"])
    winners = rows.take(pa.array(starts[numbers(starts, len(rows))]))
    others = [pc.not_equal(rows[name], winners[name]) for name in (*PLACE, "payload_hash")]
    told = {name: rows[name] for name in rows.column_names} | {
        "payload_differs": others.pop(),
        "batch": pa.repeat(batch, len(rows)),
    }
    lost = pa.table(told).filter(reduce(pc.or_, others))
    yield from lost.select(DUPLICATE_CALLS.names).to_batches()


def places(duplicates: Materialised) -> WorkerRows:
    """Where the new ones among the duplicates are: (object, etag, line). Those that stood in
    ``events`` are of earlier batches."""
    columns = dict(duplicates.frame.dtypes)
    own = ddl_of({name: columns[name] for name in PLACE})
    return duplicates.through(_places, own, (*PLACE, "displaced"))


def _places(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for rows in batches:
        yield rows.filter(pc.invert(rows["displaced"])).select(list(PLACE))


def _key() -> Column:
    """What the reader of a line made as ``message_key``, of stored events."""
    return F.xxhash64("message_id")


def _competing(
    repeated: Callable[[], Iterator[pa.RecordBatch]], batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """The lines whose message id may be that of another."""
    keys = np.concatenate([np.empty(0, np.int64), *(rows["key"].to_numpy() for rows in repeated())])
    for batch in batches:
        known = batch.filter(batch[KEY].is_valid())
        rows = known.filter(pa.array(np.isin(known[KEY].to_numpy(), keys)))
        stands = pa.array(np.zeros(len(rows), np.bool_))
        yield rows.select([*_KEPT, KEY]).add_column(len(_KEPT), "displaced", stands)
