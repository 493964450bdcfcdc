"""A whole night beside an independent judge of the same lines, row by row."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.nights.conftest import Lake
from tests.oracle import Identifier, Line, Settings, judge
from tests.support.judged import differences
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
    assert differences(one_night.site, world) == {}
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
