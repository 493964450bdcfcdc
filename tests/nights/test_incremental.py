"""Nights that resolve what they touched end where a rebuild from nothing ends, row by row."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.profiles_sync import WIDE
from jobs.verify import verify
from lake.progress import Progress
from lake.segment_tables import PROFILES_SYNC
from tests.support import worlds
from tests.support.collisions import colliding
from tests.support.nights import AS_OF, Site, land

Calls = list[dict[str, Any]]


def sliced(calls: Calls, nights: int, seed: int) -> list[Calls]:
    """Calls by the night they land on: most on the days they arrived, some late, some twice, and
    of these every second one as a copy that arrived before the one that landed first."""
    dice = random.Random(seed)
    ordered = sorted(calls, key=lambda call: call["receivedAt"])
    parts: list[Calls] = [[] for _ in range(nights)]
    for n, call in enumerate(ordered):
        night = n * nights // len(ordered)
        if dice.random() < 0.15:
            night = dice.randrange(night, nights)
        parts[night].append(call)
        if dice.random() < 0.03:
            copy = dict(call)
            if dice.random() < 0.5:
                arrived = datetime.fromisoformat(call["receivedAt"])
                copy["receivedAt"] = (arrived - timedelta(days=2)).isoformat()
            parts[dice.randrange(night, nights)].append(copy)
    return parts


def identities(site: Site) -> dict[str, Any]:
    return dict(json.loads(site.config.read_text())["identity"])


def configured(site: Site, **blocks: Any) -> None:
    said = json.loads(site.config.read_text())
    site.config.write_text(json.dumps(said | blocks))


def rule_changes(site: Site, calls: Calls, seed: int) -> Iterator[str]:
    """One change of the rules after another, each told by its name; the last undoes the rest."""
    dice = random.Random(seed)
    start = identities(site)
    values = sorted(
        {(i["type"], i["id"].strip()) for c in calls for i in c["context"]["externalIds"]}
    )
    stopped = [value for _, value in dice.sample(values, 12)]
    overrides = site.config.with_name("overrides.csv")
    pairs = [(dice.choice(("always_together", "never_together")), *dice.sample(values, 2))]
    pairs += [("always_together", *dice.sample(values, 2)) for _ in range(5)]

    blocked = {**start["blocked"], "values": stopped}
    configured(site, identity={**start, "blocked": blocked})
    yield "some values are blocked"
    limits = {k: {**v, "limit": 1} for k, v in start["identifiers"].items()}
    configured(site, identity={**start, "blocked": blocked, "identifiers": limits})
    yield "every limit is 1"
    with overrides.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["rule", "type_a", "value_a", "type_b", "value_b"])
        rows.writerows([rule, *a, *b] for rule, a, b in pairs)
    configured(site, identity={**start, "overrides": str(overrides)})
    yield "nothing is blocked, limits are as before, some pairs are overridden"
    configured(site, identity={**start, "strategy": "components"})
    yield "no limits at all, no overrides"
    shared = {"mode": "limits", "limits": {"email": {"user_id": 1}, "b.mail": {"b.crm": 1}}}
    configured(site, identity={**start, "shared": shared})
    yield "limits again, and values are shared"
    configured(site, identity=start)
    yield "all as it was"


def assert_same(site: Site, told: str) -> None:
    found = verify(site.place.config, progress=Progress(quiet=True))
    off = [t for t in found["tables"] if t["differences"]]
    assert not off, (told, found["cause"], off)


def test_a_night_that_touches_little_equals_a_rebuild_whatever_changes(
    spark: SparkSession, tmp_path: Path
) -> None:
    history(tmp_path, worlds.Lake(), count=15, nights=5, seed=3)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("strategy", ["segment", "latest_wins", "components"])
def test_two_hundred_histories_of_twelve_nights_equal_a_rebuild(
    spark: SparkSession, tmp_path: Path, strategy: str
) -> None:
    history(tmp_path, worlds.Lake(strategy=strategy), count=200, nights=12, seed=5)


def written_whole(site: Site) -> set[str]:
    """The tables of Profiles Sync that the newest night wrote whole, not by key."""
    logs = {t.name: site.tables.open(t) for t in PROFILES_SYNC}
    newest = {name: log.history(1)[0]["operationParameters"] for name, log in logs.items() if log}
    assert len(newest) == len(PROFILES_SYNC)
    return {name for name, how in newest.items() if how["mode"] == "Overwrite"}


def twin(night: int, user: str) -> dict[str, Any]:
    arrived = worlds.START + timedelta(days=night)
    ids = worlds.external_ids([("user_id", user), ("email", f"twin{night}@x.com")])
    return {
        "type": "identify",
        "traits": {f"twin{night}": True},
        "messageId": f"twin-{night}",
        "receivedAt": arrived.isoformat(),
        "context": {"externalIds": ids},
    }


def history(folder: Path, rules: worlds.Lake, *, count: int, nights: int, seed: int) -> None:
    """Nights of many worlds at once, which never meet; each night is compared with a rebuild.

    Besides, two people whose user ids have one 64-bit key come a night apart, each with a trait
    that nobody has and that gets a column of its own.
    """
    calls = worlds.worlds(count, seed)
    parts = sliced(calls, nights, seed)
    twins = colliding("user_id")
    for night, user in enumerate(twins):
        parts[night].append(twin(night, user))
    site = rules.site(folder, parts[0], "night-0.jsonl")
    configured(site, profiles_sync={"enabled": True})
    first = site.run(AS_OF)
    assert first["pass"] == "full"
    changes = rule_changes(site, calls, seed)
    passes = []
    for night in range(1, nights):
        told = (next(changes, None) if night > 1 else None) or "calls alone"
        land(folder / "landing" / f"night-{night}.jsonl", parts[night])
        record = site.run(AS_OF + timedelta(days=night))
        passes.append(record["pass"])
        assert_same(site, told)
        if record["pass"] == "incremental":
            assert written_whole(site) == ({t.name for t in WIDE} if night < len(twins) else set())
    # Under latest_wins a type with the limit 1 names profiles: four changes are of such limits.
    named_anew = 4 if rules.strategy == "latest_wins" else 0
    assert passes.count("incremental") >= nights - 3 - named_anew
    homes = {row["value"]: row["profile_id"] for row in site.dicts("profile_identifiers")}
    assert homes[twins[0]] != homes[twins[1]]
