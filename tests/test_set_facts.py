"""What calls say of identity sets: one pass says what plain Python says, read from files or not."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from lake import sums
from lake.frames import Rows, as_frame
from lake.identity.identifiers import set_key
from lake.identity.ids import identifier_key
from lake.io.delta import Lake, Placed, Tables, Transaction
from lake.run.set_facts import SETS, told
from lake.tables import EVENTS, IDENTITY_SETS, SIGHTINGS, TRAIT_OBSERVATIONS

ALL = {SETS, IDENTITY_SETS.name, SIGHTINGS.name, TRAIT_OBSERVATIONS.name}
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def calls(count: int, batch: int, seed: int) -> list[dict[str, Any]]:
    """Accepted calls of few people, often of the same microsecond; some identify nobody."""
    draw = random.Random(seed)
    rows = []
    for n in range(count):
        carried = tuple(sorted({("user_id", f"u{draw.randrange(9)}"), *_device(draw)}))
        received = NOON + timedelta(hours=draw.choice((0, 0, 5, 30)))
        happened = draw.choice((None, received, NOON - timedelta(hours=20)))
        traits = draw.choice((None, '{"plan": "pro", "city": null}', '{"plan": 1}', "[]"))
        nobody = draw.random() < 0.1
        rows.append(
            dict.fromkeys(EVENTS.names)
            | {
                "message_id": f"m{batch}-{draw.randrange(10**6)}-{n}",
                "type": draw.choice(("identify", "identify", "track")),
                "event": draw.choice((None, "Seen")),
                "source": draw.choice(("web", "app")),
                "received_at": received,
                "received_date": received.date(),
                "timestamp": happened,
                "traits": traits,
                "batch": batch,
                "identifiers": [] if nobody else [{"type": t, "value": v} for t, v in carried],
                "identity_set": None if nobody else set_key(carried),
            }
        )
    return rows


def _device(draw: random.Random) -> list[tuple[str, str]]:
    return [("anonymous_id", f"é{draw.randrange(3)}")] if draw.random() < 0.5 else []


def by_hand(rows: list[dict[str, Any]], clock: str) -> dict[str, dict[Any, Any]]:
    """The same in plain Python: (calls, first and last message id) by what each kind is of."""

    def order(row: dict[str, Any]) -> tuple[Any, ...]:
        times = (row["received_at"], row["timestamp"] or row["received_at"])
        return (*(times if clock == "received_at" else times[::-1]), row["message_id"])

    own = [row for row in rows if row["identity_set"]]
    groups: dict[str, dict[Any, list[dict[str, Any]]]] = {"sightings": {}, "traits": {}, "sets": {}}
    for row in own:
        day = order(row)[0].date()
        groups["sightings"].setdefault((row["identity_set"], day, row["batch"]), []).append(row)
        groups["sets"].setdefault(row["identity_set"], []).append(row)
        said = json.loads(row["traits"] or "[]") if row["type"] == "identify" else []
        for trait, value in dict(said).items():
            text = None if value is None else json.dumps(value)
            key = (row["identity_set"], trait, text, row["source"], row["batch"])
            groups["traits"].setdefault(key, []).append(row)
    return {
        kind: {
            key: (len(some), *(end(some, key=order)["message_id"] for end in (min, max)))
            for key, some in of.items()
        }
        for kind, of in groups.items()
    }


def shown(frame: DataFrame, keys: tuple[str, ...]) -> dict[Any, Any]:
    found = {
        tuple(bytes(row[k]) if k == "identity_set" else row[k] for k in keys): (
            row["calls"],
            row["first"]["message_id"],
            row["last"]["message_id"],
        )
        for row in frame.collect()
    }
    assert len(found) == frame.count()
    return found


def in_memory(spark: SparkSession, rows: list[dict[str, Any]], _folder: Path) -> Rows:
    return spark.createDataFrame(rows, EVENTS.ddl).repartition(3)


def in_files(spark: SparkSession, rows: list[dict[str, Any]], folder: Path) -> Rows:
    """Stored in two batches, with one before them that is not asked for, and in files of both."""
    lake = Lake(spark, Tables(str(folder)), "00000001", lambda _: None, lambda *_: None)
    for batch in (1, 2, 3):
        own = [row for row in (*calls(40, 1, 99), *rows) if row["batch"] == batch]
        frame = spark.createDataFrame(own, EVENTS.ddl).repartition(5)
        lake.append(EVENTS, frame, Transaction("compact", batch))
    assert lake.compact(EVENTS)
    return lake.stored(EVENTS, since=1)


@pytest.mark.parametrize("clock", ["received_at", "timestamp"])
@pytest.mark.parametrize("kept", [in_memory, in_files])
def test_one_pass_says_of_calls_what_is_counted_by_hand(
    spark: SparkSession, tmp_path: Path, kept: Callable[..., Rows], clock: str
) -> None:
    rows = [*calls(150, 2, 1), *calls(150, 3, 2)]
    wanted = by_hand(rows, clock)
    made = told(kept(spark, rows, tmp_path), clock, ALL)
    sightings = made.only(SIGHTINGS.name).as_frame()
    assert shown(sightings, SIGHTINGS.grain) == wanted["sightings"]
    traits = made.only(TRAIT_OBSERVATIONS.name).as_frame()
    assert shown(traits, TRAIT_OBSERVATIONS.grain) == wanted["traits"]
    sets = made.only(SETS).as_frame()
    assert {k[0]: v for k, v in shown(sets, ("identity_set",)).items()} == wanted["sets"]

    of_set = {row["identity_set"]: row for row in rows}
    first = {key: min(r["batch"] for r in rows if r["identity_set"] == key) for key in of_set}
    for row in sets.collect():
        carried = [(i["type"], i["value"], i["key"]) for i in row["identifiers"]]
        own = [(i["type"], i["value"]) for i in of_set[bytes(row["identity_set"])]["identifiers"]]
        assert carried == [(*pair, identifier_key(*pair)) for pair in own]
        assert row["batch"] == first[bytes(row["identity_set"])]
    plain = sets.selectExpr(
        "identity_set", "transform(identifiers, i -> struct(i.type, i.value)) identifiers", "batch"
    )
    assert made.only(IDENTITY_SETS.name).as_frame().exceptAll(plain).isEmpty()


@pytest.mark.parametrize("kind", sorted(ALL))
def test_a_kind_that_is_asked_for_alone_is_the_same(spark: SparkSession, kind: str) -> None:
    events = spark.createDataFrame(calls(200, 2, 3), EVENTS.ddl)
    alone = told(events, "received_at", {kind})
    assert set(alone.schemas) == {kind}
    both = told(events, "received_at", ALL).only(kind).as_frame()
    assert alone.only(kind).as_frame().exceptAll(both).isEmpty()
    assert both.count()


def test_what_a_worker_cannot_hold_comes_to_the_same(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = calls(300, 2, 4)
    made = told(spark.createDataFrame(rows, EVENTS.ddl), "received_at", ALL)
    packed = made.frame.toArrow().to_batches(max_chunksize=1)
    whole = {kind: set[str]() for kind in ALL}
    for kind, batch in made.kernel(packed):
        whole[kind] |= set(map(repr, batch.to_pylist()))
    monkeypatch.setattr(sums, "_FOLD_BYTES", 1)
    monkeypatch.setattr(sums, "_HELD_BYTES", 1)
    parted = {kind: set[str]() for kind in ALL}
    for kind, batch in made.kernel(packed):
        parted[kind] |= set(map(repr, batch.to_pylist()))
    assert parted == whole


def test_rows_of_several_kinds_are_placed_and_seen_once_they_are_committed(
    spark: SparkSession, tmp_path: Path
) -> None:
    lake = Lake(spark, Tables(str(tmp_path)), "00000001", lambda _: None, lambda *_: None)
    events = spark.createDataFrame(calls(100, 1, 5), EVENTS.ddl)
    made = told(events, "received_at", ALL - {IDENTITY_SETS.name})
    once = Transaction("stitch", 1)

    sets, placed = lake.write_apart("sets", SETS, made, [SIGHTINGS, TRAIT_OBSERVATIONS])

    assert sets.rows == sets.frame.count() == made.only(SETS).as_frame().count()
    assert lake.tables.rows(SIGHTINGS) == 0
    lake.append(SIGHTINGS, placed[SIGHTINGS.name], once)
    lake.append(SIGHTINGS, placed[SIGHTINGS.name], once)  # a transaction is made once
    found = lake.read(SIGHTINGS)
    assert found.exceptAll(as_frame(made.only(SIGHTINGS.name))).isEmpty()
    assert found.count() == lake.tables.rows(SIGHTINGS) > 0
    assert isinstance(placed[TRAIT_OBSERVATIONS.name], Placed)
    # Whoever finds the sets stored, is given nothing that is placed.
    again, nothing = lake.write_apart("sets", SETS, made, [SIGHTINGS, TRAIT_OBSERVATIONS])
    assert (again.files, nothing) == (sets.files, {})
