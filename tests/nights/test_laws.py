"""Laws of a lake, whatever the calls: each test is named as the law it shows."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from tests.oracle import Line, judge
from tests.support.judged import differences
from tests.support.nights import AS_OF, land, site
from tests.support.worlds import Lake, external_ids, lines, oracle, overridden, worlds


@pytest.mark.soak
@pytest.mark.parametrize(
    "lake",
    [Lake(on_limit="drop_conflict", merges=6, mappings=25), Lake(strategy="latest_wins")],
    ids=str,
)
def test_calls_sliced_into_nights_in_any_order_show_what_one_night_shows(
    spark: SparkSession, tmp_path: Path, lake: Lake
) -> None:
    rules = overridden(lake, 60, 90)
    calls = worlds(60, seed=90)
    landed = random.Random(90).sample(calls, len(calls))
    told: list[Line] = []
    for number in range(3):
        file, part = f"night{number}.jsonl", landed[number::3]
        shown = rules.site(tmp_path, part, file)
        shown.run(AS_OF + timedelta(days=number))
        told += lines(part, file)
        assert differences(shown, judge(told, rules.settings(), oracle(rules))) == {}


def test_a_blocked_value_parts_people_and_its_removal_gives_profiles_and_ids_back(
    spark: SparkSession, tmp_path: Path
) -> None:
    kiosk = ("device", "kiosk")
    people = [[("mail", f"m{n}"), ("cookie", f"c{n}")] for n in range(3)]
    sent = [*people, *([person[0], kiosk] for person in people)]
    calls = [
        {
            "type": "track",
            "messageId": f"e{n}",
            "receivedAt": f"2026-10-0{n + 1}T00:00:00Z",
            "context": {"externalIds": external_ids(told)},
        }
        for n, told in enumerate(sent)
    ]
    land(tmp_path / "landing" / "calls.jsonl", calls)
    former = night(tmp_path, 0, [])
    parted = night(tmp_path, 1, ["kiosk"])
    again = night(tmp_path, 2, [])

    assert len(set(former.values())) == 1
    assert {i: parted[i] == former[i] for i in parted} == {
        **dict.fromkeys(people[0], True),
        **dict.fromkeys([*people[1], *people[2], kiosk], False),
    }
    assert [len({parted[i] for i in person}) for person in people] == [1, 1, 1]
    assert len({parted[person[0]] for person in people}) == 3
    assert again == former


def night(folder: Path, number: int, blocked: list[str]) -> dict[tuple[str, str], str | None]:
    """The profile of each identifier after a night with these values blocked."""
    identity: dict[str, Any] = {"blocked": {"values": blocked}}
    lake = site(folder, {"web": folder / "landing"}, identity=identity, judged=False)
    lake.run(AS_OF + timedelta(days=number))
    return {(r["type"], r["value"]): r["profile_id"] for r in lake.dicts("identities")}
