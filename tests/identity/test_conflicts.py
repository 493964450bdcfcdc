"""What the kernel tells of how a profile came to be."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from lake.frames import unchanged
from lake.identity import conflicts
from lake.identity.conflicts import MOST_STEPS, RESOLVED, Judge, paths
from lake.identity.ids import identifier_key, profile_id
from lake.identity.resolve import Limit, Profile, Rules, Sighting, Strategy, Window, resolve
from lake.identity.resolve.links import id_graph
from lake.schema import arrow_type
from lake.tables import MOMENT_TYPE
from tests.support.stored import Scratch

BEGAN = datetime(2026, 11, 1, tzinfo=UTC)
ORDERED = pa.schema(
    {
        "component": pa.int64(),
        "identity_set": pa.binary(),
        "day": pa.date32(),
        "first": arrow_type(MOMENT_TYPE),
        "linking": arrow_type("array<struct<type:string,value:string,key:bigint>>"),
    }
)


def chain(length: int) -> Profile:
    """So many profiles, each of which the next younger one had been merged into before."""
    created = [("a", f"{n:04}") for n in range(length)]
    pairs = [(created[n], created[n - 1]) for n in range(length - 1, 0, -1)]
    calls = [*((one,) for one in created), *pairs]
    rows = [Sighting(ids, n, (n, n, str(n)), ids) for n, ids in enumerate(calls)]
    rules = Rules(strategy=Strategy.COMPONENTS, default_limit=Limit(None))
    (profile,) = resolve(rows, rules).profiles
    return profile


def test_the_path_of_a_part_is_every_row_that_segments_id_graph_has_of_it() -> None:
    profile = chain(20)
    rows = [(part, into, s) for part, into, s in id_graph(profile) if part != into]
    found = [(p.founder, m.into, m.sighting) for p, path in paths(profile) for m in path]
    assert sorted(found) == sorted(rows)
    assert len(found) == 190


def test_a_long_chain_of_merges_does_not_cost_its_square() -> None:
    profile = chain(1_000)
    told = {part.founder: path for part, path in paths(profile)}
    assert max(map(len, told.values())) == MOST_STEPS
    assert all(path[-1].into == profile.founder for path in told.values() if path)
    youngest = told["a", "0999"]
    assert [merge.into for merge in youngest[:2]] == [("a", "0998"), ("a", "0997")]


def row(component: int, hour: int, *identifiers: str, bound: bool = False) -> dict[str, Any]:
    """A set's sighting as the kernel is sent it: where a rule is bound to bind, with its day."""
    linking = [tuple(each.split(":")) for each in identifiers]
    at = BEGAN + timedelta(hours=hour)
    return {
        "component": component,
        "identity_set": "|".join(identifiers).encode(),
        "day": at.date() if bound else None,
        "first": {"received_at": at, "message_id": f"m{hour}", "source": "web", "type": "track"},
        "linking": [{"type": k, "value": v, "key": identifier_key(k, v)} for k, v in linking],
    }


def outcome(
    rows: list[dict[str, Any]], strategy: Strategy = Strategy.SEGMENT, most: int = 100
) -> list[dict[str, Any]]:
    """What the kernel says of rows that come in batches of at most so many."""
    judge = Judge(Rules(strategy=strategy), "shop", "received_at")
    table = pa.Table.from_pylist(rows, schema=ORDERED)
    found = conflicts._stream(judge, iter(table.to_batches(most)))
    return [told for batch in found for told in batch.to_pylist()]


ALONE = [row(1, 2, "a:1"), row(1, 3, "a:1", "email:e")]
MERGED = [row(2, 0, "a:2"), row(2, 1, "a:3"), row(2, 5, "a:2", "a:3")]
BOUND = [
    row(3, 1, "user_id:u", "a:4", bound=True),
    row(3, 4, "user_id:v", "a:4", bound=True),
    row(3, 30, "user_id:v", "a:4", bound=True),
]


def test_a_profile_in_which_nothing_merged_has_its_first_set_and_call() -> None:
    (told,) = (each for each in outcome(ALONE) if each["kind"] == "created")

    assert (told["identity_set"], told["type"], told["value"]) == (b"a:1", "a", "1")
    assert told["profile_id"] == told["segment_id"] == profile_id("shop", "a", "1")
    assert told["moment"]["message_id"] == "m2"
    assert told["path"] == []
    mapped = {
        (each["type"], each["moment"]["message_id"])
        for each in outcome(ALONE)
        if each["kind"] == "identifier"
    }
    assert mapped == {("a", "m2"), ("email", "m3")}


def test_under_latest_wins_the_first_known_person_founds_and_nothing_merges() -> None:
    rows = [row(1, 0, "a:1"), row(1, 1, "a:2"), row(1, 2, "a:1", "a:2", "user_id:u")]

    (told,) = (each for each in outcome(rows, Strategy.LATEST_WINS) if each["kind"] == "created")

    assert (told["type"], told["value"], told["moment"]["message_id"]) == ("user_id", "u", "m2")


