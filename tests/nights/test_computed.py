"""Computed traits and audiences over nights: late calls, merges, and questions asked later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lake.tables import EVENTS, IDENTITY_SETS, SIGHTINGS, TRAIT_OBSERVATIONS
from tests.support.nights import Site, land, site

START = datetime(2026, 11, 5, 6, tzinfo=UTC)
ORDERS = {"orders": "event('Order').count()"}
ASKED = {**ORDERS, "spent": "event('Order').within(2 days).sum(property('total'))"}
AUDIENCES = {"buyers": "trait('orders') > 1", "quiet": "event('Visit').count() = 0"}


def order(n: int, user: str, at: str, total: float, **more: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": "Order",
        "messageId": f"m{n}",
        "receivedAt": at,
        "timestamp": at,
        "userId": user,
        "properties": {"total": total},
        **more,
    }


def lake(folder: Path, computed: dict[str, str], audiences: dict[str, str], **more: Any) -> Site:
    identity = {
        "order_by": "timestamp",
        "identifiers": {"user_id": {"limit": None}, "anonymous_id": {"limit": None}},
        **more,
    }
    return site(
        folder,
        {"web": folder / "web"},
        identity=identity,
        judged=False,
        computed=computed,
        audiences=audiences,
    )


def shown(found: Site, *columns: str) -> list[tuple[Any, ...]]:
    rows = found.publication().arrow("profiles").to_pylist()
    return sorted(tuple(row[c] for c in columns) for row in rows)


def files_of(found: Site) -> list[str]:
    """The data files of the facts that no question is asked of."""
    told = (EVENTS, IDENTITY_SETS, SIGHTINGS, TRAIT_OBSERVATIONS)
    return [file.uri for t in told for file in found.tables.files(t)]


def membership(found: Site) -> list[tuple[Any, ...]]:
    rows = found.publication().arrow("audience_members").to_pylist()
    return sorted((r["audience"], r["entered"], r["exited"] or 0) for r in rows)


def test_what_calls_come_to_night_by_night(tmp_path: Path) -> None:
    calls = [
        order(1, "ann", "2026-11-03T07:00:00Z", 10),
        order(2, "ann", "2026-11-05T05:30:00Z", 1),
        order(3, "bob", "2026-11-05T05:30:00Z", 5),
    ]
    land(tmp_path / "web" / "1.jsonl", calls)
    first = lake(tmp_path, ORDERS, {"buyers": AUDIENCES["buyers"]})
    first.run(START)
    assert shown(first, "orders", "audiences") == [(1, []), (2, ["buyers"])]
    assert "spent" not in first.publication().arrow("profiles").column_names
    before = files_of(first)

    # A question asked later is answered from all events, and nothing else is made anew.
    second = lake(tmp_path, ASKED, AUDIENCES)
    second.run(START)
    assert shown(second, "orders", "spent", "audiences") == [
        (1, 5.0, ["quiet"]),
        (2, 11.0, ["buyers", "quiet"]),
    ]
    assert files_of(second) == before

    # Time passes: an order leaves its window. A late call of an hour at the window's edge.
    land(tmp_path / "web" / "2.jsonl", [order(4, "bob", "2026-11-03T08:00:00Z", 7)])
    third = lake(tmp_path, ASKED, AUDIENCES)
    third.run(START + timedelta(hours=2))
    assert shown(third, "orders", "spent") == [(2, 1.0), (2, 12.0)]
    third.run(START + timedelta(hours=3))
    assert shown(third, "orders", "spent") == [(2, 1.0), (2, 5.0)]
    assert membership(third) == [
        ("buyers", 1, 0),
        ("buyers", 3, 0),
        ("quiet", 2, 0),
        ("quiet", 2, 0),
    ]

    # Two become one: each call counts once, and the id that is gone has left.
    at = "2026-11-05T09:30:00Z"
    meeting = [order(5, "ann", at, 1, anonymousId="tab"), order(6, "bob", at, 1, anonymousId="tab")]
    land(tmp_path / "web" / "3.jsonl", meeting)
    third.run(START + timedelta(hours=4))
    assert shown(third, "orders", "spent") == [(6, 8.0)]
    assert membership(third) == [
        ("buyers", 1, 0),
        ("buyers", 3, 5),
        ("quiet", 2, 0),
        ("quiet", 2, 5),
    ]

    # Parted again, and an audience that nobody asks for any more.
    fourth = lake(tmp_path, ORDERS, {"buyers": AUDIENCES["buyers"]}, blocked={"values": ["tab"]})
    fourth.run(START + timedelta(hours=5))
    assert shown(fourth, "orders") == [(3,), (3,)]
    assert membership(fourth) == [
        ("buyers", 1, 0),
        ("buyers", 3, 5),
        ("buyers", 6, 0),
        ("quiet", 2, 5),
        ("quiet", 2, 6),
    ]


def test_with_one_part_or_with_ten_each_call_counts_once(tmp_path: Path) -> None:
    alone = [order(n, "solo", "2026-11-05T05:00:00Z", 1) for n in range(20)]
    parts = [order(100 + n, f"u{n % 10}", "2026-11-05T05:00:00Z", 1) for n in range(20)]
    joined = [
        {**order(200 + n, f"u{n}", "2026-11-05T05:00:00Z", 1, anonymousId="tab"), "event": "Visit"}
        for n in range(10)
    ]
    land(tmp_path / "web" / "1.jsonl", [*alone, *parts, *joined, *parts])
    found = lake(tmp_path, ASKED, {})
    found.run(START)
    assert shown(found, "orders", "spent", "calls") == [(20, 20.0, 20), (20, 20.0, 30)]
