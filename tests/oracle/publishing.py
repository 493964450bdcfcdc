"""From the resolution and the calls to the rows that users read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .folding import Resolution, Violation, profile_id, resolution
from .reading import DECODER, Call, Reading, read
from .settings import Id, IdSet, Line, Settings

Row = dict[str, Any]


@dataclass(frozen=True)
class World:
    """All that follows from the lines. Rows are sorted by their keys; times are UTC."""

    reading: Reading
    violations: list[Violation]  # in the order they arose
    graph: list[tuple[str, str, str]]  # segment_id, canonical_segment_id, message_id
    set_profiles: dict[IdSet, str | None]  # None: nothing of the set links
    event_profiles: dict[str, str | None]  # by message id; None: unresolved
    profiles: list[Row]
    profile_identifiers: list[Row]
    profile_traits: list[Row]


def judge(lines: Iterable[Line], settings: Settings) -> World:
    """The whole truth about some landed lines under some rules."""
    reading = read(lines, settings)
    result = resolution(reading.calls, settings)
    owner = {
        id_: profile_id(profile.parts[0], settings.space) for id_, profile in result.owner.items()
    }
    owned: defaultdict[str, list[Id]] = defaultdict(list)
    for id_ in sorted(owner):
        owned[owner[id_]].append(id_)
    sets = {call.ids for call in reading.calls if call.ids}
    set_profiles = {ids: of_set(ids, result, owner) for ids in sets}
    members: defaultdict[str, list[Call]] = defaultdict(list)
    carrying: defaultdict[Id, list[Call]] = defaultdict(list)
    for call in sorted(reading.calls, key=lambda call: call.arrival):
        for id_ in call.ids:
            carrying[id_].append(call)
        if profile := set_profiles.get(call.ids):
            members[profile].append(call)
    return World(
        reading,
        result.violations,
        [
            (profile_id(part, settings.space), profile_id(canonical, settings.space), call)
            for part, canonical, call in result.graph
        ],
        set_profiles,
        {call.message_id: set_profiles.get(call.ids) for call in reading.calls},
        [profile_row(profile, calls, owned[profile]) for profile, calls in sorted(members.items())],
        [identifier_row(id_, owner[id_], carrying[id_]) for id_ in sorted(owner)],
        [row for profile in sorted(members) for row in trait_rows(profile, members[profile])],
    )


def of_set(ids: IdSet, result: Resolution, owner: dict[Id, str]) -> str | None:
    """The final profile of a set's strongest kept identifier."""
    kept = result.kept[ids]
    return owner[kept[0]] if kept else None


def span(calls: list[Call]) -> Row:
    times = [call.received_at for call in calls]
    return {"first_seen": min(times), "last_seen": max(times), "calls": len(calls)}


def profile_row(profile: str, calls: list[Call], owned: list[Id]) -> Row:
    identifiers: dict[str, list[str]] = {}
    for type_, value in owned:
        identifiers.setdefault(type_, []).append(value)
    traits = {row["trait"]: plain(row["value"]) for row in trait_rows(profile, calls)}
    return {"profile_id": profile, **span(calls), "identifiers": identifiers, "traits": traits}


def identifier_row(id_: Id, profile: str, calls: list[Call]) -> Row:
    """`calls` are all that carry it, also those that belong to another profile."""
    return {"type": id_[0], "value": id_[1], "profile_id": profile, **span(calls)}


def trait_rows(profile: str, calls: list[Call]) -> list[Row]:
    """The latest value of each trait of identify calls, in order of arrival; null removes it."""
    latest: dict[str, tuple[str, str]] = {}
    for call in calls:
        if call.type == "identify":
            latest |= {trait: (text, call.message_id) for trait, text in call.traits.items()}
    return [
        {"profile_id": profile, "trait": trait, "value": text, "message_id": message_id}
        for trait, (text, message_id) in sorted(latest.items())
        if text != "null"
    ]


def plain(text: str) -> str:
    """JSON text as plain text: a string unquoted, everything else as it was written."""
    return str(DECODER.decode(text)) if text.startswith('"') else text