def test_a_path_names_the_merge_the_set_that_made_it_and_its_call() -> None:
    (path,) = (told["path"] for told in outcome(MERGED) if told["value"] == "3" and told["path"])

    (step,) = path
    assert step["segment_id"] == profile_id("shop", "a", "2")
    assert (step["identity_set"], step["moment"]["message_id"]) == (b"a:2|a:3", "m5")


def test_a_set_of_two_batches_of_a_day_is_one_sighting_the_first() -> None:
    twice = [*BOUND[:2], row(3, 5, "user_id:v", "a:4", bound=True), BOUND[2]]

    assert outcome(twice) == outcome(BOUND)
    days = [told["day"] for told in outcome(twice) if told["kind"] == "violation"]
    assert days == [date(2026, 11, 1), date(2026, 11, 2)]


@pytest.mark.parametrize("most", [1, 2, 3, 5])
@pytest.mark.parametrize("held", [1, 2, 4, 7])
def test_however_the_rows_come_the_outcome_is_the_same(
    monkeypatch: pytest.MonkeyPatch, most: int, held: int
) -> None:
    rows = [*ALONE, *MERGED, *BOUND]
    whole = outcome(rows)

    monkeypatch.setattr(conflicts, "_ROWS", held)

    assert sorted(map(str, outcome(rows, most=most))) == sorted(map(str, whole))


#: Identifiers of components: (component, type, value); of no component where a guard binds.
LINKED = [
    *((1, "email", f"a{n}") for n in range(5)),
    *((2, "email", f"b{n}") for n in range(6)),
    *((3, "user_id", f"u{n}") for n in range(2)),
    *((4, "email" if n % 2 else "phone", f"c{n}") for n in range(9)),
    *((-5, "email", "end"), (-5, "user_id", "e")),
    *((6, "user_id", "end"), (6, "email", "f")),
    *((None, "user_id", f"g{n}") for n in range(9)),
    *((7, "device", f"d{n}") for n in range(30)),
]
PAIR = (("email", "end"), ("user_id", "other"))


@pytest.mark.parametrize(
    ("rules", "pairs", "wanted"),
    [
        (Rules(), (), {2, 3, 7}),
        (Rules(max_mappings=8), (), {2, 3, 4, 7}),
        (Rules(max_merges=7), (), {2, 3, 4, 7}),
        (Rules(max_merges=7, strategy=Strategy.LATEST_WINS), (), {3}),
        (Rules(limits={"device": Limit(None)}), (), {2}),
        (Rules(limits={"user_id": Limit(1), "device": Limit(1, Window.DAILY)}), (), {2, 3, 7}),
        (Rules(strategy=Strategy.COMPONENTS), (), set()),
        (Rules(strategy=Strategy.COMPONENTS), (PAIR,), {-5}),
        (Rules(never_together=(PAIR,)), (), {2, 3, -5, 7}),
        (Rules(), (PAIR,), {2, 3, -5, 7}),
    ],
)
def test_components_are_named_where_a_rule_may_bind(
    spark: SparkSession, rules: Rules, pairs: tuple[Any, ...], wanted: set[int]
) -> None:
    linked = spark.createDataFrame(LINKED, "component bigint, type string, value string")
    bound = conflicts.in_conflict(unchanged(linked.repartition(3)), rules, pairs).as_frame()
    assert sorted(row["component"] for row in bound.collect()) == sorted(wanted)


@pytest.mark.parametrize(
    ("rules", "times"),
    [
        (Rules(), 1),
        (Rules(limits={"email": Limit(4), "user_id": Limit(1)}), 2),
        (Rules(limits={"user_id": Limit(1, Window.DAILY)}), 0),
        (Rules(strategy=Strategy.COMPONENTS), 0),
        (Rules(always_together=(PAIR,)), 0),
        (Rules(strategy=Strategy.LATEST_WINS, default_limit=Limit(2)), 1),
    ],
)
def test_a_resolved_profile_over_a_limit_is_counted(
    spark: SparkSession, tmp_path: Path, rules: Rules, times: int
) -> None:
    one, other = f"{1:032x}", f"{15:x}{2:031x}"
    told = [
        *((one, "email", n) for n in range(5)),
        *((one, "user_id", n) for n in range(1)),
        *((other, "user_id", n) for n in range(2)),
    ]
    rows = [{"kind": "identifier", "profile_id": p, "type": t, "value": f"{n}"} for p, t, n in told]
    rows += [{"kind": "set", "profile_id": one, "type": "user_id"}] * 3
    stored = Scratch(tmp_path).of(spark, "resolved", rows, RESOLVED)
    over = conflicts.over_limit(stored, rules).as_frame().collect()
    assert sum(row["times"] for row in over) == times
