"""Accounts and consent as readers see them, over a night of parts and one that joins them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.support.nights import AS_OF, Site, land, site


def call(n: int, kind: str, anonymous: str, user: str | None = None, **more: Any) -> dict[str, Any]:
    at = f"2026-10-{n:02}T00:00:00Z"
    return (
        {"type": kind, "messageId": f"m{n}", "receivedAt": at, "anonymousId": anonymous}
        | ({"userId": user} if user else {})
        | more
    )


def consent(**said: Any) -> dict[str, Any]:
    return {"context": {"consent": {"categoryPreferences": said}}}


def lake(folder: Path) -> Site:
    return site(folder, {"web": folder / "web"}, identity={}, judged=False, consent=True)


def shown(found: Site, table: str, *columns: str) -> list[tuple[Any, ...]]:
    rows = found.publication().arrow(table).to_pylist()
    return sorted(tuple(row[c] for c in columns) for row in rows)


def test_accounts_members_and_consent_night_by_night(tmp_path: Path) -> None:
    told = [
        call(1, "group", "phone", "ann", groupId="acme", traits={"name": "Acme", "size": 5}),
        call(2, "group", "phone", "ann", groupId="acme", traits={"name": "ACME", "size": None}),
        call(3, "group", "phone", "ann", groupId="beta", traits={}),
        call(4, "group", "tablet", groupId="acme"),
        call(5, "track", "phone", event="A", **consent(ads=True, mail=True, odd="yes")),
        call(6, "track", "tablet", event="A", **consent(ads=False, mail=True)),
    ]
    land(tmp_path / "web" / "1.jsonl", told)
    first = lake(tmp_path)
    first.run(AS_OF)
    assert shown(first, "accounts", "group_id", "traits", "calls", "members") == [
        ("acme", [("name", "ACME")], 3, 2),
        ("beta", [], 1, 1),
    ]
    assert shown(first, "account_members", "group_id", "calls") == [
        ("acme", 1),
        ("acme", 2),
        ("beta", 1),
    ]
    assert shown(first, "profile_consents", "category", "consent") == [
        ("ads", "denied"),
        ("ads", "granted"),
        ("mail", "granted"),
        ("mail", "granted"),
    ]

    # The tablet turns out to be Ann's: what its owner said of ads contradicts what Ann said.
    land(tmp_path / "web" / "2.jsonl", [call(7, "track", "tablet", "ann", event="A")])
    second = lake(tmp_path)
    second.run(AS_OF + timedelta(days=1))
    assert shown(second, "account_members", "group_id", "calls") == [("acme", 3), ("beta", 1)]
    assert shown(second, "profile_consents", "category", "consent", "message_id") == [
        ("ads", "conflict", "m6"),
        ("mail", "granted", "m6"),
    ]
    assert shown(second, "profiles_consented", "category") == [("mail",)]

    # A new word settles it.
    land(tmp_path / "web" / "3.jsonl", [call(8, "track", "phone", "ann", **consent(ads=True))])
    third = lake(tmp_path)
    third.run(AS_OF + timedelta(days=2))
    assert shown(third, "profile_consents", "category", "consent") == [
        ("ads", "granted"),
        ("mail", "granted"),
    ]
    assert shown(third, "accounts", "group_id", "members") == [("acme", 1), ("beta", 1)]
