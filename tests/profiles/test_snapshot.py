"""What the published tables say of an identifier and of a profile."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pyspark.sql import SparkSession

from lake.profiles.snapshot import profile_identifiers, profiles
from lake.tables import IDENTITIES, PROFILE_IDENTIFIERS, PROFILE_TRAITS, PROFILES, SIGHTINGS

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
    rows = profile_identifiers(spark.createDataFrame([row], IDENTITIES.ddl), clock)
    shown = rows.as_frame().select("first_seen", "last_seen", "first_message_id")
    assert [tuple(r) for r in shown.collect()] == [(EARLY, LATE, first[2])]


def test_a_call_without_a_time_of_its_own_was_seen_when_it_arrived(spark: SparkSession) -> None:
    moment = (EARLY, None, "e1", "web", *CALL)
    row = {**IDENTIFIER, "first": moment, "last": moment}
    rows = profile_identifiers(spark.createDataFrame([row], IDENTITIES.ddl), "timestamp")
    shown = rows.as_frame().select("first_seen", "last_seen")
    assert [tuple(r) for r in shown.collect()] == [(EARLY, EARLY)]


A, B, NOBODY = "0a" * 16, "0b" * 16, "ff" * 16


def _profiles(
    spark: SparkSession,
    calls: dict[bytes, tuple[str, int]],
    identifiers: list[tuple[str, str, str]],
    traits: list[tuple[str, str, str]],
    clock: str = "received_at",
) -> list[dict[str, Any]]:
    """The profiles of sets, (profile, hour) of the one call of each, in the order of the file."""
    sightings, owners = [], []
    for own, (profile, hour) in calls.items():
        received = datetime(2026, 1, 1, hour, tzinfo=UTC)
        told = datetime(2026, 1, 1, 23 - hour, tzinfo=UTC)
        moment = (received, told, f"m{hour}", f"source{hour}", *CALL)
        sightings.append({"identity_set": own, "calls": 1, "first": moment, "last": moment})
        owners.append((own, profile))
    made = profiles(
        spark.createDataFrame(sightings, SIGHTINGS.ddl),
        spark.createDataFrame(owners, "identity_set binary, profile_id string"),
        spark.createDataFrame(
            [dict(zip(("profile_id", "type", "value"), row, strict=True)) for row in identifiers],
            PROFILE_IDENTIFIERS.ddl,
        ),
        spark.createDataFrame(
            [dict(zip(("profile_id", "trait", "value"), row, strict=True)) for row in traits],
            PROFILE_TRAITS.ddl,
        ),
        clock,
        ranges=1,
    )
    PROFILES.check(made.schema)
    batches = made.kernel(made.frame.toArrow().to_batches(max_chunksize=2))
    return [row for batch in batches for row in batch.to_pylist()]


def test_a_profile_holds_its_sorted_identifiers_and_traits_and_all_calls_of_its_sets(
    spark: SparkSession,
) -> None:
    found = _profiles(
        spark,
        {b"3": (B, 3), b"1": (A, 1), b"2": (A, 2)},
        [
            (A, "user_id", "u"),
            (B, "email", "ä"),
            (A, "email", "z"),
            (B, "email", "z"),
            (A, "email", "b"),
        ],
        [
            (A, "plan", '"a \\"b\\""'),
            (B, "age", "7"),
            (A, "city", "null"),
            (A, "home", '{"x": "y"}'),
        ],
    )
    told = [
        (
            r["profile_id"],
            r["identifiers"],
            r["traits"],
            r["calls"],
            r["first_source"],
            r["last_source"],
        )
        for r in found
    ]
    assert told == [
        (
            A,
            [("email", ["b", "z"]), ("user_id", ["u"])],
            [("city", "null"), ("home", '{"x": "y"}'), ("plan", 'a "b"')],
            2,
            "source1",
            "source2",
        ),
        (B, [("email", ["z", "ä"])], [("age", "7")], 1, "source3", "source3"),
    ]


def test_a_profile_without_traits_has_an_empty_map_and_one_that_was_not_seen_no_row(
    spark: SparkSession,
) -> None:
    told = [(A, "email", "a"), (NOBODY, "email", "b")]
    found = _profiles(spark, {b"1": (A, 1), b"2": (B, 2)}, told, [(NOBODY, "age", "7")])
    assert [(r["profile_id"], r["identifiers"], r["traits"]) for r in found] == [
        (A, [("email", ["a"])], []),
        (B, [], []),
    ]


@pytest.mark.parametrize("clock", ["received_at", "timestamp"])
def test_a_profile_is_first_and_last_seen_by_the_clock_that_orders_calls(
    spark: SparkSession, clock: str
) -> None:
    (row,) = _profiles(spark, {b"1": (A, 1), b"2": (A, 2)}, [], [], clock)
    first, last = (1, 2) if clock == "received_at" else (2, 1)
    hours = (1, 2) if clock == "received_at" else (21, 22)
    assert (row["first_seen"].hour, row["last_seen"].hour) == hours
    assert (row["first_source"], row["last_source"]) == (f"source{first}", f"source{last}")
