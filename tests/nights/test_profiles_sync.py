"""Segment's Profiles Sync: the worked example of its documentation, whole, as whole nights."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pyspark.sql import SparkSession

from jobs.verify import verify
from lake.progress import Progress
from lake.segment_tables import PROFILES_SYNC
from tests.support.cases import CASES
from tests.support.nights import Site, copied, land, site

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


#: Segment's published sample queries, as far as this example has something to show for them.
SAMPLES = {
    # The pages of a person, whatever id they carry.
    "select g.canonical_segment_id, count(*) from profiles_sync.pages p "
    "join profiles_sync.id_graph g on p.segment_id = g.segment_id group by 1": [("profile_1", 2)],
    # All calls of the person that a merged-away profile belongs to now.
    "select p.id, p.segment_id from profiles_sync.identifies p "
    "join profiles_sync.id_graph g on p.segment_id = g.segment_id "
    "where g.canonical_segment_id in (select canonical_segment_id from profiles_sync.id_graph "
    "where segment_id <> canonical_segment_id) order by p.id": [
        ("e2", "profile_1"),
        ("e4", "profile_2"),
    ],
    # Complete customers.
    "select canonical_segment_id, email, first_name from profiles_sync.profile_traits "
    "where merged_to is null": [("profile_1", "jane.kim@example.com", "Jane")],
    # Identifiers of each type, spelling apart.
    "select canonical_segment_id, external_id_type, "
    "count(distinct lower(trim(external_id_value))) from profiles_sync.external_id_mapping "
    "group by 1, 2 order by 2": [("profile_1", "anonymous_id", 2), ("profile_1", "email", 1)],
    # Where an identifier came from.
    "select external_id_value, triggering_event_type "
    "from profiles_sync.external_id_mapping_updates where external_id_type = 'email'": [
        ("jane.kim@example.com", "identify")
    ],
    # The newest state of a profile's traits, without the wide table.
    "select name, value from profiles_sync.user_traits where name = 'email'": [
        ("email", "jane.kim@example.com")
    ],
    "select e.message_id, e.segment_id, e.profile_id from events_with_profiles e order by 1": [
        ("e1", "profile_1", "profile_1"),
        ("e2", "profile_1", "profile_1"),
        ("e3", "profile_2", "profile_1"),
        ("e4", "profile_2", "profile_1"),
    ],
}


def views(lake: Site, dialect: str) -> list[str]:
    file = Path(lake.root) / "_control" / "publications" / "00000001" / f"views.{dialect}.sql"
    return [s for s in file.read_text("utf-8").split(";\n") if s.strip()]


def named(lake: Site, rows: list[Any]) -> list[tuple[Any, ...]]:
    names = profile_names(lake)
    return [tuple(names.get(value, value) for value in row) for row in rows]


def test_segments_sample_queries_run_in_duckdb_on_the_views_of_the_publication(
    synced: Site,
) -> None:
    with duckdb.connect() as connection:
        for statement in views(synced, "duckdb"):
            connection.execute(statement)
        found = [named(synced, connection.execute(sql).fetchall()) for sql in SAMPLES]
    assert found == list(SAMPLES.values())


def test_segments_sample_queries_run_in_spark_on_the_views_of_the_publication(
    synced: Site, spark: SparkSession
) -> None:
    try:
        for statement in views(synced, "spark"):
            spark.sql(statement)
        found = [named(synced, spark.sql(sql).collect()) for sql in SAMPLES]
    finally:
        spark.sql("drop schema if exists profiles_sync cascade")
        for row in spark.sql("show views").collect():
            spark.sql(f"drop view {row.viewName}")
    assert found == list(SAMPLES.values())


def test_every_table_of_the_publication_has_a_view_pinned_to_its_version(synced: Site) -> None:
    shown = synced.publication().versions
    for dialect, pin in (("spark", "version as of"), ("trino", "for version as of")):
        told = views(synced, dialect)
        tables = [s for s in told if pin in s]
        assert len(tables) == len(shown)
        assert all(f"{pin} {v}" in "".join(tables) for v in shown.values())


#: A table, and what is done to one of its rows.
TAMPERED = {
    "id_graph_updates": "triggering_event_id",
    "external_id_mapping_updates": "id",
    "profile_traits_updates": "first_name",
    "user_traits": "value",
    "user_identifiers": "seq",
    "profile_merges": "seq",
    "id_graph": "seq",
    "external_id_mapping": "canonical_segment_id",
    "profile_traits": "email",
}


def test_a_row_altered_by_hand_is_found_in_each_of_the_nine(synced: Site, tmp_path: Path) -> None:
    lake = copied(synced, tmp_path)
    for name, column in TAMPERED.items():
        lake.tamper(f"profiles_sync/{name}", column)
    found = verify(lake.place.config, sample=1.0, progress=Progress(quiet=True))
    off = {t["table"]: t["differences"] for t in found["tables"] if t["differences"]}
    assert off == dict.fromkeys((f"profiles_sync_{name}" for name in TAMPERED), 1)
