"""What a lake tells of how profiles came to be, beside the pure rules on all its sightings."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from lake.identity.ids import profile_id
from lake.identity.resolve import Identifier, Profile, Resolution, Sighting, resolve
from lake.identity.resolve.links import id_graph
from lake.run.rules import resolution_rules
from tests.support.nights import Site

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Call = tuple[Any, ...]


def unlike_the_rules(lake: Site) -> dict[str, tuple[list[Any], list[Any]]]:
    """By table, the rows that only the rules give and those that only the lake has.

    Of the events, the profile each had at its time.
    """
    config = lake.place.config
    clock = config.identity.order_by
    answer = resolve(_sightings(lake, clock), resolution_rules(config))
    told = {
        "created_profiles": (list(_created(answer)), _told_created(lake)),
        "identities": (
            [
                (i, _id(p.founder), _id(part), s.order[2])
                for p in answer.profiles
                for i, part, s in p.mapped
            ],
            [
                (_pair(row), row["profile_id"], row["segment_id"], row["mapped"]["message_id"])
                for row in lake.dicts("identities")
                if row["profile_id"]
            ],
        ),
        "set_profiles": (
            [
                (s.identity_set, _id(answer.profiles[s.profile].founder), _id(s.part))
                for s in answer.sets
                if s.profile is not None
            ],
            [tuple(row.values()) for row in lake.dicts("set_profiles")],
        ),
        "event_profiles": (
            list(_events(lake, answer, clock)),
            [
                (row.message_id, row.profile_id, row.segment_id)
                for row in lake.publication().table("event_profiles").collect()
            ],
        ),
    }
    compared = {
        name: (sorted(set(one) - set(other), key=repr), sorted(set(other) - set(one), key=repr))
        for name, (one, other) in told.items()
    }
    return {name: sides for name, sides in compared.items() if any(sides)}


def _sightings(lake: Site, clock: str) -> list[Sighting]:
    """First calls of sets by day, without what is guarded."""
    guarded = {_pair(row) for row in lake.dicts("identities") if row["guard"]}
    members = {
        row["identity_set"]: tuple(i for i in map(_pair, row["identifiers"]) if i not in guarded)
        for row in lake.dicts("identity_sets")
    }
    first: dict[tuple[bytes, Any], tuple[Any, ...]] = {}
    for row in lake.dicts("sightings"):
        place = row["identity_set"], row["day"]
        order = _order(row["first"], clock)
        first[place] = min(order, first.get(place, order))
    return [
        Sighting(key, order[0], order, members[key])
        for (key, _), order in first.items()
        if members[key]
    ]


def _order(call: dict[str, Any], clock: str) -> tuple[Any, ...]:
    received = _micros(call["received_at"])
    happened = _micros(call["timestamp"]) if call["timestamp"] else received
    times = (received, happened) if clock == "received_at" else (happened, received)
    return *times, call["message_id"]


def _micros(when: datetime) -> int:
    passed = when - EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


def _created(answer: Resolution) -> Iterator[tuple[Any, ...]]:
    for profile in answer.profiles:
        paths = _paths(profile)
        for part in profile.parts:
            path = tuple((_id(into), s.identity_set, s.order[2]) for into, s in paths[part.founder])
            created = part.created.identity_set, part.created.order[2]
            merged = path[0] if path else (None, None, None)
            yield _id(part.founder), part.founder, _id(profile.founder), *created, *merged, path


def _paths(profile: Profile) -> dict[Identifier, list[tuple[Identifier, Sighting]]]:
    paths: dict[Identifier, list[tuple[Identifier, Sighting]]] = {}
    for part, into, cause in id_graph(profile):
        steps = paths.setdefault(part, [])
        if part != into:
            steps.append((into, cause))
    return paths


def _told_created(lake: Site) -> list[tuple[Any, ...]]:
    return [
        (
            *(row["segment_id"], _pair(row), row["profile_id"]),
            *(row["created_by"], row["created"]["message_id"]),
            *(row["merged_into"], row["merged_by"]),
            row["merged"] and row["merged"]["message_id"],
            tuple(
                (step["segment_id"], step["identity_set"], step["moment"]["message_id"])
                for step in row["path"]
            ),
        )
        for row in lake.dicts("created_profiles")
    ]


def _events(lake: Site, answer: Resolution, clock: str) -> Iterator[tuple[Any, ...]]:
    into = {
        merge.absorbed: (merge.into, merge.sighting.order)
        for profile in answer.profiles
        for merge in profile.merges
    }
    home = {s.identity_set: (s.profile, s.part) for s in answer.sets}
    for row in lake.dicts("events"):
        place, part = home.get(row["identity_set"], (None, None))
        if place is None:
            yield row["message_id"], None, None
            continue
        while part in into and into[part][1] < _order(row, clock):
            part = into[part][0]
        yield row["message_id"], _id(answer.profiles[place].founder), _id(part)


def _id(founder: Identifier | None) -> str:
    assert founder is not None
    return profile_id("shop", *founder)


def _pair(row: dict[str, Any]) -> Identifier:
    return row["type"], row["value"]
