"""Records of a customer database and of a repository's authors, against published figures.

One lake goes through three sets of rules. With new rules nothing is read again: identifiers are
taken anew from the stored events, and the lake is then as one made by those rules from the start.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.verify import verify
from lake.progress import Progress
from tests.oracle import Identifier, Settings, judge
from tests.support.graphs import union_find
from tests.support.judged import differences
from tests.support.nights import AS_OF, Site, land, partition, site
from tests.support.worlds import lines

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FILES = {
    "crm": "multi-source-crm/segment_events.jsonl.gz",
    "scipy": "git-identities/scipy.events.jsonl.gz",
}
LINES = {"crm": 15_797, "scipy": 38_143}


def as_given(phone: str) -> str | None:
    return phone.strip() or None


def last_ten(phone: str) -> str | None:
    return re.sub("[^0-9]", "", phone)[-10:] or None


Stage = tuple[Mapping[str, Any] | None, Callable[[str], str | None] | None, str]
#: Each: what is said of the phone, how a phone is compared, the published figure's name.
STAGES: list[Stage] = [
    (None, None, "email lowercased"),
    ({"normalise": "exact", "limit": 5}, as_given, "email lowercased + phone as given"),
    (
        {"normalise": "digits", "last": 10, "limit": 5},
        last_ten,
        "email lowercased + last 10 digits of phone",
    ),
]


def identity(phone: Mapping[str, Any] | None) -> dict[str, Any]:
    """User ids, e-mail, the record ids of external ids, and perhaps the phone."""
    types = {"user_id": {}, "email": {"normalise": "lower"}}
    return {
        "strategy": "components",
        "unknown_types": "add",
        "identifiers": types | ({"phone": dict(phone)} if phone else {}),
    }


@pytest.fixture(scope="module")
def landing(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    for source, path in FILES.items():
        (folder / source).mkdir()
        (folder / source / "events.jsonl.gz").write_bytes((shared / path).read_bytes())
    return folder


@pytest.mark.parametrize(
    "stages", [STAGES[-1:], pytest.param(STAGES, marks=pytest.mark.soak)], ids=["last", "in turn"]
)
def test_each_set_of_rules_gives_the_published_number_of_profiles(
    spark: SparkSession, shared: Path, landing: Path, tmp_path: Path, stages: list[Stage]
) -> None:
    figures = json.loads((shared / "expected.json").read_text())
    sources = {source: landing / source for source in FILES}
    for night, (phone, normal, figure) in enumerate(stages):
        lake = site(tmp_path, sources, identity=identity(phone), judged=False)
        record = lake.run(AS_OF + timedelta(days=night))

        assert record["status"] == "published"
        read = sum(LINES.values()) if night == 0 else 0
        assert record["lines"] == {"read": read, "accepted": read, "rejected": 0, "duplicate": 0}
        people = found(lake)
        for source in FILES:
            assert people[source] == expected(landing, source, normal), (figure, source)
        crm = figures["multi-source-crm"]["stitching"][figure]
        assert people["crm"].total() == crm["profiles"]
        assert people["scipy"].total() == 1931

    if len(stages) == 1:
        return
    fresh = site(tmp_path, sources, identity=identity(phone), judged=False, name="fresh")
    fresh.run()
    assert lake.contents() == fresh.contents()


@pytest.mark.soak
def test_authors_under_limits_are_those_of_the_oracle_and_without_any_those_of_components(
    spark: SparkSession, landing: Path, tmp_path: Path
) -> None:
    """The years pressed into days, the order kept: a day of calls is a folder of `events`."""
    told = gzip.decompress((landing / "scipy" / "events.jsonl.gz").read_bytes())
    calls = [json.loads(line) for line in told.splitlines()]
    for call in calls:
        at = datetime.fromisoformat(call["receivedAt"])
        call["timestamp"] = call["receivedAt"] = (EPOCH + (at - EPOCH) / 2_000).isoformat()
    land(tmp_path / "landing" / "calls.jsonl", calls)

    def night(number: int, types: Mapping[str, Any], **more: Any) -> Site:
        identity = {"identifiers": types, "unknown_types": "ignore", **more}
        lake = site(tmp_path, {"web": tmp_path / "landing"}, identity=identity, judged=False)
        lake.run(AS_OF + timedelta(days=number))
        return lake

    free = {"limit": None, "normalise": "lower"}
    generous = night(
        0, {"git_name": {"limit": None}, "email": free}, caps={"merges": 10**6, "mappings": 10**6}
    )
    authors = found(generous)["web"]
    assert authors == expected(landing, "scipy", None)
    assert authors.total() == 1931
    assert generous.dicts("violations") == []

    types = {"git_name": {"limit": 1}, "email": {"limit": 5, "normalise": "lower"}}
    for number, on_limit in enumerate(("drop_lowest", "drop_conflict"), 1):
        lake = night(number, types, on_limit=on_limit)
        settings = Settings(
            on_limit=on_limit,
            unknown_types="ignore",
            identifiers=(
                Identifier("git_name", limit=1),
                Identifier("email", limit=5, normalise="lower"),
            ),
        )
        assert len(lake.dicts("violations")) > 100
        assert differences(lake, judge(lines(calls), settings)) == {}


def found(lake: Site) -> dict[str, Any]:
    """The message ids of each profile, by source."""
    rows = (
        lake.publication()
        .query(
            "select source, message_id, profile_id from events e "
            "join set_profiles s on e.identity_set = s.identity_set"
        )
        .to_pylist()
    )
    return {
        source: partition((r["message_id"], r["profile_id"]) for r in rows if r["source"] == source)
        for source in {r["source"] for r in rows}
    }


def expected(landing: Path, source: str, normal: Callable[[str], str | None] | None) -> Any:
    """Union-find over the raw lines: calls that share a value of a type are one person's."""
    numbers: dict[Any, int] = {}
    edges, calls = [], []
    lines = gzip.decompress((landing / source / "events.jsonl.gz").read_bytes()).splitlines()
    assert len(lines) == LINES[source]
    for line in lines:
        body = json.loads(line)
        traits = body.get("traits") or {}
        keys = [(e["type"], e["id"]) for e in body["context"].get("externalIds", [])]
        keys += [("user_id", body["userId"])] if body.get("userId") else []
        keys += [("email", traits["email"].strip().lower())] if traits.get("email") else []
        if normal and (phone := normal(traits.get("phone") or "")):
            keys.append(("phone", phone))
        nodes = [numbers.setdefault(key, len(numbers)) for key in keys]
        edges += [(nodes[0], node) for node in nodes]
        calls.append((body["messageId"], nodes[0]))
    root = union_find(edges)
    return partition((message, root[node]) for message, node in calls)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("source", "digits"), [("crm", 7), ("scipy", 4)])
def test_month_by_month_and_year_by_year_is_as_all_at_once(
    spark: SparkSession, landing: Path, tmp_path: Path, source: str, digits: int
) -> None:
    lines = gzip.decompress((landing / source / "events.jsonl.gz").read_bytes()).splitlines()
    parts: dict[str, list[bytes]] = {}
    for line in lines:
        parts.setdefault(json.loads(line)["receivedAt"][:digits], []).append(line)
    lake = site(tmp_path, {source: tmp_path / "landing"}, identity=identity(STAGES[-1][0]))
    passes = []
    for night, part in enumerate(sorted(parts)):
        land(tmp_path / "landing" / f"{part}.jsonl", parts[part])
        passes.append(lake.run(AS_OF + timedelta(days=night))["pass"])
    assert passes == ["full", *["incremental"] * (len(parts) - 1)]
    assert verify(lake.place.config, progress=Progress(quiet=True))["same"]
