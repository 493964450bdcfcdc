"""A lake beside the oracle: whole rows of what readers see, and what is missing or too much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Any

from tests.oracle import World
from tests.support.nights import Site

ROWS = ("profiles", "profile_identifiers", "profile_traits")


def differences(lake: Site, world: World) -> dict[str, tuple[list[Any], list[Any]]]:
    """Of each table that differs, the rows only the oracle has and those only the lake has.

    Compared: profiles, identifiers and traits in the oracle's columns, the profile of every event
    and of every set, every violation with set, day and reason, the lines by what became of them.
    """
    both = {name: (getattr(world, name), published(lake, name)) for name in ROWS}
    members = {
        row["identity_set"]: frozenset((i["type"], i["value"]) for i in row["identifiers"])
        for row in lake.dicts("identity_sets")
    }
    home = {row["identity_set"]: row["profile_id"] for row in lake.dicts("set_profiles")}
    both["sets"] = (
        [(sorted(ids), profile) for ids, profile in world.set_profiles.items()],
        [(sorted(ids), home.get(key)) for key, ids in members.items()],
    )
    events = lake.dicts("events")
    both["events"] = (
        list(world.event_profiles.items()),
        [(row["message_id"], home.get(row["identity_set"])) for row in events],
    )
    both["violations"] = (
        [(sorted(v.identity_set), str(v.day), *v.id, v.reason) for v in world.violations],
        [
            (sorted(members[row["identity_set"]]), str(row["day"]), *_id(row), row["reason"])
            for row in lake.dicts("violations")
        ],
    )
    reading = world.reading
    lost = [line.number for line, *_ in [*reading.rejected, *reading.duplicates]]
    refused = [*lake.dicts("rejected_calls"), *lake.dicts("duplicate_calls")]
    both["lines"] = (sorted(lost), sorted(row["line"] for row in refused))
    compared = {name: _compared(*sides) for name, sides in both.items()}
    return {name: sides for name, sides in compared.items() if any(sides)}


def published(lake: Site, name: str) -> list[dict[str, Any]]:
    """A published table in the columns the oracle tells, maps as dicts."""
    rows = [dict(row) for row in lake.publication().arrow(name).to_pylist()]
    told = COLUMNS[name]
    for row in rows:
        row |= {c: dict(row[c]) for c in ("identifiers", "traits") if c in row}
    return [{column: row[column] for column in told} for row in rows]


_SEEN = ("first_seen", "last_seen", "calls")
COLUMNS = {
    "profiles": ("profile_id", *_SEEN, "identifiers", "traits"),
    "profile_identifiers": ("type", "value", "profile_id", *_SEEN),
    "profile_traits": ("profile_id", "trait", "value", "message_id"),
}


def _id(row: dict[str, Any]) -> tuple[str, str]:
    return row["type"], row["value"]


def _compared(wanted: Iterable[Any], found: Iterable[Any]) -> tuple[list[Any], list[Any]]:
    """The rows that only one side has, each as often as it has it more."""
    one, other = Counter(map(_frozen, wanted)), Counter(map(_frozen, found))
    return sorted((one - other).elements(), key=repr), sorted((other - one).elements(), key=repr)


def _frozen(row: Any) -> Hashable:
    if isinstance(row, dict):
        return tuple((key, _frozen(row[key])) for key in sorted(row))
    return tuple(map(_frozen, row)) if isinstance(row, (list, tuple)) else row
