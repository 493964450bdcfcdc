"""Which of several lines with one message id is the call.

The earliest received wins, for ever: `(received_at, timestamp, payload hash)`, then the line's
place. So the answer does not depend on the order in which objects land: a line that lands later
but was received earlier takes the place of the one that stood in `events`, which is then recorded
as the duplicate it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import Window
from pyspark.sql import functions as F

from lake.packing import gathered

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from lake.frames import Materialised, Storable

PLACE = ("object", "etag", "line")
_KEPT = ("message_id", "received_at", "timestamp", "payload_hash", "source", *PLACE)
_REPEATED = "key bigint, stood boolean"


def repeated(staged: Materialised, known: DataFrame | None) -> Storable:
    """Of message ids that stand in more than one of the staged calls, or in the known events too:
    (key, stood), a 64-bit hash of the id, and whether an event has it.

    By the hash no message id is shuffled but where it may repeat, and of the known events only
    ids are read. It may name a few too many, which compete with nobody and win.
    """
    keys = staged.through(_keys, "message_key bigint", ["message_key"])
    within = gathered(keys, "message_key", _repeated, _REPEATED)
    if known is None:
        return within
    own = staged.frame.select(F.col("message_key").alias("key"))
    stood = known.select(_key()).join(own, "key", "left_semi")
    across = stood.distinct().select("key", F.lit(True).alias("stood"))  # noqa: FBT003
    return within.as_frame().unionByName(across)


def _keys(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    return (batch.filter(batch["message_key"].is_valid()) for batch in batches)


def _repeated(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The keys of a range that are there more than once; a worker holds 16 bytes a key."""
    every = [batch["message_key"].to_numpy() for batch in batches]
    if every:
        keys = np.sort(np.concatenate(every))
        found = np.unique(keys[1:][keys[1:] == keys[:-1]])
        stood = np.zeros(len(found), np.bool_)
        yield pa.RecordBatch.from_pydict({"key": found, "stood": stood})


def duplicates(staged: Materialised, known: DataFrame | None, repeated: Materialised) -> DataFrame:
    """The lines that lose against another of the same message id.

    ``staged`` are the lines of a batch, ``known`` the events before it (None before the first),
    ``repeated`` what is told of both by the function of this name, stored. Gives the columns of
    ``duplicate_calls`` but the batch; ``displaced`` says that the line stood in ``events`` until
    now. Each worker holds the repeated keys.
    """
    columns = dict(staged.frame.dtypes)
    ddl = ", ".join(f"{name} {columns[name]}" for name in _KEPT)
    kernel = partial(_competing, repeated.reader())
    lines = staged.through(kernel, f"{ddl}, displaced boolean", (*_KEPT, "message_key"))
    competing = lines.as_frame()
    if known is not None:
        keys = F.broadcast(repeated.frame.where("stood").select("key"))
        stood = known.select(*_KEPT, F.lit(True).alias("displaced"), _key())  # noqa: FBT003
        competing = competing.unionByName(stood.join(keys, "key", "left_semi").drop("key"))
    order = F.struct("received_at", F.coalesce("timestamp", "received_at"), "payload_hash", *PLACE)
    first = F.first(F.struct(*PLACE, "payload_hash"))
    winner = first.over(Window.partitionBy("message_id").orderBy(order))
    lost = F.struct(*PLACE) != F.struct(*[F.col(f"winner.{c}") for c in PLACE])
    return (
        competing.withColumn("winner", winner)
        .where(lost)
        .select(
            "message_id",
            "received_at",
            (F.col("payload_hash") != F.col("winner.payload_hash")).alias("payload_differs"),
            "payload_hash",
            "displaced",
            "source",
            *PLACE,
        )
    )


def _key() -> Column:
    """What the reader of a line made as ``message_key``, of stored events."""
    return F.xxhash64("message_id").alias("key")


def _competing(
    repeated: Callable[[], Iterator[pa.RecordBatch]], batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """The lines whose message id may be that of another."""
    keys = np.concatenate([np.empty(0, np.int64), *(rows["key"].to_numpy() for rows in repeated())])
    for batch in batches:
        known = batch.filter(batch["message_key"].is_valid())
        competes = np.isin(known["message_key"].to_numpy(), keys)
        rows = known.filter(pa.array(competes)).select(list(_KEPT))
        yield rows.append_column("displaced", pa.array(np.zeros(len(rows), np.bool_)))
