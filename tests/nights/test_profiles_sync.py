"""Segment's Profiles Sync: the worked example of its documentation, whole, as whole nights."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from lake.segment_tables import PROFILES_SYNC
from tests.support.cases import CASES
from tests.support.nights import Site, land, site

WORKED = json.loads((CASES / "worked" / "segment_profiles_sync_case.json").read_text("utf-8"))
EXPECTED = WORKED["expect"]


def as_sent(event: dict[str, Any]) -> dict[str, Any]:
    """The example's call; its email is a trait."""
    ids = dict(event["ids"])
    return {
        "type": event["type"],
        "messageId": event["messageId"],
        "receivedAt": event["timestamp"],
        "timestamp": event["timestamp"],
        "anonymousId": ids["anonymous_id"],
        **({"traits": {"email": ids["email"], "firstName": "Jane"}} if "email" in ids else {}),
    }


@pytest.fixture(scope="module")
def synced(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The example in one night, and calls that it does not have after it in another."""
    folder = tmp_path_factory.mktemp("profiles_sync")
    land(folder / "landing" / "calls.jsonl", map(as_sent, WORKED["events"]))
    lake = site(
        folder, {"web": folder / "landing"}, identity={}, judged=False,
        profiles_sync={"enabled": True},
    )  # fmt: skip
    lake.run()
    return lake


def dicts(lake: Site, name: str) -> list[dict[str, Any]]:
    found = lake.publication().arrow(f"profiles_sync/{name}").to_pylist()
    return [dict(row) for row in found]


def profile_names(lake: Site) -> dict[str | None, str | None]:
    """The example's name of each profile, by the order of creation."""
    created = [
        r for r in dicts(lake, "id_graph_updates") if r["segment_id"] == r["canonical_segment_id"]
    ]
    ordered = sorted(created, key=lambda row: row["seq"])
    return {None: None} | {r["segment_id"]: f"profile_{n}" for n, r in enumerate(ordered, start=1)}


def told(lake: Site, name: str, columns: tuple[str, ...], by: str) -> list[list[Any]]:
    names = profile_names(lake)
    rows = sorted(dicts(lake, name), key=lambda row: row[by])
    return [[names.get(row[c], row[c]) for c in columns] for row in rows]


def when(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_the_example_has_every_row_of_id_graph_updates(synced: Site) -> None:
    columns = tuple(EXPECTED["id_graph_updates_columns"])
    found = told(synced, "id_graph_updates", columns, "seq")
    assert found == [[*row[:4], when(row[4])] for row in EXPECTED["id_graph_updates"]]


def test_the_example_has_every_row_of_external_id_mapping_updates(synced: Site) -> None:
    columns = ("segment_id", "external_id_type", "external_id_value", "triggering_event_id")
    found = told(synced, "external_id_mapping_updates", columns, "seq")
    assert found == EXPECTED["external_id_mapping_updates"]


def test_the_example_has_every_row_of_the_tables_of_now(synced: Site) -> None:
    graph = told(synced, "id_graph", ("segment_id", "canonical_segment_id"), "timestamp")
    assert sorted(graph) == EXPECTED["id_graph"]
    mapping = ("canonical_segment_id", "external_id_type", "external_id_value")
    assert sorted(told(synced, "external_id_mapping", mapping, "timestamp")) == sorted(
        EXPECTED["external_id_mapping"]
    )
    wide = ("canonical_segment_id", "email", "merged_to")
    traits = [
        dict(zip(wide, row, strict=True))
        for row in told(synced, "profile_traits", wide, "canonical_segment_id")
    ]
    assert sorted(traits, key=str) == sorted(EXPECTED["profile_traits"], key=str)


def test_event_rows_keep_the_profile_of_the_moment(synced: Site) -> None:
    names = profile_names(synced)
    rows = synced.publication().table("event_profiles").collect()
    found = {row.message_id: names[row.segment_id] for row in rows}
    assert found == EXPECTED["event_rows_keep_the_profile_of_the_moment"]
    assert {names[row.profile_id] for row in rows} == {"profile_1"}


def test_the_tables_that_the_example_does_not_show_say_the_same(synced: Site) -> None:
    assert (
        sorted(told(synced, "profile_merges", ("segment_id", "canonical_segment_id"), "seq"))
        == (EXPECTED["id_graph"])
    )
    own = ("canonical_segment_id", "type", "value")
    assert sorted(told(synced, "user_identifiers", own, "seq")) == sorted(
        EXPECTED["external_id_mapping"]
    )
    assert told(synced, "user_traits", ("canonical_segment_id", "name", "value"), "name") == [
        ["profile_1", "email", "jane.kim@example.com"],
        ["profile_1", "firstName", "Jane"],
    ]
    updates = ("segment_id", "triggering_event_id", "email", "first_name")
    assert told(synced, "profile_traits_updates", updates, "seq") == [
        ["profile_1", "e2", "jane.kim@example.com", "Jane"],
        ["profile_1", "e4", "jane.kim@example.com", "Jane"],
    ]


def test_an_identifiers_hash_is_the_sha_1_of_type_and_value(synced: Site) -> None:
    import hashlib

    for row in dicts(synced, "external_id_mapping_updates"):
        text = row["external_id_type"] + row["external_id_value"]
        assert row["external_id_hash"] == hashlib.sha1(text.encode()).hexdigest()


def test_the_tables_lie_in_a_folder_of_their_own_and_say_what_they_are(synced: Site) -> None:
    shown = synced.publication()
    guide = (Path(synced.root) / "profiles_sync" / "README.md").read_text("utf-8")
    for table in PROFILES_SYNC:
        assert table.path == f"profiles_sync/{table.name.removeprefix('profiles_sync_')}"
        assert shown.delta(table.name).protocol().min_reader_version == 1
        assert f"#### `{table.path}`" in guide
