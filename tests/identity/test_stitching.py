"""Identifiers and sets with their components and profiles: the same whoever joins them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from lake.frames import Materialised
from lake.identity import stitching
from lake.identity.components import COMPONENT
from lake.identity.conflicts import RESOLVED
from lake.identity.ids import identifier_key
from lake.identity.stitching import CARRIED, SET_TOTALS, identities, linked_identifiers
from lake.sums import SUMS
from lake.tables import IDENTITIES
from tests.support.stored import Scratch

MOMENT = (datetime(2026, 1, 1, tzinfo=UTC), None, "m1", "web", "track", None)
IDENTIFIERS = f"{CARRIED}, guard string"
EXCEPTIONS = "type string, value string, identifier_key bigint, guard string, graph_key bigint"
#: What tells the four identifiers apart: `b` was crafted to share the key of `a`, `c` is blocked,
#: `d` has no totals.
NAMES = [("email", "a"), ("email", "b"), ("email", "c"), ("email", "d")]
KEYS = {"a": 7, "b": 7, "c": 9, "d": 11}


@pytest.fixture(params=[0, 1_000], ids=["joined by Spark", "held by workers"])
def scratch(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Scratch:
    monkeypatch.setattr(stitching, "BROADCAST_ROWS", request.param)
    return Scratch(tmp_path)


def identifiers(spark: SparkSession, scratch: Scratch) -> tuple[Materialised, Materialised]:
    """The four, and the two of them that do not link under their own key."""
    rows = [
        {
            "type": kind,
            "value": value,
            "identifier_key": KEYS[value],
            **({} if value == "d" else {"calls": 3, "first": MOMENT, "last": MOMENT}),
            "guard": "blocked" if value == "c" else None,
        }
        for kind, value in NAMES
    ]
    others = [("email", "b", 7, None, 5), ("email", "c", 9, "blocked", None)]
    return (
        scratch.of(spark, "identifiers", rows, IDENTIFIERS),
        scratch.of(spark, "exceptions", others, EXCEPTIONS),
    )


def solved(spark: SparkSession, scratch: Scratch) -> Materialised:
    # The node 9 links nothing: its only identifier is blocked.
    nodes = [(5, 5), (7, 7), (9, 9), (11, 5), (-3, -3)]
    return scratch.of(spark, "components", nodes, COMPONENT)


def test_who_shares_a_key_links_under_one_of_its_own_and_who_is_guarded_under_none(
    spark: SparkSession, scratch: Scratch
) -> None:
    known, exceptions = identifiers(spark, scratch)
    made = linked_identifiers(known, exceptions, solved(spark, scratch)).as_frame()
    told = {r.value: (r.identifier_key, r.graph_key, r.component) for r in made.collect()}
    assert told == {"a": (7, 7, 7), "b": (7, 5, 5), "c": (9, 9, None), "d": (11, 11, 5)}


def test_guarded_and_colliding_identifiers_are_counted(spark: SparkSession, tmp_path: Path) -> None:
    store = Scratch(tmp_path)
    schema = "identifier_key bigint, guard string"
    for rows, wanted in (
        ([], (0, 0)),
        ([(key, None) for key in range(-50, 50)], (0, 0)),
        ([*((key, None) for key in range(-50, 50)), (7, "blocked"), (7, "shared")], (2, 0)),
        ([*((key, None) for key in range(-50, 50)), (7, None), (-3, None), (-3, None)], (0, 3)),
    ):
        told = stitching.exceptional(store.of(spark, "own", rows, schema)).as_frame().collect()
        found = tuple(sum(row[name] for row in told) for name in ("guarded", "colliding"))
        assert found == wanted


@pytest.mark.parametrize("ranges", [1, 3])
def test_of_two_identifiers_with_one_key_each_has_its_own_profile(
    spark: SparkSession, scratch: Scratch, ranges: int
) -> None:
    known, exceptions = identifiers(spark, scratch)
    # Whoever resolved them took the key from type and value, which is the hash of both.
    rows = [
        {**row.asDict(), "identifier_key": identifier_key(row["type"], row["value"])}
        for row in known.frame.collect()
    ]
    own = scratch.of(spark, "own", rows, IDENTIFIERS)
    resolved = [
        {"kind": kind, "type": "email", "value": value, "profile_id": owner, "segment_id": owner}
        for kind, value, owner in [
            ("identifier", "a", "P"),
            ("identifier", "b", "Q"),
            ("created", "a", "X"),
        ]
    ]
    outcome = scratch.of(spark, "resolved", resolved, RESOLVED)
    contested = scratch.of(spark, "contested", [(5,)], "component bigint")
    linked = linked_identifiers(own, exceptions, solved(spark, scratch), SUMS)

    made = identities(linked, outcome, contested, ranges).as_frame()

    assert made.columns == list(IDENTITIES.names)
    assert {r.value: r.profile_id for r in made.collect()} == {"a": "P", "b": "Q", "c": None}
    assert {r.calls for r in made.collect()} == {3}


def test_two_rows_of_one_key_keep_what_is_theirs() -> None:
    """The join itself, of rows that came to one task."""
    import pyarrow as pa

    from lake.schema import arrow_schema, ddl_of

    types = {**stitching._LINKED, "contested": "boolean"}
    linked = [
        {"type": "email", "value": value, "identifier_key": 7, "calls": n, "contested": False}
        for n, value in enumerate("zab")
    ]
    owned = [
        {"type": "email", "value": v, "identifier_key": 7, "profile_id": v * 2} for v in "baxz"
    ]
    batches = [
        ("owned", pa.RecordBatch.from_pylist(owned, arrow_schema(ddl_of(stitching._OWNED)))),
        ("linked", pa.RecordBatch.from_pylist(linked, arrow_schema(ddl_of(types)))),
    ]
    found = [row for _, batch in stitching._with_owners(batches) for row in batch.to_pylist()]
    told = [(row["value"], row["profile_id"], row["calls"]) for row in found]
    assert told == [("a", "aa", 1), ("b", "bb", 2), ("z", "zz", 0)]


def test_sets_are_of_the_component_of_their_first_identifier(
    spark: SparkSession, scratch: Scratch
) -> None:
    def a_set(name: bytes, *keys: int) -> dict[str, Any]:
        carried = [{"type": "email", "value": str(key), "key": key} for key in keys]
        return {"identity_set": name, "first": MOMENT, "identifiers": carried}

    sets = [a_set(b"1", 7), a_set(b"2", 11, 5), a_set(b"3", -3)]
    links = scratch.of(spark, "links", sets, SET_TOTALS)
    made = stitching.set_components(links, solved(spark, scratch))
    named = scratch.of(spark, "named", [(5,), (-3,)], "component bigint")

    def of(rows: Any) -> dict[bytes, tuple[int, list[int]]]:
        told = rows.as_frame().collect()
        return {bytes(r.identity_set): (r.component, [i.key for i in r.linking]) for r in told}

    every = {b"1": (7, [7]), b"2": (5, [11, 5]), b"3": (-3, [-3])}
    assert of(made) == every
    assert of(stitching.of_components(made, named)) == {k: every[k] for k in (b"2", b"3")}
    assert of(stitching.of_components(made, named, others=True)) == {b"1": every[b"1"]}
