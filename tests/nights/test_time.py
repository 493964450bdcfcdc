"""How it was: spans of identifiers, comparisons of publications, traits as known at a time."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import SparkSession

import lake
from lake.cli.difference import answer, difference, difference_text
from lake.errors import NotFound
from lake.identity.ids import profile_id
from lake.io.difference import moves
from tests.support.nights import AS_OF, Site
from tests.support.worlds import Lake, worlds

NIGHTS = 4
DAY = timedelta(days=1)


def identify(hour: int, anonymous: str, user: str | None = None, **traits: Any) -> dict[str, Any]:
    return {
        "type": "identify",
        "messageId": f"identify-{hour}",
        "receivedAt": f"2026-10-01T{hour:02}:00:00Z",
        "anonymousId": anonymous,
        **({"userId": user} if user else {}),
        "traits": traits,
    }


#: Two devices of one person, who logs in on both; a value that was told, changed and told again.
ANN = [
    identify(1, "phone", plan="free"),
    identify(2, "laptop", plan="pro", city="Rome"),
    identify(3, "phone", plan="gold"),
    identify(4, "phone", plan="free"),
    identify(5, "phone", "ann"),
    identify(6, "laptop", "ann", city=None),
    identify(7, "laptop", plan="gold"),
]


@pytest.fixture(scope="module")
def nights(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Three nights of worlds that come late in parts, and one with a limit more."""
    folder = tmp_path_factory.mktemp("time")
    calls = [*worlds(12, seed=70), *ANN]
    for number in range(3):
        made = Lake(merges=6, mappings=25).site(folder, calls[number::3], f"{number}.jsonl")
        made.run(AS_OF + number * DAY)
    said = json.loads(made.config.read_text())
    said["identity"]["identifiers"]["anonymous_id"]["limit"] = 1
    made.config.write_text(json.dumps(said))
    made.run(AS_OF + 3 * DAY)
    return made


def homes(site: Site, number: int) -> dict[tuple[str, str], str]:
    rows = site.publication(number).arrow("profile_identifiers").to_pylist()
    return {(r["type"], r["value"]): r["profile_id"] for r in rows}


def test_identity_history_as_of_a_publication_is_what_was_published_then(nights: Site) -> None:
    spans = nights.publication().arrow("identity_history").to_pylist()
    for number in range(1, NIGHTS + 1):
        then = [
            s
            for s in spans
            if s["from_publication"] <= number < (s["until_publication"] or NIGHTS + 1)
        ]
        assert {(s["type"], s["value"]): s["profile_id"] for s in then} == homes(nights, number)
        assert len(then) == len(homes(nights, number))
    dates = {number: AS_OF + (number - 1) * DAY for number in range(1, NIGHTS + 1)}
    assert all(s["valid_from"] == dates[s["from_publication"]] for s in spans)
    assert all(s["valid_until"] == dates.get(s["until_publication"]) for s in spans)


def test_a_difference_of_neighbours_is_what_identity_changes_says(nights: Site) -> None:
    told = nights.publication().arrow("identity_changes").to_pylist()
    kinds = set()
    for number in range(2, NIGHTS + 1):
        found = difference(nights.publication(number - 1), nights.publication(number))
        wanted = [
            (r["profile_id"], r["change"], tuple(r["others"]), r["identifiers"], r["cause_set"])
            for r in told
            if r["publication"] == number
        ]
        assert sorted(map(tuple, found.changes), key=str) == sorted(wanted, key=str)
        kinds |= {change.change for change in found.changes}
        rows = answer(found)
        assert sum(n["profiles"] for n in rows["counts"].values()) == len(rows["changes"])
        assert f"from publication {number - 1} " in difference_text(found)
    assert kinds >= {"born", "grown", "merged", "split"}


def test_any_two_publications_differ_by_what_a_plain_join_shows(nights: Site) -> None:
    for one, other in ((1, 4), (4, 1), (2, 4)):
        before, now = homes(nights, one), homes(nights, other)
        joined = Counter((before.get(i), now.get(i)) for i in {*before, *now})
        found = moves(nights.publication(one), nights.publication(other))
        assert all(joined[move[:2]] == move.identifiers for move in found)
        changed = {pair for pair in joined if pair[0] != pair[1]}
        assert changed <= {move[:2] for move in found}


def test_a_lake_opens_as_readers_saw_it_at_a_time(nights: Site) -> None:
    numbers = [
        lake.open(nights.root, as_of=when).number
        for when in (AS_OF, AS_OF + DAY - timedelta(seconds=1), AS_OF + DAY, AS_OF + 99 * DAY)
    ]
    assert numbers == [1, 1, 2, 4]
    assert lake.open(nights.root, as_of=AS_OF.replace(tzinfo=None)).number == 1
    with pytest.raises(NotFound, match="nothing was published by 2026-11-04"):
        lake.open(nights.root, as_of=AS_OF - DAY)


def test_traits_are_those_that_had_arrived_by_then_on_what_was_this_profile_then(
    nights: Site, spark: SparkSession
) -> None:
    ann = profile_id("shop", "anonymous_id", "phone")
    asked = [(ann, datetime(2026, 10, 1, hour, 30, tzinfo=UTC), hour) for hour in range(8)]
    frame = spark.createDataFrame(asked, "profile_id string, time timestamp, label int")
    found = nights.publication(3).profiles_as_of(frame).collect()
    assert [(r.label, r.traits) for r in sorted(found, key=lambda row: row.label)] == [
        (0, {}),
        (1, {"plan": "free"}),
        (2, {"plan": "free"}),
        (3, {"plan": "gold"}),
        (4, {"plan": "free"}),
        (5, {"plan": "free"}),
        (6, {"plan": "free"}),
        (7, {"plan": "gold"}),
    ]


def test_nobody_asked_for_is_nobody_answered(nights: Site, spark: SparkSession) -> None:
    frame = spark.createDataFrame([], "profile_id string, time timestamp")
    assert nights.publication().profiles_as_of(frame).collect() == []
