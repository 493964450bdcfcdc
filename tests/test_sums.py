"""Sums of calls: how many, the first and the last, whatever order and slices they come in."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lake import sums
from lake.errors import ContractError
from lake.frames import WorkerRows
from lake.io.delta import conformed
from lake.tables import SIGHTINGS

CALL = (
    "owner string, day date, received_at timestamp, timestamp timestamp, message_id string, "
    "source string, type string, event string, number decimal(38,9)"
)
KEYS = ("owner", "day")
_DAY = datetime(2026, 5, 1, tzinfo=UTC)


def calls(number: int, seed: int) -> list[dict[str, Any]]:
    """Calls of few owners (one of them null) at few times (some unknown), so that many tie."""
    dice = random.Random(seed)
    found = []
    for n in range(number):
        received = _DAY + timedelta(seconds=dice.randrange(4))
        told = None if dice.random() < 0.3 else received - timedelta(seconds=dice.randrange(3))
        name = f"{dice.choice('äbZ')}{n}"
        source = dice.choice(["web", "app"])
        owner = dice.choice(["ann", "bob", "", None])
        found.append(
            {
                "owner": owner,
                "day": received.date() + timedelta(days=dice.randrange(2)),
                "received_at": received,
                "timestamp": told,
                "message_id": name,
                "source": source,
                "type": "track",
                "event": None,
                "number": None if owner == "bob" else Decimal(dice.randrange(-9, 9)),
            }
        )
    return found


def by_hand(rows: Iterable[dict[str, Any]], clock: str) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """By owner and day: calls, the message ids of the first and the last, and of the numbers the
    sum, the least and the greatest."""

    def order(row: dict[str, Any]) -> tuple[Any, ...]:
        received, happened = row["received_at"], row["timestamp"] or row["received_at"]
        times = (received, happened) if clock == "received_at" else (happened, received)
        return (*times, row["message_id"].encode())

    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in KEYS), []).append(row)
    found = {}
    for key, own in groups.items():
        numbers = [row["number"] for row in own if row["number"] is not None]
        ends = (f(own, key=order)["message_id"] for f in (min, max))
        reduced = (f(numbers) if numbers else None for f in (sum, min, max))
        found[key] = (len(own), *ends, *reduced)
    return found


def summed(rows: list[dict[str, Any]], clock: str, spark: SparkSession) -> WorkerRows:
    number = F.col("number")
    frame = spark.createDataFrame(rows, CALL).withColumns(
        {"total": number, "least": number, "greatest": number}
    )
    more = {"total": "sum", "least": "min", "greatest": "max"}
    return sums.of_calls(frame, KEYS, clock, more)


def plain(frame: DataFrame) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    return {
        (row["owner"], row["day"]): (
            *(row["calls"], row["first"]["message_id"], row["last"]["message_id"]),
            *(row["total"], row["least"], row["greatest"]),
        )
        for row in frame.collect()
    }


@pytest.mark.parametrize("clock", ["received_at", "timestamp"])
def test_calls_are_counted_and_the_first_and_last_are_found_in_the_order_of_calls(
    clock: str, spark: SparkSession
) -> None:
    rows = calls(400, 1)
    assert plain(summed(rows, clock, spark).as_frame()) == by_hand(rows, clock)


@pytest.mark.parametrize("clock", ["received_at", "timestamp"])
def test_sums_of_parts_add_up_to_the_sum_of_the_whole(clock: str, spark: SparkSession) -> None:
    rows = calls(300, 2)
    parts = [summed(rows[at::3], clock, spark).as_frame() for at in range(3)]
    every = parts[0].unionByName(parts[1]).unionByName(parts[2])
    more = {"total": "sum", "least": "min", "greatest": "max"}
    again = sums.added_up(every, KEYS, clock, more).as_frame()
    assert plain(again) == by_hand(rows, clock)


@pytest.mark.parametrize("limits", [(1, 1 << 30), (1, 1)], ids=["memory", "disk"])
def test_what_is_too_much_to_be_held_is_added_up_in_parts(
    limits: tuple[int, int], spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sums, "_FOLD_BYTES", limits[0])
    monkeypatch.setattr(sums, "_HELD_BYTES", limits[1])
    rows = calls(300, 3)
    asked = summed(rows, "received_at", spark)
    batches = asked.frame.toArrow().to_batches(max_chunksize=7)
    found = spark.createDataFrame(
        [row for batch in asked.kernel(batches) for row in batch.to_pylist()], asked.schema
    )
    assert found.count() == len(by_hand(rows, "received_at"))
    assert plain(found) == by_hand(rows, "received_at")


def test_a_sum_of_nothing_has_no_moments_and_yields_to_any_that_has(spark: SparkSession) -> None:
    told = summed(calls(50, 4), "received_at", spark).as_frame().drop("total", "least", "greatest")
    nothing = told.select(
        *KEYS, *(F.lit(None).cast(told.schema[name].dataType).alias(name) for name in sums.SUMS)
    )
    both = sums.added_up(nothing.unionByName(told), KEYS, "received_at").as_frame()
    assert both.exceptAll(told).isEmpty()
    assert both.count() == told.count()
    alone = sums.added_up(nothing, KEYS, "received_at").as_frame().collect()
    assert {(row["calls"], row["first"], row["last"]) for row in alone} == {(0, None, None)}


def test_what_is_the_same_in_all_rows_that_have_it_is_kept(spark: SparkSession) -> None:
    told = summed(calls(60, 5), "received_at", spark).as_frame().select("owner", *sums.SUMS)
    names = told.select("owner").distinct().withColumn("names", F.array("owner", F.lit("x")))
    named = names.where("owner is distinct from 'bob'")
    both = told.unionByName(named, allowMissingColumns=True)
    found = sums.added_up(both, ["owner"], "received_at", {"names": sums.SAME}).as_frame()
    expected = {owner: [owner, "x"] for owner in ("ann", "", None)} | {"bob": None}
    assert {row["owner"]: row["names"] for row in found.collect()} == expected


@pytest.mark.parametrize("limits", [(1 << 30, 1 << 30), (1, 1)], ids=["memory", "disk"])
def test_all_values_are_listed_and_ranges_of_a_hash_come_sorted(
    limits: tuple[int, int], spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sums, "_FOLD_BYTES", limits[0])
    monkeypatch.setattr(sums, "_HELD_BYTES", limits[1])
    rows = spark.createDataFrame(calls(200, 8), CALL).select(
        F.md5("message_id").substr(1, 2).alias("profile_id"),
        F.struct("received_at", "timestamp", "message_id", "source").alias("first"),
        F.when(F.col("owner") == "bob", F.col("message_id")).alias("names"),
    )
    asked = sums.added_up(rows, ["profile_id"], "received_at", {"names": sums.LISTED}, 3)
    told = asked.frame.toArrow().to_batches(max_chunksize=7)
    found = [row for batch in asked.kernel(told) for row in batch.to_pylist()]
    expected: dict[str, list[str]] = {}
    for row in rows.collect():
        expected.setdefault(row["profile_id"], []).extend([row["names"]] if row["names"] else [])
    assert [row["profile_id"] for row in found] == sorted(expected)
    assert {r["profile_id"]: sorted(r["names"]) for r in found} == {
        owner: sorted(names) for owner, names in expected.items()
    }
    assert asked.as_frame().where("size(names) = 0").count() == sum(
        not names for names in expected.values()
    )


def test_what_workers_make_is_compared_with_the_declared_table(spark: SparkSession) -> None:
    with pytest.raises(ContractError, match="missing column identity_set"):
        conformed(SIGHTINGS, summed(calls(5, 7), "received_at", spark))
