"""When calls were, and which came first: one clock for everything that is first, last or recent.

The clock is ``received_at`` (as Segment resolves) or ``timestamp``. A call without a usable
timestamp counts as having happened when it arrived. A moment is the MOMENT struct of
lake/tables.py: a call's two times, its message id, its source and what it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column

RECEIVED_AT = "received_at"
#: What a moment holds of a call.
MOMENT = ("received_at", "timestamp", "message_id", "source", "type", "event")


def order_of(moment: str, clock: str) -> Column:
    """The total order of calls: the clock's time, the other time, the message id.

    ``moment`` is a prefix: a struct column's name with a dot, or "" for the frame's own columns.
    """
    named = [F.col(f"{moment}{name}") for name in ("received_at", "timestamp", "message_id")]
    return _order(named[0], named[1], named[2], clock)


def order_of_moment(moment: Column, clock: str) -> Column:
    """The same of a moment given as a column, such as one in an element of an array."""
    return _order(moment["received_at"], moment["timestamp"], moment["message_id"], clock)


def _order(received: Column, timestamp: Column, message_id: Column, clock: str) -> Column:
    happened = F.coalesce(timestamp, received)
    times = (received, happened) if clock == RECEIVED_AT else (happened, received)
    return F.struct(times[0].alias("a"), times[1].alias("b"), message_id.alias("message_id"))


def times_of(moments: pa.StructArray, clock: str) -> tuple[pa.Array, pa.Array]:
    """The clock's time and the other of Arrow's moments, as `order_of` compares them."""
    import pyarrow.compute as pc

    received = moments.field("received_at")
    happened = pc.coalesce(moments.field("timestamp"), received)
    return (received, happened) if clock == RECEIVED_AT else (happened, received)


def in_order(moment: str, clock: str) -> Column:
    """A moment as a struct that compares as calls are ordered: its least is the first of them.

    Its fields are named as a moment's, so `order_of` and `time_of` take it too; what comes behind
    the message id decides nothing. ``moment`` is a prefix, as of `order_of`.
    """
    received, timestamp = F.col(f"{moment}received_at"), F.col(f"{moment}timestamp")
    happened = F.coalesce(timestamp, received).alias("happened")
    received = received.alias("received_at")
    times = (received, happened) if clock == RECEIVED_AT else (happened, received)
    own = (F.col(f"{moment}message_id").alias("message_id"), timestamp.alias("timestamp"))
    return F.struct(*times, *own)


def time_of(moment: str, clock: str) -> Column:
    """When a call was, by the clock that orders calls.

    ``moment`` is a prefix, as of `order_of`. By another clock than the one that says which call
    is the first, a first call could be later than the last.
    """
    received = F.col(f"{moment}received_at")
    if clock == RECEIVED_AT:
        return received
    return F.coalesce(F.col(f"{moment}{clock}"), received)


def moment() -> Column:
    """A call's place in time and what it was, of a frame of events."""
    return F.struct(*MOMENT)
