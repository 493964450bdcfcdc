"""When calls were, and which came first: one clock for everything that is first, last or recent.

The clock is ``received_at`` (as Segment resolves) or ``timestamp``. A call without a usable
timestamp counts as having happened when it arrived. A moment is the MOMENT struct of
lake/tables.py: a call's two times, its message id and its source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column

RECEIVED_AT = "received_at"


def order_of(moment: str, clock: str) -> Column:
    """The total order of calls: the clock's time, the other time, the message id.

    ``moment`` is a prefix: a struct column's name with a dot, or "" for the frame's own columns.
    """
    received = F.col(f"{moment}received_at")
    happened = F.coalesce(F.col(f"{moment}timestamp"), received)
    times = (received, happened) if clock == RECEIVED_AT else (happened, received)
    return F.struct(times[0].alias("a"), times[1].alias("b"), F.col(f"{moment}message_id"))


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
    """A call's place in time and its origin, of a frame of events."""
    return F.struct("received_at", "timestamp", "message_id", "source")
