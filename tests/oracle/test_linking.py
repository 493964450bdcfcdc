"""The oracle of linking rules agrees with every case that Adobe publishes or that follows."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.linking import Linking
from tests.oracle import Identifier, Line, Settings, World, judge
from tests.support.cases import Case, load

CASES = [case for case in load("adobe") if case.level == "pure" and not case.batches[1:]]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_worked_case_gives_the_documented_graphs(case: Case) -> None:
    found = sorted(listed(judged(case)))
    expected = case.expected("latest_wins", "drop_lowest")

    assert "profiles" in expected or "persons" in expected
    if "profiles" in expected:
        assert found == sorted(sorted(each) for each in expected["profiles"])
    assert len(found) == expected.get("persons", len(found))


def judged(case: Case) -> World:
    (batch,) = case.batches
    told, default = batch.config["types"], batch.config.get("default_limit", 5)
    types = sorted(told, key=lambda t: told[t]["priority"])
    settings = Settings(
        strategy="latest_wins",
        identifiers=tuple(Identifier(t, limit=told[t].get("limit", default)) for t in types),
        blocked_values=tuple(batch.config.get("blocked", {}).get("values", ())),
        mappings=batch.config.get("caps", {}).get("mappings", 1000),
    )
    lines = []
    for number, event in enumerate(batch.events):
        told_ids = [
            {"type": t, "id": v, "collection": "users", "encoding": "none"} for t, v in event.ids
        ]
        body = {
            "type": "track",
            "messageId": f"{number:03}",
            "receivedAt": (EPOCH + timedelta(microseconds=event.received)).isoformat(),
            "timestamp": (EPOCH + timedelta(microseconds=event.happened)).isoformat(),
            "context": {"externalIds": told_ids},
        }
        lines.append(Line("web", "a", number, json.dumps(body).encode(), EPOCH))
    return judge(lines, settings, Linking)


def listed(world: World) -> list[list[str]]:
    profiles: dict[str, list[str]] = {}
    for row in world.profile_identifiers:
        profiles.setdefault(row["profile_id"], []).append(f"{row['type']}:{row['value']}")
    return [sorted(each) for each in profiles.values()]
