"""Traits as readers see them over nights: removed, set again, in a merge, and after its end."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from tests.support.nights import AS_OF, Site, land, site

TRAITS = {
    "plan": {"sources": ["crm", "web"]},
    "age": {"type": "integer"},
    "address.city": {"type": "string"},
    "tags": {"rule": "list", "type": "string"},
}


def said(n: int, user: str, anonymous: str | None = None, **traits: Any) -> dict[str, Any]:
    return {
        "type": "identify",
        "messageId": f"m{n}",
        "receivedAt": f"2026-10-{n:02}T00:00:00Z",
        "userId": user,
        "anonymousId": anonymous,
        "traits": traits,
        "context": {"traits": {"plan": "of a context", "mood": "never"}},
    }


def lake(folder: Path, traits: dict[str, Any], blocked: tuple[str, ...] = ()) -> Site:
    sources = {"web": folder / "web", "crm": folder / "crm"}
    # With two user ids allowed, one anonymous id can make two people one.
    identity = {
        "identifiers": {"user_id": {"limit": 2}, "anonymous_id": {}},
        "blocked": {"values": list(blocked)},
    }
    return site(folder, sources, identity=identity, traits=traits, judged=False)


def traits_of(shown: Site) -> dict[str, str]:
    return {r["trait"]: r["value"] for r in shown.dicts("profile_traits")}


def test_a_trait_is_removed_set_again_joined_by_a_merge_and_parted_again(
    spark: SparkSession, tmp_path: Path
) -> None:
    land(
        tmp_path / "web" / "1.jsonl",
        [said(1, "ann", plan="free", age="41"), said(2, "ann", plan=None)],
    )
    (tmp_path / "crm").mkdir()
    first = lake(tmp_path, {})
    first.run(AS_OF)
    assert traits_of(first) == {"age": '"41"'}
    assert "age" not in first.publication().arrow("profiles").column_names

    land(tmp_path / "web" / "2.jsonl", [said(3, "ann", plan="pro", address={"city": "Bonn"})])
    land(tmp_path / "crm" / "1.jsonl", [said(4, "bob", plan="team", age="old", tags="a")])
    second = lake(tmp_path, TRAITS)
    second.run(AS_OF + timedelta(days=1))
    columns = ("traits", "age", "address_city", "tags", "bad_casts")
    people = second.publication().query(f"select {', '.join(columns)} from profiles order by calls")
    assert [tuple(r.values()) for r in people.to_pylist()] == [
        ([("age", "old"), ("plan", "team"), ("tags", '["a"]')], None, None, ["a"], 1),
        (
            [
                ("address", '{"city": "Bonn"}'),
                ("address.city", "Bonn"),
                ("age", "41"),
                ("plan", "pro"),
            ],
            41,
            "Bonn",
            None,
            0,
        ),
    ]

    meeting = [said(5, "ann", "kiosk"), said(6, "bob", "kiosk", tags="b")]
    land(tmp_path / "web" / "3.jsonl", meeting)
    third = lake(tmp_path, TRAITS)
    third.run(AS_OF + timedelta(days=2))
    (one,) = third.dicts("profiles")
    assert (one["calls"], one["age"], one["bad_casts"], one["tags"]) == (6, None, 1, ["a", "b"])
    lost = {(r["trait"], r["value"]): r["reason"] for r in third.dicts("profile_trait_candidates")}
    assert lost == {
        ("plan", '"free"'): "removed",
        ("plan", '"pro"'): "lesser_source",
        ("age", '"41"'): "older",
    }

    fourth = lake(tmp_path, TRAITS, blocked=("kiosk",))
    fourth.run(AS_OF + timedelta(days=3))
    plans = {r["value"]: r["rule"] for r in fourth.dicts("profile_traits") if r["trait"] == "plan"}
    assert plans == {'"pro"': "sources", '"team"': "sources"}
    assert sorted((p["age"] or 0, p["tags"]) for p in fourth.dicts("profiles")) == [
        (0, ["a", "b"]),
        (41, None),
    ]

    for publication in (2, 4):
        published = fourth.publication(publication)
        people = published.query("select profile_id, traits from profiles").to_pylist()
        shown = {person["profile_id"]: dict(person["traits"]) for person in people}
        asked = spark.createDataFrame(
            [(who, AS_OF) for who in shown], "profile_id string, time timestamp"
        )
        known = published.profiles_as_of(asked).collect()
        assert {row["profile_id"]: row["traits"] for row in known} == shown
