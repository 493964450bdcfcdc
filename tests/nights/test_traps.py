"""Faults of other systems, as whole nights: the cases of traps.yaml that need a lake of their own.

In every run the gate is shown a giant profile (tests/quality), and R7 with 2,001 people is one of
the worked cases; these are the whole stories.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from lake.errors import GateClosed
from tests.support.nights import AS_OF, Site, land, site
from tests.support.worlds import external_ids

MORNING = "2026-11-01T08:00:00Z"
Call = dict[str, Any]


def call(name: str, *told: tuple[str, str]) -> Call:
    return {
        "type": "track",
        "messageId": name,
        "receivedAt": MORNING,
        "context": {"externalIds": external_ids(list(told))},
    }


def lake_of(folder: Path, identity: dict[str, Any], *, judged: bool = True) -> Site:
    return site(folder, {"web": folder / "landing"}, identity=identity, judged=judged)


@pytest.mark.soak
def test_r4_a_kiosk_wave_in_one_night_is_not_shown_and_auto_finds_the_kiosk(
    spark: SparkSession, tmp_path: Path
) -> None:
    """And R12: every id that is published has 128 bits."""
    people = [call(f"p{n}", ("user_id", f"u{n}"), ("anonymous_id", f"a{n}")) for n in range(1_100)]
    wave = [call(f"k{n}", ("user_id", f"u{n}"), ("anonymous_id", "lobby")) for n in range(1_050)]
    lake = lake_of(tmp_path, {"strategy": "components"})
    land(tmp_path / "landing" / "people.jsonl", people)
    lake.run(AS_OF)
    before = lake.contents()

    land(tmp_path / "landing" / "wave.jsonl", wave)
    with pytest.raises(GateClosed, match="profile_identifiers"):
        lake.run(AS_OF + timedelta(days=1))

    assert lake.contents() == before
    ids = {row["profile_id"] for row in lake.publication().arrow("profiles").to_pylist()}
    assert len(ids) == 1_100
    assert {len(bytes.fromhex(each)) * 8 for each in ids} == {128}

    guarded = lake_of(tmp_path, {"strategy": "components", "shared": {"mode": "auto"}})
    record = guarded.run(AS_OF + timedelta(days=2))

    assert record["status"] == "published"
    assert record["profiles"] == 1_100
    (found,) = guarded.dicts("shared_values")
    assert (found["masked"], found["degree"], found["people"]) == ("l… (5)", 1_050, 1_050)
    now = {row["profile_id"] for row in guarded.publication().arrow("profiles").to_pylist()}
    assert now == ids, "the people have the ids that they had before the wave"


@pytest.mark.soak
def test_r7_of_a_value_shared_by_10_001_only_that_value_is_cut_off(
    spark: SparkSession, tmp_path: Path
) -> None:
    count = 10_001
    calls = [
        call(f"m{k}", ("user_id", f"u{k}"), ("network", "shop"), ("anonymous_id", f"a{k}"))
        for k in range(count)
    ]
    land(tmp_path / "landing" / "calls.jsonl", calls)
    shared = {"mode": "limits", "limits": {"network": {"user_id": 100}}}
    lake = lake_of(tmp_path, {"shared": shared})

    record = lake.run()

    assert record["status"] == "published"
    home = {(r["type"], r["value"]): r["profile_id"] for r in lake.dicts("identities")}
    assert home.pop(("network", "shop")) is None
    assert Counter(Counter(home.values()).values()) == {2: count}
    assert all(home["user_id", f"u{k}"] == home["anonymous_id", f"a{k}"] for k in range(count))


@pytest.mark.soak
def test_r11_a_component_of_a_million_nodes_is_resolved_and_the_gate_holds_it_back(
    spark: SparkSession, tmp_path: Path
) -> None:
    """Once without limits, and once as a conflict that one task folds call by call."""
    million = 1_000_000

    def chain() -> Iterator[Call]:
        for k in range(million):
            yield call(f"m{k}", ("cookie", f"c{k}"), ("cookie", f"c{k + 1}"))

    land(tmp_path / "landing" / "chain.jsonl", chain())
    limits = {"identifiers": {"cookie": {"limit": million}}}
    caps = {"caps": {"merges": 2 * million, "mappings": 2 * million}}
    for night, rules in enumerate(({"strategy": "components"}, {**limits, **caps})):
        lake = lake_of(tmp_path, {"unknown_types": "add", **rules})
        with pytest.raises(GateClosed, match="profile_identifiers"):
            lake.run(AS_OF + timedelta(days=night))
        sizes = Counter(row["profile_id"] for row in lake.dicts("identities"))
        assert sorted(sizes.values()) == ([million + 1] if night == 0 else [1, million])
