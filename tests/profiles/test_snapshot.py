"""What the published tables say of an identifier and of a profile."""

from __future__ import annotations

from datetime import datetime

import pytest
from pyspark.sql import SparkSession

from lake.profiles.snapshot import profile_identifiers
from lake.tables import IDENTITIES

EARLY, LATE = datetime(2026, 1, 1), datetime(2026, 1, 2)
CALL = ("track", "Bought")
IDENTIFIER = {"type": "email", "value": "a@x.com", "profile_id": "p", "calls": 2}


@pytest.mark.parametrize("clock", ["received_at", "timestamp"])
def test_nobody_is_last_seen_before_first_seen_whichever_clock_orders_calls(
    spark: SparkSession, clock: str
) -> None:
    by_arrival = ((EARLY, LATE, "e2", "web", *CALL), (LATE, EARLY, "e1", "web", *CALL))
    first, last = by_arrival if clock == "received_at" else by_arrival[::-1]
    row = {**IDENTIFIER, "first": first, "last": last}
    shown = profile_identifiers(spark.createDataFrame([row], IDENTITIES.ddl), clock).select(
        "first_seen", "last_seen", "first_message_id"
    )
    assert [tuple(r) for r in shown.collect()] == [(EARLY, LATE, first[2])]


def test_a_call_without_a_time_of_its_own_was_seen_when_it_arrived(spark: SparkSession) -> None:
    moment = (EARLY, None, "e1", "web", *CALL)
    row = {**IDENTIFIER, "first": moment, "last": moment}
    shown = profile_identifiers(spark.createDataFrame([row], IDENTITIES.ddl), "timestamp").select(
        "first_seen", "last_seen"
    )
    assert [tuple(r) for r in shown.collect()] == [(EARLY, EARLY)]
