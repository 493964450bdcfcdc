"""A whole night beside an independent judge of the same lines, row by row."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.nights.conftest import Lake
from tests.oracle import Identifier, Line, Settings, judge
from tests.support.nights import SHOP_IDENTITY, unpacked

SETTINGS = Settings(
    space="shop",
    strategy="components",
    unknown_types="ignore",
    identifiers=tuple(
        Identifier(type_, **rule) for type_, rule in SHOP_IDENTITY["identifiers"].items()
    ),
    blocked_values=tuple(SHOP_IDENTITY["blocked"]["values"]),
)


def test_profiles_identifiers_and_traits_are_those_of_the_oracle(one_night: Lake) -> None:
    world = judge(landed_lines(one_night), SETTINGS)
    shown = one_night.site.publication()

    def table(name: str, like: list[dict[str, Any]]) -> list[dict[str, Any]]:
        rows = [dict(row) for row in shown.arrow(name).to_pylist()]
        for row in rows:
            row |= {c: dict(row[c]) for c in ("identifiers", "traits") if c in row}
        kept = [{column: row[column] for column in like[0]} for row in rows]
        return sorted(kept, key=lambda row: [str(row[c]) for c in list(row)[:2]])

    def ordered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return sorted(rows, key=lambda row: [str(row[c]) for c in list(row)[:2]])

    assert table("profile_identifiers", world.profile_identifiers) == ordered(
        world.profile_identifiers
    )
    assert table("profile_traits", world.profile_traits) == ordered(world.profile_traits)
    assert table("profiles", world.profiles) == ordered(world.profiles)
    reading = world.reading
    assert one_night.site.counts() == {
        "lines": len(reading.calls) + len(reading.rejected) + len(reading.duplicates),
        "accepted": len(reading.calls),
        "rejected": len(reading.rejected),
        "duplicate": len(reading.duplicates),
    }
    assert sorted(r["reason"] for r in one_night.site.dicts("rejected_calls")) == sorted(
        reason for _, reason in reading.rejected
    )
    resolved = shown.query(
        "select message_id, profile_id from events e "
        "left join set_profiles s on e.identity_set = s.identity_set"
    ).to_pylist()
    assert {r["message_id"]: r["profile_id"] for r in resolved} == world.event_profiles


def landed_lines(lake: Lake) -> list[Line]:
    """Every line of the landing zone, unpacked by other means than the product's."""
    found: list[Line] = []
    for path in sorted(p for p in lake.landing.rglob("*") if p.is_file()):
        source = path.relative_to(lake.landing).parts[0]
        changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        text, whole = unpacked(path.read_bytes())
        lines: list[bytes | None] = [*text.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
        if whole and lines[-1] == b"":
            lines.pop()
        if not whole:
            lines[-1] = None  # what the damage cut, and all that is lost behind it
        for number, raw in enumerate(lines, 1):
            line = raw if raw is None else raw.removesuffix(b"\r")
            found.append(Line(source, str(path), number, line, changed))
    return found
